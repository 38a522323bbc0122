"""The product from end to end, in processes of their own: what it proves, and what it says of bad input."""

from __future__ import annotations

import json
import resource
import subprocess
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from suite import history
from suite.gates import judge_case
from suite.record import Check, Stage, Status
from suite.thresholds import Thresholds
from tests.meta.product import HOST, QUICK, ROOT, SMALL, fixture, no_traceback
from tests.meta.records import CHECKS

SPOIL = """
def spoil(model):
    import numpy
    model.layers[-1].bias.assign(numpy.full(4, numpy.nan))
    return model
"""


SMOKE = set(CHECKS) - {Check.REALTIME}  # a camera is not for a profile of a minute


def test_a_real_model_from_end_to_end(product):
    run = product.run(*SMALL)
    assert run.status == 0, run.text
    assert "verdict: may ship" in run.text
    assert set(run.records) == {f"digits_cnn/float32/{HOST}", f"digits_cnn/int8/{HOST}"}
    lines = (run.report / "results.jsonl").read_text().splitlines()
    assert len(lines) == len(run.records), "one record a case"
    for record in run.records.values():
        assert record.status is Status.PASSED
        assert set(record.checks) == SMOKE
        assert record.artifact is not None
        assert record.artifact.minimum_runtime
        assert len(record.artifact.sha256) == 64
        assert record.parity is not None
        assert record.parity.real.n >= 64
        assert record.accuracy is not None
        assert record.accuracy.reference_top1 >= 0.95
        assert record.latency is not None
        assert len(record.latency.samples_ns) >= 50
        assert record.memory is not None
        assert record.memory.peak_bytes > 0
        assert {entry.threads for entry in record.scaling} >= {1, record.latency.threads}
        assert record.environment["versions"]["tensorflow"] != "absent"
        assert record.gpu is None
        assert record.reasons["gpu"]
    named = json.loads((run.report / "benchmark.json").read_text())["benchmarks"]
    assert {entry["extra_info"]["case_id"] for entry in named} == set(run.records)
    assert "digits_cnn" in (run.report / "index.html").read_text()
    assert "may ship" in (run.report / "summary.md").read_text().lower()
    assert ET.parse(run.report / "junit.xml").getroot() is not None


def test_benchmarks_of_a_parallel_run_come_after_and_alone(product):
    run = product.run(*SMALL, "-n", "2")
    assert run.status == 0, run.text
    assert all(set(record.checks) == SMOKE for record in run.records.values())
    compared, measured = run.text.index("test_parity["), run.text.index("test_benchmark[")
    assert compared < measured
    assert "[gw" not in run.text[measured : measured + 200]
    assert (run.report / "benchmark.json").exists()


def test_a_camera_alone_is_set_up_in_a_parallel_run_too(product):
    only = ("--models", "digits_cnn", "--variants", "float32", "--profile", "default", "-m", "realtime", "-v")
    run = product.run(*only, "-n", "2")
    assert run.status == 0, run.text
    (record,) = run.records.values()
    assert set(record.checks) == {Check.REALTIME}
    assert record.status is Status.PASSED
    assert record.realtime is not None


def test_nothing_changed_means_no_tensorflow(product):
    product.run(*SMALL, "-m", "not benchmark")
    blocked = product.folder / "blocked" / "tensorflow"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError('TensorFlow was asked for')")
    run = product.run(*SMALL, "-m", "not benchmark", PYTHONPATH=str(blocked.parent))
    assert run.status == 0, run.text
    changed = product.run(*SMALL, "-m", "conversion", "--variants", "int16x8", PYTHONPATH=str(blocked.parent))
    assert changed.status == 1
    assert "TensorFlow was asked for" in changed.text


def test_a_marker_selects_what_is_planned(product):
    run = product.run(*SMALL, "-m", "parity")
    assert run.status == 0, run.text
    assert all(set(record.checks) == {Check.PARITY} for record in run.records.values())


def test_each_run_into_one_folder_stays_in_its_history(product):
    first = product.run(*SMALL, "-m", "parity", "--variants", "float32")
    assert first.status == 0, first.text
    again = product.run(*SMALL, "-m", "parity", "--variants", "float32", f"--report-dir={first.report}")
    assert again.status == 0, again.text
    assert len({entry.run for entry in history.load(first.report / history.FILE)}) == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--models", "digit_cnn"), "unknown model 'digit_cnn': did you mean digits_cnn"),
        (("--variants", "flaot32"), "unknown variant 'flaot32': did you mean float32"),
        (("--profile", "smok"), "unknown profile 'smok': did you mean smoke"),
        (("--model-file", "nowhere.keras"), "no model file at nowhere.keras"),
        (("--models", "digits_cnn", "--artifact", "nowhere.tflite"), "no artifact at nowhere.tflite"),
        (("--artifact", "nowhere.tflite"), "--artifact is held to one model"),
        (("--fixtures-dir", "nowhere"), "no folder of model fixtures at nowhere"),
        (("--dataset", "nowhere.npz"), "nowhere.npz"),
        (("--dataset", "what"), "is not understood: give FILE.npz"),
        (("--weights", "imagenette"), "is not understood: give offline, imagenet"),
        (("--input-range", "1"), "give two numbers"),
    ],
)
def test_a_wrong_name_ends_the_run_at_once(product, arguments, expected):
    run = product.run(*arguments)
    assert run.status == 4
    assert expected in run.text
    no_traceback(run.text)
    assert not run.report.exists()


def test_a_data_set_without_images_ends_the_run_at_once(product):
    path = product.folder / "empty.npz"
    np.savez(path, images=np.zeros((0, 16, 16, 3), np.float32))
    run = product.run("--models", "digits_cnn", f"--dataset={path}")
    assert run.status == 4
    assert "empty.npz" in run.text
    no_traceback(run.text)


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["serial", "parallel"])
@pytest.mark.parametrize(("limit", "safe"), [(1500, 2), (100, 0)], ids=["room for the plan", "no room"])
def test_a_full_disk_ends_the_run_with_what_to_do(product, limit, safe, processes):
    product.run(*SMALL, "-m", "parity")
    command, report = product.command(*SMALL, "-m", "parity", *processes)
    result = subprocess.run(
        command,
        cwd=ROOT,
        # Python 3.11 takes a file of bytecode that the disk cut short for whole, for ever after.
        env=product.environment(PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        # No file may grow beyond this; with none at all pytest itself would not start.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    text = result.stdout + result.stderr
    assert result.returncode == 1, text
    no_traceback(text)
    assert "results.jsonl" in text
    assert "Free some space" in text
    assert (report / "results.jsonl").read_bytes().count(b"\n") >= safe, "what was written stays"


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["serial", "parallel"])
def test_a_report_folder_that_cannot_be_made_ends_the_run_at_once(product, processes):
    command, report = product.command(*SMALL, "-m", "conversion", *processes)
    report.write_text("a file is in its place")
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=product.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    text = result.stdout + result.stderr
    assert result.returncode == 4, text
    no_traceback(text)
    assert f"{report}: cannot be written for this run's results" in text
    assert "--report-dir" in text
    assert report.read_text() == "a file is in its place"


def test_one_broken_fixture_fails_the_run_and_spares_the_others(product):
    folder = product.fixtures(
        good=fixture(),
        broken="raise RuntimeError('no such checkpoint')",
        nan=fixture(classes=4)
        .replace("return keras.Sequential", "return spoil(keras.Sequential")
        .replace("])\n", "]))\n", 1)
        + SPOIL,
        raises=fixture().replace("import keras\n", "raise KeyError('weights')\n", 1),
    )
    run = product.run(f"--fixtures-dir={folder}", *QUICK, "--models", "*", "-v")
    assert run.status == 1
    no_traceback(run.text)
    statuses = {record.model: record.status for record in run.records.values()}
    assert statuses == {
        "good": Status.PASSED,
        "broken": Status.FAILED,
        "nan": Status.FAILED,
        "raises": Status.FAILED,
    }
    messages = {record.model: record.message for record in run.records.values()}
    assert (
        "fixture broken.py raised RuntimeError on import (line 1): no such checkpoint" in messages["broken"]
    )
    assert "bias holds 4 of 4 values that are NaN" in messages["nan"]
    assert "building raises raised KeyError" in messages["raises"]
    assert all(record.stage is Stage.BUILD for record in run.records.values() if record.model != "good")


def _expecting(check="parity", variant="float32", more=""):
    known = f"ExpectedFailure(variant='{variant}', check='{check}', reason='known', owner='me')"
    source = fixture(more=f"expected_failures=({known},){more}")
    names = "Budget, ExpectedFailure, ImageInput, ModelSpec, Tolerance"
    return source.replace("import ImageInput, ModelSpec", f"import {names}")


def _overflowing(source):
    """A model that float16 cannot hold: its answers there are NaN."""
    huge = "keras.layers.Dense(8, 'relu', kernel_initializer=keras.initializers.RandomUniform(1e5, 1e6))"
    layers = f"{huge}, keras.layers.Rescaling(1e-6), keras.layers.Dense(4)"
    return source.replace("keras.layers.Dense(4)", layers)


def test_expected_failures_are_strict_and_are_bounds(product):
    impossible = ", tolerances={'float32': Tolerance(min_sqnr_db=199.0, reason='to fail')}"
    nan = _expecting().replace("return keras.Sequential", "return spoil(keras.Sequential")
    folder = product.fixtures(
        fails=_expecting(more=impossible),
        stale=_expecting(),
        infinite=_overflowing(_expecting(variant="float16")),
        nan=nan.replace("])\n", "]))\n", 1) + SPOIL,
    )
    options = ("--profile=smoke", "--variants=float32,float16", "-m", "parity")
    run = product.run(f"--fixtures-dir={folder}", "--models=*", *options)
    assert run.status == 1
    found = {f"{record.model} {record.variant}": record for record in run.records.values()}
    assert found["fails float32"].status is Status.EXPECTED_FAILURE
    assert "known (owner: me)" in found["fails float32"].message
    assert found["stale float32"].status is Status.FAILED
    assert "expected to fail, and passed" in found["stale float32"].message
    assert found["infinite float32"].status is Status.PASSED
    assert found["infinite float16"].status is Status.FAILED, "NaN is not the bound that was accepted"
    assert "NaN" in found["infinite float16"].message
    assert found["nan float32"].status is Status.FAILED, "no reference is no bound either"
    assert "bias holds 4 of 4 values that are NaN" in found["nan float32"].message


def test_a_benchmark_that_is_expected_to_fail_does_so_by_its_budget_alone(product):
    tiny = ", budgets={'float32': Budget(max_peak_bytes=1, reason='to fail')}"
    quick = ", budgets={'float32': Budget(max_p50_ms=1e-6, reason='to be missed')}"
    folder = product.fixtures(
        fails=_expecting("benchmark", more=tiny),
        stale=_expecting("benchmark"),
        doubtful=_expecting("benchmark", more=quick),
    )
    options = ("--profile=smoke", "--variants=float32", "-m", "benchmark", "-p", "tests.meta.hot")
    run = product.run(f"--fixtures-dir={folder}", "--models=*", *options)
    found = {record.model: record for record in run.records.values()}
    assert found["fails"].checks[Check.BENCHMARK].status is Status.EXPECTED_FAILURE, run.text
    assert "peak memory in bytes" in found["fails"].message
    assert {entry.threads for entry in found["fails"].scaling} >= {1}, "others are measured as ever"
    assert found["stale"].checks[Check.BENCHMARK].status is Status.FAILED, "whatever noise there is"
    assert "expected to fail, and passed" in found["stale"].message
    assert found["doubtful"].checks[Check.BENCHMARK].status is Status.PASSED
    (doubt,) = judge_case(found["doubtful"], Thresholds())
    assert doubt.inconclusive

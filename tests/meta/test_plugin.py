"""The product from end to end, in processes of their own: what it proves, and what it says of bad input."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import numpy as np
import psutil
import pytest

from suite.record import Check, Stage, Status
from tests.meta.product import ROOT, Product, fixture
from tests.meta.records import CHECKS

HOST = "host/litert-xnnpack"
SMALL = ("--models", "digits_cnn", "--profile", "smoke", "-v")
QUICK = ("--variants", "float32", "--profile", "smoke", "-m", "not benchmark")

SPOIL = """
def spoil(model):
    import numpy
    model.layers[-1].bias.assign(numpy.full(4, numpy.nan))
    return model
"""


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """One cache for all tests, and for all xdist workers: its safety under them is part of the proof."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "product-cache"


SMOKE = set(CHECKS) - {Check.REALTIME}  # a camera is not for a profile of a minute


@pytest.fixture
def product(cache, tmp_path):
    return Product(cache, tmp_path)


def no_traceback(text):
    assert "Traceback (most recent call last)" not in text
    assert "INTERNALERROR" not in text


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


def test_a_full_disk_ends_the_run_with_what_to_do(product):
    product.run(*SMALL, "-m", "parity")
    command, report = product.command(*SMALL, "-m", "parity")
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=product.environment(),
        capture_output=True,
        text=True,
        check=False,
        # No file may grow beyond this: room for the plan, not for the results.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500)),
    )
    text = result.stdout + result.stderr
    assert result.returncode == 1, text
    no_traceback(text)
    assert "results.jsonl" in text
    assert "free" in text.lower()
    assert (report / "results.jsonl").read_bytes().count(b"\n") >= 2, "what was written stays"


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


def test_expected_failures_are_strict(product):
    expected = (
        "expected_failures=(ExpectedFailure(variant='float32', check='parity', reason='known', owner='me'),)"
    )
    impossible = "tolerances={'float32': Tolerance(min_sqnr_db=199.0, reason='to fail')}"
    names = "from suite.spec import ExpectedFailure, ImageInput, ModelSpec, Tolerance"
    folder = product.fixtures(
        fails=fixture(more=f"{expected}, {impossible}").replace(
            "from suite.spec import ImageInput, ModelSpec", names
        ),
        stale=fixture(more=expected).replace("from suite.spec import ImageInput, ModelSpec", names),
    )
    run = product.run(f"--fixtures-dir={folder}", *QUICK, "--models", "*")
    found = {record.model: record for record in run.records.values()}
    assert found["fails"].status is Status.EXPECTED_FAILURE
    assert "known (owner: me)" in found["fails"].message
    assert found["stale"].status is Status.FAILED
    assert "expected to fail, and passed" in found["stale"].message
    assert run.status == 1


@pytest.fixture(scope="session")
def artifact(cache, tmp_path_factory):
    """A good artifact of the bundled small model; its reference answers are cached on the way."""
    product = Product(cache, tmp_path_factory.mktemp("artifact"))
    (record,) = product.run(*SMALL, "-m", "parity", "--variants", "float32").records.values()
    return product.cache / record.artifact.path


def test_an_artifact_made_elsewhere_is_held_to_its_model(product, artifact):
    path = product.folder / "theirs.tflite"
    path.write_bytes(artifact.read_bytes())
    run = product.run("--models", "digits_cnn", f"--artifact={path}", "-m", "not benchmark")
    assert run.status == 0, run.text
    (record,) = run.records.values()
    assert record.variant == "float32"
    assert record.artifact.origin == "given"


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: b"not a model at all", "is no TFLite file"),
        (lambda data: b"", "is no TFLite file"),
        (lambda data: data[:20_000] + bytes(len(data) - 40_000) + data[-20_000:], ""),
    ],
    ids=["truncated", "other bytes", "empty", "zeroed"],
)
def test_a_damaged_artifact_fails_with_its_reason(product, artifact, damage, expected):
    path = product.folder / "damaged.tflite"
    path.write_bytes(damage(artifact.read_bytes()))
    run = product.run(
        "--models", "digits_cnn", f"--artifact={path}", "--variants", "float32", "-m", "not benchmark"
    )
    assert run.status == 1
    no_traceback(run.text)
    (record,) = run.records.values()
    assert record.status in (Status.FAILED, Status.CRASHED)
    assert expected in record.message


def test_an_artifact_of_another_model_fails(product, artifact):
    folder = product.fixtures(other=fixture(classes=7))
    run = product.run(
        f"--fixtures-dir={folder}", "--models", "other", f"--artifact={artifact}", "-m", "parity"
    )
    assert run.status == 1
    (record,) = run.records.values()
    assert record.status is Status.FAILED
    assert record.message
    no_traceback(run.text)


MAKE_MODEL = """
import sys, keras, numpy as np

keras.utils.set_random_seed(0)
layers = [keras.Input((12, 12, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(5)]
model = keras.Sequential(layers)
model.save(sys.argv[1])
images = np.random.default_rng(0).uniform(0, 1, (96, 12, 12, 3)).astype(np.float32)
np.savez(sys.argv[2], images=images, labels=model.predict(images, verbose=0).argmax(axis=1))
"""


def test_a_model_file_needs_no_fixture(product):
    path, labelled = product.folder / "mine.keras", product.folder / "mine.npz"
    script = [sys.executable, "-c", MAKE_MODEL, str(path), str(labelled)]
    environment = product.environment(TF_CPP_MIN_LOG_LEVEL="3")
    subprocess.run(script, env=environment, check=True, capture_output=True)
    run = product.run(f"--model-file={path}", *QUICK)
    assert run.status == 0, run.text
    (record,) = run.records.values()
    assert record.model == "mine"
    assert record.checks[Check.ACCURACY].status is Status.SKIPPED
    assert "--dataset" in record.checks[Check.ACCURACY].message
    assert any("input range is assumed" in note for note in record.notes)
    again = product.run(f"--model-file={path}", f"--dataset={labelled}", *QUICK)
    assert again.status == 0, again.text
    assert next(iter(again.records.values())).accuracy.reference_top1 == 1.0

    path.write_bytes(path.read_bytes()[:1000])
    damaged = product.run(f"--model-file={path}", *QUICK)
    assert damaged.status == 1
    assert "cannot load mine.keras" in damaged.text
    no_traceback(damaged.text)


def _started(report, minimum, process):
    """Wait until some results are there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        results = report / "results.jsonl"
        if results.exists() and results.read_bytes().count(b'"artifact":{') >= minimum:
            return
        time.sleep(0.05)
    raise AssertionError("the run recorded nothing")


def test_ctrl_c_keeps_what_was_recorded_and_leaves_nothing_running(product):
    product.run(*SMALL, "-m", "not benchmark")
    command, report = product.command(*SMALL)
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=product.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    _started(report, 6, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 2, text
    records = json.loads((report / "results.jsonl").read_text().splitlines()[0])
    assert records["parity"] is not None
    assert records["status"] == "error", "its benchmark was planned and is missing"
    assert "MAY NOT SHIP" in text
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


def test_a_killed_run_loses_no_record(product):
    product.run(*SMALL, "-m", "not benchmark")
    command, report = product.command(*SMALL)
    process = subprocess.Popen(
        command, cwd=ROOT, env=product.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _started(report, 6, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, "workers die with their parent"
    gate = subprocess.run(
        [sys.executable, "-m", "suite", "gate", str(report)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert gate.returncode == 1
    assert "benchmark" in gate.stdout


def test_a_dead_xdist_worker_is_a_crashed_record(product):
    folder = product.fixtures(
        dies=fixture().replace("def build", "import os, sys\n\ndef build"),
        lives=fixture(classes=3),
    )
    tests = product.folder / "test_death.py"
    tests.write_text(
        "import os, signal, pytest\n\n"
        "@pytest.mark.parity\n"
        "def test_parity(case):\n"
        "    if case.spec.name == 'dies':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command, report = product.command(f"--fixtures-dir={folder}", *QUICK, "--models", "*", "-n", "2")
    command[command.index("tests/validate")] = str(tests)
    result = subprocess.run(
        [*command, "-c", str(ROOT / "pyproject.toml"), f"--rootdir={ROOT}", "-p", "suite.plugin"],
        cwd=ROOT,
        env=product.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    text = result.stdout + result.stderr
    assert result.returncode == 1, text
    records = {
        line["case_id"]: line for line in map(json.loads, (report / "results.jsonl").read_text().splitlines())
    }
    assert records[f"dies/float32/{HOST}"]["status"] == "crashed", text
    assert records[f"lives/float32/{HOST}"]["status"] == "passed"


PUBLISH = """
import sys, h5py, numpy as np
from pathlib import Path
from keras import applications
from keras.src.legacy.saving import legacy_h5_format
from PIL import Image
from fixtures.recipes import conditioning

weights, photos = map(Path, sys.argv[1:])
model = applications.MobileNetV2(
    input_shape=(96, 96, 3), alpha=0.35, weights=None, classifier_activation=None
)
conditioning.initialise(model, conditioning.Conditions().offset)
conditioning.set_statistics(model, np.random.default_rng(0).uniform(-1, 1, (8, 96, 96, 3)).astype(np.float32))
with h5py.File(weights, "w") as file:
    legacy_h5_format.save_weights_to_hdf5_group(file, model)

# Photos labelled with the model's own answers, prepared here as its authors say.
random, names, images = np.random.default_rng(1), [], []
for number in range(80):
    photo = Image.fromarray(random.integers(0, 256, (96, 96, 3), dtype=np.uint8))
    photo.save(photos / f"{number}.png")
    names.append(f"{number}.png")
    images.append(np.asarray(photo, np.float32) / 127.5 - 1)
answers = model.predict(np.stack(images), verbose=0).argmax(axis=1)
lines = [f"{name} {answer}" for name, answer in zip(names, answers)]
(photos / "labels.txt").write_text(chr(10).join(lines))
"""


def test_published_weights_and_a_folder_of_photos(product):
    """The weights are made here, in the published form and under the published name."""
    weights, photos = product.folder / "weights", product.folder / "photos"
    weights.mkdir()
    photos.mkdir()
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96.h5"
    environment = product.environment(TF_CPP_MIN_LOG_LEVEL="3", PYTHONPATH=str(ROOT))
    script = [sys.executable, "-c", PUBLISH, str(weights / name), str(photos)]
    subprocess.run(script, env=environment, check=True, capture_output=True)
    chosen = ("--models=mobilenet_v2", f"--weights=imagenet:{weights}", *QUICK)
    run = product.run(*chosen, f"--dataset=imagenet:{photos}")
    assert run.status == 0, run.text
    (record,) = run.records.values()
    assert record.accuracy.dataset == "photos"
    assert record.accuracy.n >= 60
    assert record.accuracy.reference_top1 == 1.0, "photos reach the model as its authors prepare them"
    assert record.parity.real.n == record.accuracy.n

    lines = (photos / "labels.txt").read_text().splitlines()
    shifted = [f"{file} {(int(label) + 1) % 1000}" for file, label in map(str.split, lines)]
    (photos / "labels.txt").write_text("\n".join(shifted))
    off_by_one = product.run(*chosen, f"--dataset=imagenet:{photos}", "-m", "accuracy")
    assert off_by_one.status == 1
    assert "off by one?" in off_by_one.text

    (record,) = product.run(*chosen).records.values()
    assert record.checks[Check.ACCURACY].status is Status.SKIPPED, "digits are no classes of ImageNet"

"""Golden bundles: made, replayed by their own script, and brought back; nothing altered is taken."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from suite import golden, history, metrics, replayed
from suite.__main__ import main
from suite.cache import Cache, sha256_file, sha256_tree
from suite.devices import replay as replay_script
from suite.discovery import load_fixture
from suite.errors import UsageError
from suite.faults import FAULTS
from suite.gates.case import judge_case
from suite.golden import make
from suite.lab import Lab
from suite.matrix import Case
from suite.record import Check, Status
from suite.spec import VARIANTS, Target
from suite.store import Store, load
from suite.thresholds import Thresholds
from tests.meta.coreml.conftest import PHOTO

ROOT = Path(__file__).parents[2]
# Core ML's place taken by the evaluator, as coremltools itself looks for it; the script runs unmodified.
STAND_IN = """
import runpy, sys
from suite.coreml import proxy
sys.argv = sys.argv[1:]
with proxy.installed():
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


# As an author states it: this net's own bound, with its reason.
OWN = """
import dataclasses
from suite.spec import Tolerance
SPEC = dataclasses.replace(
    SPEC,
    tolerances={"mlprogram_float16": Tolerance(min_top1_agreement=0.5, reason="a net of random weights")},
)
"""


@pytest.fixture(scope="module")
def replayed_bundle(shared_cache: Cache) -> Path:
    """A bundle, and the result that its own script wrote."""
    return _bundle(shared_cache, "mlprogram_float32")


@pytest.fixture(scope="module")
def halved_bundle(shared_cache: Cache) -> Path:
    """The same of float16, which has a noise floor."""
    return _bundle(shared_cache, "mlprogram_float16")


def _bundle(cache: Cache, variant: str) -> Path:
    sources = [sha256_file(Path(str(source.__file__))) for source in (golden, replay_script)]
    key = {"fixture": PHOTO + OWN, "stand-in": STAND_IN, "variant": variant, "code": sources}
    build = partial(_replayed, cache, variant)
    return cache.get_or_build("golden", key, build) / "bundle"


def _replayed(cache: Cache, variant: str, folder: Path) -> None:
    fixture = folder / "photo.py"
    fixture.write_text(PHOTO.replace("{mode}", "torch") + OWN)
    lab = Lab(cache, Thresholds())
    try:
        case = Case(load_fixture(fixture), VARIANTS[variant], Target("host", "coreml"))
        made = make(lab, case, folder / "bundle", samples=4)
    finally:
        lab.close()
    done = replay(made, "--units", "ALL,CPU_ONLY")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed SQNR" in done.stdout


def replay(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STAND_IN, str(folder / "replay.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def copy(replayed_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(replayed_bundle, tmp_path / "bundle"))


def test_a_result_comes_back_as_a_run_that_passes(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "run"
    assert main(["import", str(copy / "result.json"), "--report-dir", str(report)]) == 0
    assert "passed: 2 cases" in capsys.readouterr().out
    records = {record.case_id: record for record in load(report).records}
    assert list(records) == [
        "photo/mlprogram_float32/stand-in/coreml",
        "photo/mlprogram_float32/stand-in/coreml-cpu",
    ]
    for record in records.values():
        assert (record.engine, record.latency) == ("evaluator", None)
        assert record.reasons["latency"].startswith("engine: evaluator")
        assert record.parity is not None
        assert record.parity.real.cosine_similarity > 0.99999
        assert record.checks[Check.PARITY].status is Status.PASSED
        assert "stand-in" in " ".join(record.notes)
    assert (report / "index.html").is_file()


def test_it_is_the_latest_run_and_in_the_history_and_takes_the_place_of_what_was_there(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["import", str(copy / "result.json")]) == 0
    latest = tmp_path / "reports" / "latest"
    assert len(load(latest).records) == 2
    assert {entry.run for entry in history.load(tmp_path / "reports" / history.FILE)} == {
        latest.resolve().name
    }
    mine = tmp_path / "mine"
    store = Store(mine)
    store.append(replace(load(latest).records[0], status=Status.FAILED))
    assert main(["import", str(copy / "result.json"), f"--report-dir={mine}"]) == 0
    assert {record.status for record in load(mine).records} == {Status.PASSED}
    assert latest.resolve().name != "mine"


def test_a_folder_that_cannot_be_written_is_a_message(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for command in (["import", str(copy / "result.json")], ["prove", "--models=digits_cnn"]):
        assert main([*command, f"--report-dir={tmp_path / 'file' / 'run'}"]) == 2
        assert "file/run: cannot be written" in capsys.readouterr().err


def test_a_result_from_a_mac_carries_its_latency(copy: Path) -> None:
    """Only what the machine says of itself is planted here; the rest is the replay's."""
    file = copy / "result.json"
    result = json.loads(file.read_text())
    result["machine"]["system"] = "Darwin"
    for run in result["runs"].values():
        run["samples_ns"] = [2_000_000] * 50
    file.write_text(json.dumps(result))
    one, _ = replayed.records(file)
    assert one.case_id == "photo/mlprogram_float32/mac/coreml"
    assert one.engine == ""
    assert one.latency is not None
    assert one.throughput is not None
    assert one.throughput.inferences_per_second == pytest.approx(500)


def _with_noise(folder: Path, decibels: float) -> None:
    """Noise over the answers to real samples of the first units, so far below their power."""
    file = folder / "result.json"
    result = json.loads(file.read_text())
    packed = result["runs"]["ALL"]["answers"]["real"]["classLabel_probs"]
    values = np.frombuffer(base64.b64decode(packed["float32"]), "<f4")
    size = float(np.sqrt(np.square(values).mean())) * 10 ** (-decibels / 20)
    noisy = values + size * np.random.default_rng(0).standard_normal(values.shape)
    packed["float32"] = base64.b64encode(noisy.astype("<f4").tobytes()).decode()
    file.write_text(json.dumps(result))


def test_float16_is_judged_beside_its_noise_floor_as_in_a_run(halved_bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(halved_bundle, tmp_path / "bundle"))
    for record in replayed.records(copy / "result.json"):
        assert record.status is Status.PASSED
        assert record.override["reason"] == "a net of random weights"
        assert record.parity is not None
        assert record.parity.floor is not None
        assert record.parity.generated_floor is not None
        assert record.parity.floor.n == 4
        assert judge_case(record, Thresholds()) == []
    _with_noise(copy, 40)  # which the published 30 dB let pass
    bad, good = replayed.records(copy / "result.json")
    assert (bad.status, good.status) == (Status.FAILED, Status.PASSED)
    assert "Rounding alone leaves" in bad.message
    assert "SQNR in dB on real inputs" not in bad.message


def test_what_has_no_floor_says_why(copy: Path) -> None:
    one, _ = replayed.records(copy / "result.json")
    assert one.parity is not None
    assert (one.parity.floor, one.parity.no_floor) == (None, "float32 is the original's own precision")


def test_the_script_judges_float16_beside_its_noise_floor(halved_bundle: Path, tmp_path: Path) -> None:
    """The low half of each weight's bits is wrong: published bounds let that pass."""
    copy = Path(shutil.copytree(halved_bundle, tmp_path / "bundle"))
    (fault,) = [one for one in FAULTS if one.name == "low_bits_flipped"]
    assert fault.plant is not None
    fault.plant(copy / "model.mlpackage")
    contents = json.loads((copy / "bundle.json").read_text())
    contents["files"]["model.mlpackage"] = sha256_tree(copy / "model.mlpackage")
    (copy / "bundle.json").write_text(json.dumps(contents))
    done = replay(copy, "--units", "CPU_ONLY")
    assert done.returncode == 1, done.stdout
    assert "classLabel_probs, real: SQNR is" in done.stdout
    assert "rounding alone leaves" in done.stdout


def test_the_script_compares_as_the_suite_does() -> None:
    """It stands alone on the Mac, with its own few lines of what parity measures."""
    logits = np.random.default_rng(0).normal(size=(5, 7))
    noisy = logits + np.random.default_rng(1).normal(size=logits.shape) / 100
    shares = [np.exp(one) / np.exp(one).sum(-1, keepdims=True) for one in (logits, noisy)]
    sides = [((logits, noisy), [logits, noisy]), (shares, [metrics.log_scores(one) for one in shares])]
    for given, compared in sides:
        ours, theirs = metrics.error_stats(*compared), replay_script.compare(*given)
        for name in ("max_abs_diff", "max_scaled_diff", "cosine_similarity", "sqnr_db"):
            assert theirs[name] == pytest.approx(getattr(ours, name), rel=1e-6), name


def test_an_answer_that_is_off_fails_whatever_the_result_says(copy: Path) -> None:
    file = copy / "result.json"
    result = json.loads(file.read_text())
    packed = result["runs"]["ALL"]["answers"]["real"]["classLabel_probs"]
    values = np.frombuffer(base64.b64decode(packed["float32"]), "<f4") * 1.01
    packed["float32"] = base64.b64encode(values.astype("<f4").tobytes()).decode()
    file.write_text(json.dumps(result))
    bad, good = replayed.records(file)
    assert (bad.status, good.status) == (Status.FAILED, Status.PASSED)
    assert "max scaled difference" in bad.message


def _other_bundle(folder: Path) -> None:
    contents = json.loads((folder / "bundle.json").read_text())
    contents["bounds"]["min_cosine"] = 0.5
    (folder / "bundle.json").write_text(json.dumps(contents))


def _other_script(folder: Path) -> None:
    result = json.loads((folder / "result.json").read_text())
    result["replay"] = "0" * 64
    (folder / "result.json").write_text(json.dumps(result))


def _half_a_result(folder: Path) -> None:
    result = json.loads((folder / "result.json").read_text())
    del result["runs"]["ALL"]["answers"]["real"]
    (folder / "result.json").write_text(json.dumps(result))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_other_bundle, "is the result of another bundle"),
        (
            lambda folder: (folder / "reference.npz").write_bytes(b"1"),
            "reference.npz is not as it was bundled",
        ),
        (lambda folder: (folder / "model.mlpackage" / "Manifest.json").unlink(), "is not as it was bundled"),
        (_other_script, "made by an altered replay.py"),
        (_half_a_result, "is no whole result"),
        (lambda folder: (folder / "result.json").write_text("[]"), "holds a list"),
        (lambda folder: (folder / "result.json").write_text("{"), "is not the result of a replay"),
        (lambda folder: (folder / "bundle.json").unlink(), "a golden bundle was expected there"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    copy: Path, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(copy)
    with pytest.raises(UsageError, match=words):
        replayed.records(copy / "result.json")


def test_the_script_refuses_a_bundle_that_was_altered(copy: Path) -> None:
    (copy / "samples.npz").write_bytes(b"1")
    done = replay(copy)
    assert done.returncode == 2
    # coremltools may warn of packages beside it first.
    assert done.stderr.endswith("not as they were bundled: samples.npz. Copy the bundle anew\n")


def test_the_script_fails_a_model_that_answers_otherwise(copy: Path) -> None:
    contents = json.loads((copy / "bundle.json").read_text())
    with np.load(copy / "reference.npz") as stored:
        np.savez(copy / "reference.npz", **{name: stored[name] * 1.01 for name in stored.files})
    contents["files"]["reference.npz"] = replayed.sha256_tree(copy / "reference.npz")
    (copy / "bundle.json").write_text(json.dumps(contents))
    done = replay(copy, "--units", "CPU_ONLY")
    assert done.returncode == 1
    assert "classLabel_probs, real: max_scaled_diff is" in done.stdout


def test_a_bundle_goes_into_a_folder_of_its_own_and_is_of_core_ml(copy: Path, replayed_bundle: Path) -> None:
    lab = Lab(Cache(copy.parent / "unused"), Thresholds())
    fixture = load_fixture(replayed_bundle.parent / "photo.py")
    try:
        with pytest.raises(UsageError, match="is not empty: name another folder"):
            make(lab, Case(fixture, VARIANTS["neuralnetwork"], Target("host", "coreml")), copy)
        with pytest.raises(UsageError, match="float32 is no Core ML variant"):
            make(lab, Case(fixture, VARIANTS["float32"], Target("host", "coreml")), copy)
    finally:
        lab.close()
    assert main(["bundle", "mobilenet_v9"]) == 2
    assert main(["bundle", "digits_cnn", "--variant", "mlprogram_float33"]) == 2

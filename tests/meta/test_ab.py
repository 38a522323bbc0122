"""A against B on real runtimes: a slower engine is found, and sides are found by what a user calls them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suite import ab, ratio, runtimes, sides
from suite.__main__ import main
from suite.cache import Cache
from suite.errors import UsageError
from suite.lab import Lab
from suite.matrix import Case, Request, cases
from suite.ratio import Verdict
from suite.record.lines import encode
from suite.runtimes.base import TensorInfo
from suite.spec import ModelSpec
from suite.thresholds import Thresholds
from tests.meta import records
from tests.meta.conftest import Subject

QUICK = ab.Plan(rounds=ratio.FEWEST_ROUNDS, block_seconds=0.002)


@pytest.fixture(scope="module")
def small_lab(classifier: Subject) -> Iterator[Lab]:
    made = Lab(classifier.cache, Thresholds())
    yield made
    made.close()


@pytest.fixture(scope="module")
def chosen(classifier: Subject) -> Case:
    spec: ModelSpec = classifier.original.spec
    (found,) = cases({spec.name: spec}, Request(models=(spec.name,), variants=("int8",)))[:1]
    return found


def test_a_slower_engine_is_found_whichever_side_it_is_on(classifier: Subject) -> None:
    path = classifier.artifact("float32")
    quick, slow = ab.Side("quick", "litert-xnnpack", path), ab.Side("slow", "litert-reference", path)
    sample = ab.any_sample(quick)
    found = ab.compare(quick, slow, sample, plan=QUICK)
    assert (found.a, found.b, found.verdict) == ("quick", "slow", Verdict.SLOWER)
    assert found.ratio.low > 1
    assert found.a_p50_ms < found.b_p50_ms
    assert found.rounds >= QUICK.rounds
    assert ab.compare(slow, quick, sample, plan=QUICK).verdict is Verdict.FASTER


def test_noise_of_the_declared_shape_is_made_for_a_bare_artifact(classifier: Subject) -> None:
    (sample,) = ab.any_sample(sides.artifact_side(classifier.artifact("int8_io"))).values()
    assert sample.shape == (1, 16, 16, 3)


def test_a_side_is_an_engine_an_artifact_a_run_or_a_cache(
    chosen: Case, small_lab: Lab, tmp_path: Path
) -> None:
    path, facts = small_lab.artifact(chosen)
    assert sides.resolve("tflite-runtime", chosen, small_lab) == ab.Side(
        "tflite-runtime", "tflite-runtime", path
    )
    copy = shutil.copy(path, tmp_path / "built.tflite")
    assert sides.resolve(str(copy), chosen, small_lab).path == Path(copy)
    assert sides.resolve(str(small_lab.cache.root), chosen, small_lab).path == path
    record = replace(records.passed(variant="int8"), case_id=chosen.id, artifact=facts)
    (tmp_path / "results.jsonl").write_bytes(encode(record) + b"\n")
    elsewhere = sides.resolve(f"{tmp_path}@{small_lab.cache.root}", chosen, small_lab)
    assert (elsewhere.path, elsewhere.engine) == (path, chosen.target.engine)


@pytest.mark.parametrize("spoil", ["gone", "changed", "other model"])
def test_a_run_whose_artifact_is_not_the_recorded_one_is_refused(
    chosen: Case, small_lab: Lab, tmp_path: Path, spoil: str
) -> None:
    path, facts = small_lab.artifact(chosen)
    place = tmp_path / facts.path
    place.parent.mkdir(parents=True)
    if spoil != "gone":
        place.write_bytes(path.read_bytes() + b" " * (spoil == "changed"))
    case_id = "another/int8/host/litert-xnnpack" if spoil == "other model" else chosen.id
    record = replace(records.passed(), case_id=case_id, artifact=facts)
    (tmp_path / "results.jsonl").write_bytes(encode(record) + b"\n")
    words = {"gone": "gone", "changed": "is not the artifact", "other model": "holds no artifact"}[spoil]
    with pytest.raises(UsageError, match=words):
        sides.resolve(f"{tmp_path}@{tmp_path}", chosen, small_lab)


COREML = "mlprogram_float32"


@pytest.fixture(scope="module")
def package(classifier: Subject) -> Path:
    return classifier.artifact(COREML)


def test_a_package_is_refused_with_the_reason_where_there_is_no_core_ml(
    package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sides.sys, "platform", "linux")
    assert main(["compare", str(package), str(package)]) == 2
    told = capsys.readouterr().err
    assert "Core ML is on Apple's systems alone, and this is linux" in told
    assert "compare OLD NEW" in told
    with pytest.raises(UsageError, match=r"no artifact at .*gone\.mlpackage"):
        sides.artifact_side(package.with_name("gone.mlpackage"))


def test_on_a_mac_a_package_is_run_by_core_ml(
    package: Path, classifier: Subject, small_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sides.sys, "platform", "darwin")
    side = sides.artifact_side(package)
    assert (side.engine, side.path) == ("coreml", package.resolve())
    spec = classifier.original.spec
    (case,) = cases({spec.name: spec}, Request(models=(spec.name,), variants=(COREML,)))[:1]
    assert sides.resolve("coreml-cpu", case, small_lab).engine == "coreml-cpu"
    assert sides.resolve(str(package), case, small_lab) == side
    with pytest.raises(UsageError, match="evaluator, which executes the saved file in NumPy"):
        sides.resolve("coreml-evaluator", case, small_lab)
    with pytest.raises(UsageError, match=r"litert-xnnpack cannot run a \.mlpackage"):
        sides.resolve("litert-xnnpack", case, small_lab)
    with pytest.raises(UsageError, match="are of two formats"):
        sides.noise(side, sides.artifact_side(classifier.artifact("float32")))


def test_a_package_is_fed_as_it_takes_it(
    package: Path, classifier: Subject, small_lab: Lab, chosen: Case
) -> None:
    """By the evaluator, which takes what Core ML takes."""
    side = ab.Side("package", "coreml-evaluator", package)
    (sample,) = sides.noise(side, side).values()
    assert sample.shape == (1, 16, 16, 3)
    (real,) = sides.samples(side, side, chosen, small_lab).values()
    assert real.shape == (1, 16, 16, 3)


def test_sides_that_are_fed_otherwise_are_refused(
    classifier: Subject, small_lab: Lab, chosen: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, tensor = (ab.Side(name, "coreml", classifier.artifact(COREML)) for name in ("photo", "tensor"))
    monkeypatch.setattr(sides, "_takes_photos", lambda side, *_: side is photo)
    with pytest.raises(UsageError, match="photo and tensor are fed otherwise"):
        sides.samples(photo, tensor, chosen, small_lab)


def test_noise_for_a_photo_is_pixels() -> None:
    random = np.random.default_rng(0)
    photo = ab._noise(TensorInfo(name="image", shape=(20, 30, 3), dtype="uint8"), random)
    assert (photo.shape, photo.dtype) == ((1, 20, 30, 3), np.uint8)
    assert photo.max() > 200
    tensor = ab._noise(TensorInfo(name="image", shape=(-1, 20, 30, 3), dtype="float32"), random)
    assert (tensor.shape, tensor.dtype) == ((1, 20, 30, 3), np.float32)
    assert tensor.max() <= 1


def test_an_empty_cache_and_a_wrong_name_are_refused(chosen: Case, small_lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "artifact").mkdir()
    with pytest.raises(UsageError, match="holds no classifier/int8"):
        sides.resolve(str(tmp_path), chosen, small_lab)
    with pytest.raises(UsageError, match=r"no side of a comparison.*litert-builtin"):
        sides.resolve("litert-xnpack", chosen, small_lab)


def test_two_artifacts_from_the_command_line(
    classifier: Subject, tmp_path: Path, capsys: pytest.CaptureFixture[str], cache: Cache
) -> None:
    a, b = classifier.artifact("float32"), classifier.artifact("int16x8")  # without quick kernels
    found = tmp_path / "found.json"
    status = main(["compare", str(a), str(b), "--rounds", "8", "--json", str(found)])
    (outcome,) = json.loads(found.read_text())
    assert outcome["verdict"] in set(Verdict)
    assert status == {"slower": 1, "inconclusive": 3}.get(outcome["verdict"], 0)
    assert "Ratio of medians" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone.tflite", "b.tflite"], "no artifact at gone.tflite"),
        (["--models", "digits_cnn", "litert-xnnpack", "nowhere"], "no side of a comparison"),
        (["--models", "no_such_model", "a", "b"], "unknown model"),
        (["a.tflite", "b.tflite", "--rounds", "3"], "8 or more"),
        (["a.tflite", "b.tflite", "--threads", "0"], "one or more"),
    ],
)
def test_what_a_user_gets_wrong_is_one_message(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *arguments]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told


def test_processes_end_with_the_comparison(classifier: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    start: Callable[..., None] = runtimes.Worker.__init__

    def count(worker: runtimes.Worker, *args: object, **kwargs: object) -> None:
        start(worker, *args, **kwargs)
        opened.append(worker.pid)

    monkeypatch.setattr(runtimes.Worker, "__init__", count)
    side = sides.artifact_side(classifier.artifact("float32"))
    with ab._Bench(side, side, ab.any_sample(side), 1, QUICK, lambda done, of: None) as bench:
        for _ in range(QUICK.rounds_a_process + 1):
            bench.round()
    assert len(opened) == 5  # one for the shapes, then two sides twice
    import psutil

    assert not any(psutil.pid_exists(pid) for pid in opened)

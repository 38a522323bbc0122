"""Sessions with the real runtimes: one answer from all, and an error for every file that is no model."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest

from suite import metrics, runtimes
from suite.errors import CaseError, StagedError, UsageError
from suite.record import Stage, Status
from suite.runtimes import ENGINES, Pool, RemoteSession, loop, open_session
from suite.runtimes.base import TimingPolicy, dequantise, quantise
from suite.runtimes.interpreter import InterpreterSession
from tests.meta.conftest import Subject

QUICK = TimingPolicy(warmup_min_seconds=0, min_runs=20, min_seconds=0)
FUZZED = 30

TFLITE = [name for name in ENGINES if not name.startswith("coreml")]  # those have tests/meta/coreml


@pytest.fixture
def opened(tensorflow: Pool) -> Callable[..., object]:
    """Open an artifact in the session's worker of that engine."""

    def open_(path: Path, engine: str = "litert-xnnpack", threads: int = 1) -> object:
        worker = tensorflow.worker(ENGINES[engine].worker)
        return open_session(engine, path, threads=threads, worker=worker)

    return open_


def own(session: RemoteSession, image: np.ndarray) -> dict[str, np.ndarray]:
    return {session.inputs[0].name: image}


# --- answers ---------------------------------------------------------------------------


@pytest.mark.parametrize("engine", TFLITE)
@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_every_engine_gives_the_originals_answers(
    classifier: Subject,
    opened: Callable[..., object],
    images: np.ndarray,
    expected: np.ndarray,
    engine: str,
    variant: str,
) -> None:
    with opened(classifier.artifact(variant), engine) as session:
        (found,) = session.run_many({"input": images}).values()
    assert (found.shape, found.dtype) == (expected.shape, np.float32)
    signal = metrics.sqnr_db(expected, found)
    assert signal > {"float32": 100, "int8": 20}[variant]
    assert signal < {"float32": 201, "int8": 80}[variant]


@pytest.mark.parametrize("count", [1, 2])
def test_one_run_is_one_of_many(
    classifier: Subject, opened: Callable[..., object], images: np.ndarray, count: int
) -> None:
    with opened(classifier.artifact("float32"), threads=count) as session:
        (many,) = session.run_many({"image": images}).values()
        for i in (0, 7):
            (one,) = session.run(own(session, images[i : i + 1])).values()
            np.testing.assert_array_equal(one[0], many[i])


def test_a_session_says_what_it_takes_by_the_names_of_the_signature(
    classifier: Subject, two_headed: Subject, opened: Callable[..., object]
) -> None:
    with opened(classifier.artifact("float32")) as session:
        assert [(i.name, i.shape, i.dtype, i.quantised) for i in session.inputs] == [
            ("input", (1, 16, 16, 3), "float32", False)
        ]
        assert [(o.name, o.shape) for o in session.outputs] == [("output", (1, 10))]
    with opened(two_headed.artifact("float32")) as session:
        assert {i.name: i.shape for i in session.inputs} == {"image": (1, 8, 8, 3), "numbers": (1, 4)}
        assert {o.name: o.shape for o in session.outputs} == {"scores": (1, 5), "box": (1, 3)}


def test_integers_in_and_out_are_quantised_as_an_app_would(
    classifier: Subject, opened: Callable[..., object], images: np.ndarray
) -> None:
    with opened(classifier.artifact("int8_io")) as session:
        (taken,), (given,) = session.inputs, session.outputs
        assert taken.dtype == given.dtype == "int8"
        assert taken.quantised
        assert given.quantised
        (many,) = session.run_many({"input": images}).values()
        (raw,) = session.run(own(session, quantise(images[:1], taken))).values()
    assert raw.dtype == np.int8
    np.testing.assert_array_equal(dequantise(raw, given), many[:1])
    with opened(classifier.artifact("int8")) as session:
        (floats,) = session.run_many({"input": images}).values()
    assert metrics.sqnr_db(floats, many) > 40  # the same graph, its ends apart


def test_a_feed_by_path_is_a_feed(
    classifier: Subject, opened: Callable[..., object], images: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", images)
    with opened(classifier.artifact("float32")) as session:
        (by_path,) = session.run_many({"input": tmp_path / "images.npy"}).values()
        (by_value,) = session.run_many({"input": images}).values()
    np.testing.assert_array_equal(by_path, by_value)


def test_time_and_memory_are_measured_where_it_runs(
    classifier: Subject, opened: Callable[..., object], images: np.ndarray
) -> None:
    with opened(classifier.artifact("float32"), threads=2) as session:
        timing = session.time({"input": images[:1]}, QUICK)
        memory = session.memory({"input": images[:1]}, 2)
    assert len(timing.samples_ns) == 20
    assert timing.threads == 2
    assert 0 < min(timing.samples_ns) < 50_000_000
    assert timing.load_ns > 0
    assert memory.peak_bytes >= memory.loaded_bytes > 1_000_000


@pytest.mark.parametrize(
    ("growth", "runs"),
    [
        ([9 << 20, 0, 0, 0, 0], 2),
        ([9 << 20, 4096, 0, 0, 0], 2),
        ([9 << 20, 1 << 20, 0, 0, 0], 3),
        ([1 << 20] * 5, 5),
    ],
)
def test_the_memory_pass_goes_on_while_each_inference_takes_more(
    monkeypatch: pytest.MonkeyPatch, growth: list[int], runs: int
) -> None:
    peak, took = [50 << 20], iter(growth)

    def invoke() -> None:
        peak[0] += next(took)

    monkeypatch.setattr(loop, "peak_bytes", lambda: peak[0])
    interpreter = MagicMock(invoke=invoke)
    for name in ("get_input_details", "get_output_details", "get_signature_list"):
        getattr(interpreter, name).return_value = []
    use = InterpreterSession(lambda **_: interpreter, Path("a.tflite"), 1).memory({}, len(growth))
    assert len(growth) - len(list(took)) == runs
    assert use.peak_bytes == peak[0] == (50 << 20) + sum(growth[:runs])


# --- sizes that a file leaves free ---------------------------------------------------------


@pytest.mark.parametrize("engine", TFLITE)
def test_sizes_that_are_left_free_are_the_samples(
    saved: Path, opened: Callable[..., object], images: np.ndarray, engine: str
) -> None:
    with opened(saved / "pooled.tflite", engine) as session:
        (expected,) = session.run_many({"image": images}).values()
    with opened(saved / "free.tflite", engine) as session:
        assert session.inputs[0].shape == (1, -1, -1, 3)
        (found,) = session.run_many({"image": images}).values()
        (larger,) = session.run(own(session, np.tile(images[:1], (1, 2, 2, 1)))).values()
        (again,) = session.run_many({"image": images}).values()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(again, found)
    assert larger.shape == (1, 10)
    assert not np.array_equal(larger[0], found[0])


def test_a_file_of_free_sizes_is_measured_like_any(
    saved: Path, opened: Callable[..., object], images: np.ndarray
) -> None:
    with opened(saved / "free.tflite") as session:
        timing = session.time({"image": images[:1]}, QUICK)
    with opened(saved / "free.tflite") as session:
        memory = session.memory({"image": images[:1]}, 2)
    assert len(timing.samples_ns) == 20
    assert timing.load_ns > 0
    assert memory.peak_bytes >= memory.loaded_bytes > 1_000_000


_CHANNELS = np.zeros((1, 16, 16, 4), np.float32), r"takes float32 \(1, \?, \?, 3\), found .*\(1, 16, 16, 4\)"
_RANK = np.zeros((1, 16, 16), np.float32), r"takes float32 \(1, \?, \?, 3\), found .*\(1, 16, 16\)"
_SMALL = (
    np.zeros((1, 2, 2, 3), np.float32),
    r"sizes free .*\(1, \?, \?, 3\)\), and cannot run at \(1, 2",
)


@pytest.mark.parametrize(
    ("engine", "wrong", "words"),
    [
        ("litert-xnnpack", *_CHANNELS),
        ("litert-xnnpack", *_RANK),
        ("litert-xnnpack", *_SMALL),  # tflite-runtime takes a size that leaves a layer nothing
        ("tflite-runtime", *_CHANNELS),
        ("tflite-runtime", *_RANK),
    ],
)
def test_a_size_that_a_free_file_cannot_take_is_named(
    saved: Path, opened: Callable[..., object], images: np.ndarray, engine: str, wrong: np.ndarray, words: str
) -> None:
    with opened(saved / "free.tflite", engine) as session:
        with pytest.raises(CaseError, match=words) as caught:
            session.run(own(session, wrong))
        assert "damaged" not in str(caught.value)
        session.run(own(session, images[:1]))  # it goes on


# --- what does not fit ------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["litert-xnnpack", "tflite-runtime"])
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (np.zeros((1, 8, 8, 3), np.float32), ["(1, 16, 16, 3)", "(1, 8, 8, 3)"]),
        (np.zeros((1, 16, 16), np.float32), ["(1, 16, 16, 3)", "(1, 16, 16)"]),
        (np.zeros((2, 16, 16, 3), np.float32), ["(1, 16, 16, 3)", "(2, 16, 16, 3)"]),
        (np.zeros((1, 16, 16, 3), np.int8), ["float32", "int8"]),
        (np.zeros((1, 16, 16, 3), np.float64), ["float32", "float64"]),
    ],
)
def test_a_wrong_shape_or_dtype_names_both(
    classifier: Subject,
    opened: Callable[..., object],
    images: np.ndarray,
    engine: str,
    wrong: np.ndarray,
    named: list[str],
) -> None:
    with opened(classifier.artifact("float32"), engine) as session:
        with pytest.raises(CaseError) as caught:
            session.run(own(session, wrong))
        assert all(name in str(caught.value) for name in named), str(caught.value)
        assert caught.value.stage is Stage.RUN
        session.run(own(session, images[:1]))  # it goes on


def test_a_wrong_number_of_arrays_names_what_is_expected(
    two_headed: Subject, opened: Callable[..., object]
) -> None:
    with (
        opened(two_headed.artifact("float32")) as session,
        pytest.raises(CaseError, match=r"found 1 arrays \(image\), expected 2: .*numbers"),
    ):
        session.run({"image": np.zeros((1, 8, 8, 3), np.float32)})


def test_an_unknown_engine_names_the_known() -> None:
    with (
        pytest.raises(UsageError, match=r"unknown engine 'litert': known are litert-xnnpack, .*tf-lite"),
        open_session("litert", Path("m.tflite"), threads=1),
    ):
        pass


# --- files that are no model ---------------------------------------------------------------


def outcome(open_: Callable[..., object], path: Path, engine: str, images: np.ndarray) -> str:
    """What becomes of an artifact: "answer", or the status of the error. Anything else fails the test."""
    try:
        with open_(path, engine) as session:
            answers = session.run_many({"input": images[:2]})
    except StagedError as error:
        return str(error.status) if str(error).strip() else "an error without a word"
    return "answer" if answers else "nothing"


@pytest.mark.parametrize("engine", ["litert-xnnpack", "litert-reference", "tflite-runtime", "tf-lite"])
@pytest.mark.parametrize("kind", ["empty", "random", "truncated", "header only", "text"])
def test_a_file_that_is_no_model_is_one_clear_error(
    classifier: Subject,
    opened: Callable[..., object],
    images: np.ndarray,
    tmp_path: Path,
    engine: str,
    kind: str,
) -> None:
    good = classifier.artifact("float32").read_bytes()
    path = tmp_path / "bad.tflite"
    path.write_bytes(
        {
            "empty": b"",
            "random": random.Random(0).randbytes(5000),
            "truncated": good[: len(good) // 2],
            "header only": good[:16],
            "text": b"<html>404: not found</html>",
        }[kind]
    )
    with pytest.raises(StagedError) as caught, opened(path, engine):
        pass
    assert caught.value.status in (Status.FAILED, Status.CRASHED)
    if caught.value.status is Status.FAILED:
        assert "bad.tflite" in str(caught.value)
        assert "convert it again" in str(caught.value).lower()
        assert caught.value.stage is Stage.LOAD
    assert (
        outcome(opened, classifier.artifact("float32"), engine, images) == "answer"
    )  # the next case goes on


@pytest.mark.parametrize("place", range(FUZZED))
def test_a_flipped_byte_is_an_answer_or_an_error_and_never_the_end_of_the_run(
    classifier: Subject, opened: Callable[..., object], images: np.ndarray, tmp_path: Path, place: int
) -> None:
    good = classifier.artifact("float32").read_bytes()
    content = bytearray(good)
    # Half of them in the graph, which a few kilobytes at either end hold; weights fill the middle.
    offsets = random.Random(0).sample([*range(64), *range(len(good) - 3000, len(good))], FUZZED)
    content[offsets[place]] ^= 0xFF
    path = tmp_path / "flipped.tflite"
    path.write_bytes(content)
    assert outcome(opened, path, "litert-xnnpack", images) in {"answer", "failed", "unsupported", "crashed"}
    assert outcome(opened, classifier.artifact("float32"), "litert-xnnpack", images) == "answer"


def test_a_session_of_its_own_ends_its_worker(classifier: Subject, images: np.ndarray) -> None:
    with runtimes.open_session("litert-xnnpack", classifier.artifact("float32"), threads=1) as session:
        worker = session._worker
        assert worker.alive()
    assert not worker.alive()


def test_an_engine_beside_another_in_its_own_process(tensorflow: Pool) -> None:
    kinds = {ENGINES[engine].worker for engine in TFLITE}
    assert len({tensorflow.worker(kind).pid for kind in kinds}) == len(kinds) == 3


def test_versions_are_read_without_an_import() -> None:
    found = runtimes.versions("ai-edge-litert", "tensorflow", "no-such-package")
    assert found["no-such-package"] == "absent"
    assert found["tensorflow"].startswith("2.")
    assert found["ai-edge-litert"].startswith("2.")

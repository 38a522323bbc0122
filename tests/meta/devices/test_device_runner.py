"""`device_runner`, run on this machine: what it answers, and how hard it is on bad input."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from suite import runtimes
from suite.devices import answers, camera
from suite.devices import bundle as bundles
from suite.devices.rootfs import native_abi
from suite.preprocess import preprocess
from suite.runtimes.base import CameraPlan, dequantise
from suite.spec import ImageInput, Resize
from tests.meta.conftest import Subject
from tests.meta.devices.conftest import skipped_where_lacking


@pytest.fixture(scope="module")
def runner() -> bundles.Bundle:
    with skipped_where_lacking():
        return bundles.bundle(native_abi())


@pytest.fixture
def run(
    runner: bundles.Bundle, classifier: Subject, images: np.ndarray, tmp_path: Path
) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run the classifier on sixteen images; `name=value` words change that."""
    (tmp_path / "input.bin").write_bytes(images.tobytes())

    def call(**changes: object) -> tuple[int, dict[str, Any]]:
        words = {
            "library": runner.files[bundles.LIBRARY],
            "model": classifier.artifact("float32"),
            "input": tmp_path / "input.bin",
            "output": tmp_path / "output.bin",
            "count": len(images),
            **changes,
        }
        done = subprocess.run(
            [runner.files[bundles.RUNNER], *(f"{name}={value}" for name, value in words.items())],
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else {}

    return call


Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.mark.parametrize("xnnpack", [0, 1])
def test_it_answers_as_litert_does(
    run: Run, classifier: Subject, images: np.ndarray, tmp_path: Path, xnnpack: int
) -> None:
    status, seen = run(xnnpack=xnnpack)
    assert status == 0
    assert seen["xnnpack"] is bool(xnnpack)
    answered = np.fromfile(tmp_path / "output.bin", np.float32).reshape(len(images), -1)
    with runtimes.open_session("litert-xnnpack", classifier.artifact("float32"), threads=1) as host:
        (expected,) = host.run_many({"image": images}).values()
    np.testing.assert_allclose(answered, expected, atol=1e-4, rtol=0)


def test_it_says_all_it_saw(run: Run, images: np.ndarray) -> None:
    status, seen = run(threads=2, warmup_min_runs=3, min_runs=7, max_runs=7)
    assert status == 0
    assert (seen["threads"], seen["count"]) == (2, len(images))
    assert [len(seen[name]) for name in ("batch_ns", "samples_ns")] == [len(images), 7]
    assert len(seen["warmup_ns"]) >= 3
    assert sum(seen["samples_ns"]) <= seen["wall_ns"]
    assert seen["cpu_ns"] > 0
    assert 0 < seen["baseline_bytes"] <= seen["loaded_bytes"] <= seen["peak_bytes"]
    assert (
        seen["loaded_bytes"] <= seen["first_resident_bytes"] <= seen["resident_bytes"] <= seen["peak_bytes"]
    )
    assert seen["inputs"][0]["shape"] == [1, 16, 16, 3]
    assert seen["outputs"][0]["dtype"] == "float32"


def test_warm_up_ends_where_it_no_longer_helps_or_at_its_cap(run: Run) -> None:
    """Blocks of half the fewest runs; each but the last is 5 % quicker than the one before it."""
    seen = run(warmup_min_runs=8, warmup_max_runs=400, min_runs=1)[1]["warmup_ns"]
    blocks = [sorted(seen[start : start + 4])[2] for start in range(0, len(seen), 4)]
    assert len(blocks) >= 2
    assert all(b <= 0.95 * a for a, b in pairwise(blocks[:-1]))
    assert blocks[-1] > 0.95 * blocks[-2]
    assert len(run(warmup_min_runs=80, warmup_max_runs=6, min_runs=1)[1]["warmup_ns"]) == 6
    assert (
        len(run(warmup_min_runs=10**6, warmup_max_runs=10**6, warmup_max_ms=1, min_runs=1)[1]["warmup_ns"])
        < 10**6
    )
    assert run(min_runs=1)[1]["warmup_ns"] == []


def test_it_tells_what_other_processes_took(run: Run) -> None:
    """A busy neighbour shows; what the runner took itself is a part of the whole."""
    words = ["python3", "-c", "while True: pass"]
    quiet = run(min_runs=1, min_ms=500, max_runs=10**6)[1]
    with subprocess.Popen(words) as neighbour:
        busy = run(min_runs=1, min_ms=500, max_runs=10**6)[1]
        neighbour.kill()
    for seen in (quiet, busy):
        assert seen["cores"] >= 1
        assert seen["all_cpu_ns"] > 0
    assert busy["all_cpu_ns"] - busy["cpu_ns"] > 0.2 * busy["wall_ns"]


def test_a_cap_that_is_met_too_soon_leaves_some_runs(run: Run) -> None:
    capped = {"min_runs": 50, "max_ms": 0}
    assert len(run(**capped)[1]["samples_ns"]) == 0
    assert len(run(**capped, few_runs=10, few_max_ms=60_000)[1]["samples_ns"]) == 10


def test_without_min_runs_nothing_is_timed(run: Run) -> None:
    assert run()[1]["samples_ns"] == []


@pytest.mark.parametrize(
    ("changes", "stage", "message"),
    [
        ({"library": "/nonexistent.so"}, "load", "cannot open the library"),
        ({"library": "libm.so.6"}, "load", "has no TfLiteModelCreateFromFile"),
        ({"model": "/nonexistent.tflite"}, "load", "is no TFLite model"),
        ({"model": "/etc/passwd"}, "load", "is no TFLite model"),
        ({"input": "/nonexistent.bin"}, "run", "cannot read /nonexistent.bin: No such file"),
        ({"count": 17}, "run", "holds 49152 bytes, expected 17 samples of 3072"),
        ({"output": "/proc/output.bin"}, "run", "cannot write /proc/output.bin"),
        ({"output": "/dev/full"}, "run", "cannot write /dev/full: No space left"),
        ({"count": 0}, "load", "of one or more are needed"),
        ({"threads": "many"}, "load", "threads=many: a number of zero or more is expected"),
        ({"colour": 3}, "load", "unknown argument colour=3"),
    ],
)
def test_bad_input_is_an_error_with_its_stage(
    run: Run, changes: dict[str, object], stage: str, message: str
) -> None:
    status, seen = run(**changes)
    assert status == 1
    assert seen["stage"] == stage
    assert message in seen["error"]


def test_it_ends_itself_after_its_time(run: Run) -> None:
    status, seen = run(limit_s=1, min_runs=10**6, max_runs=10**6)
    assert status == -14
    assert seen == {}


# --- behind a camera ------------------------------------------------------------------------

PLAN = CameraPlan(fps=30, seconds=0.4, inferences=1, max_seconds=2)
CONTRACTS = {
    "squash": ImageInput(height=16, width=16, preprocessing="tf"),
    "cut": ImageInput(height=16, width=16, preprocessing="unit", resize=Resize.CENTRE_CROP),
    "bicubic": ImageInput(height=16, width=16, preprocessing="caffe", interpolation="bicubic"),
    "nearest": ImageInput(height=16, width=16, preprocessing="torch", interpolation="nearest"),
}


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    """Frames with edges in them, so that each way of resampling is another."""
    grid = np.random.default_rng(3).integers(0, 255, (3, 12, 16, 3), np.uint8)
    return [np.kron(photo, np.ones((40, 40, 1), np.uint8)) for photo in grid]


@pytest.fixture
def behind_a_camera(run: Run, photos: list[np.ndarray], tmp_path: Path) -> Run:
    """As `run`, on the frames; a contract and a plan are stated in the runner's words."""
    (tmp_path / "frames.bin").write_bytes(b"".join(photo.tobytes() for photo in photos))

    def call(contract: ImageInput, plan: CameraPlan = PLAN, **changes: object) -> tuple[int, dict[str, Any]]:
        words = camera.words(contract, photos[0].shape, plan)
        return run(**{"input": tmp_path / "frames.bin", "count": len(photos), **words, **changes})

    return call


@pytest.mark.parametrize("name", CONTRACTS)
@pytest.mark.parametrize("variant", ["float32", "int8_io"])
def test_frames_are_prepared_as_the_model_was_trained_on(
    behind_a_camera: Run,
    classifier: Subject,
    photos: list[np.ndarray],
    tmp_path: Path,
    name: str,
    variant: str,
) -> None:
    path = classifier.artifact(variant)
    with runtimes.open_session("litert-xnnpack", path, threads=1) as host:
        (info,), (answer,) = host.inputs, host.outputs
        expected = {
            contract: next(iter(host.run_many({info.name: preprocess(photos, stated)}).values()))
            for contract, stated in CONTRACTS.items()
        }
    status, seen = behind_a_camera(CONTRACTS[name], model=path)
    assert status == 0, seen
    raw = np.fromfile(tmp_path / "output.bin", answer.dtype).reshape(len(photos), -1)
    answered = dequantise(raw, answer)
    np.testing.assert_allclose(answered, expected[name], atol=answer.scale * 1.001 or 1e-5, rtol=0)
    if variant == "float32":  # where steps hide nothing, every other contract is told apart
        for other in set(CONTRACTS) - {name}:
            assert np.abs(answered - expected[other]).max() > 1e-4


def test_both_schemes_follow_the_camera(behind_a_camera: Run, photos: list[np.ndarray]) -> None:
    status, seen = behind_a_camera(CONTRACTS["squash"])
    assert status == 0
    use = camera.use(msgspec.convert(seen, answers.Shown), "here")
    assert [stream.threaded for stream in use.streams] == [False, True]
    for stream in use.streams:
        numbers = [row[0] for row in stream.taken]
        assert stream.offered == 12
        assert numbers == sorted(set(numbers))
        assert all(row[1] >= row[0] * 1e9 / PLAN.fps for row in stream.taken)
        assert all(min(row[2:]) > 0 for row in stream.taken)
        assert stream.cpu_ns > 0
        assert max(stream.shown_ns) <= stream.wall_ns
    callback, threads = use.streams
    assert len(callback.shown_ns) == len(callback.taken)
    assert len(threads.shown_ns) == threads.offered
    assert list(use.phases) == ["load", "first", "real time, in the callback", "real time, with threads"]
    assert all(0 < resident <= use.peak_bytes for resident, _ in use.phases.values())


def test_a_camera_that_is_quicker_than_the_model_drops_frames(behind_a_camera: Run) -> None:
    plan = CameraPlan(fps=4000, seconds=0.25, inferences=1, max_seconds=2)
    _, seen = behind_a_camera(CONTRACTS["bicubic"], plan)
    callback, threads = camera.use(msgspec.convert(seen, answers.Shown), "here").streams
    assert all(len(stream.taken) < stream.offered for stream in (callback, threads))
    for before, after in zip(callback.taken, callback.taken[1:], strict=False):
        due = (before[1] + sum(before[2:])) * plan.fps / 1e9  # frames by the time that it was free again
        assert after[0] >= min(int(due), callback.offered - 1) - 1  # the newest is taken
    assert len(threads.shown_ns) == threads.offered


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"filter": "lanczos"}, "unknown filter lanczos"),
        ({"scale": "1,2"}, "scale: three numbers are expected"),
        ({"height": 17}, "photos of 17x16x3 do not fit"),
        ({"box_width": 641}, "what is to be cut out of a frame is not within it"),
        ({"frame_width": 639}, "expected 3 samples of"),
    ],
)
def test_a_camera_that_does_not_fit_is_an_error(
    behind_a_camera: Run, changes: dict[str, object], message: str
) -> None:
    status, seen = behind_a_camera(CONTRACTS["squash"], **{"box_width": 100, **changes})
    assert status == 1
    assert message in seen["error"]


def test_it_is_built_for_phones_too(tmp_path: Path) -> None:
    with skipped_where_lacking():
        built = bundles.bundle("arm64-v8a")
    header = built.files[bundles.RUNNER].read_bytes()[:20]
    assert header[:4] == b"\x7fELF"
    assert header[18] == 183  # arm64
    assert built.command[0] == "./ld-linux-aarch64.so.1"

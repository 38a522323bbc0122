"""`device_runner`, run on this machine: what it answers, and how hard it is on bad input."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite import runtimes
from suite.devices import bundle as bundles
from suite.devices.rootfs import native_abi
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
    assert [len(seen[name]) for name in ("batch_ns", "warmup_ns", "samples_ns")] == [len(images), 3, 7]
    assert sum(seen["samples_ns"]) <= seen["wall_ns"]
    assert seen["cpu_ns"] > 0
    assert 0 < seen["baseline_bytes"] <= seen["loaded_bytes"] <= seen["peak_bytes"]
    assert seen["inputs"][0]["shape"] == [1, 16, 16, 3]
    assert seen["outputs"][0]["dtype"] == "float32"


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


def test_it_is_built_for_phones_too(tmp_path: Path) -> None:
    with skipped_where_lacking():
        built = bundles.bundle("arm64-v8a")
    header = built.files[bundles.RUNNER].read_bytes()[:20]
    assert header[:4] == b"\x7fELF"
    assert header[18] == 183  # arm64
    assert built.command[0] == "./ld-linux-aarch64.so.1"

"""Files spoilt at random are answered or refused with words; nothing crashes or runs on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from suite.coreml.evaluator import Evaluator
from tests.meta.conftest import ROOT
from tests.meta.coreml import fuzzing
from tests.meta.coreml.writing import small_network

COUNT = 250


@pytest.mark.parametrize("kind", fuzzing.SPOILT)
def test_a_spoilt_file_is_answered_or_refused(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.meta.coreml.fuzzing", kind, "1", str(COUNT)],
        cwd=ROOT, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-3000:]}"
    found = json.loads(done.stdout)
    assert sum(found["ends"].values()) == COUNT
    assert found["ends"]["refused"] > COUNT // 20  # what is spoilt is seen


def test_the_network_that_is_spoilt_is_good(tmp_path: Path) -> None:
    path = tmp_path / "m.mlmodel"
    path.write_bytes(small_network().SerializeToString())
    answer = Evaluator.open(path).run({"x": np.ones((1, 3, 6, 6), np.float32)})["y"]
    assert answer.shape == (1, 4)
    assert answer.any()


def test_what_never_ends_or_fills_the_memory_would_be_seen() -> None:
    """The harness itself: a process that is out of memory or of time does not end with 0."""
    code = (
        "import resource, signal\nimport numpy as np\nfrom tests.meta.coreml import fuzzing\n"
        "resource.setrlimit(resource.RLIMIT_AS, (fuzzing.MEMORY_BYTES,) * 2)\n{}"
    )
    for spoil in (
        "np.ones(fuzzing.MEMORY_BYTES // 4)",
        "signal.setitimer(signal.ITIMER_PROF, 1)\nwhile True: pass",
    ):
        done = subprocess.run(
            [sys.executable, "-c", code.format(spoil)],
            cwd=ROOT,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode != 0

"""A pytest plugin of the benches: what a run waits for its workers, by what it asked of them.

`-p tests.bench.watched` writes the seconds of each function to the file that POCKETPROOF_WAITS names.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from suite.runtimes.worker import Worker

FILE = "POCKETPROOF_WAITS"
_seconds: Counter[str] = Counter()
_call = Worker.call


def _watched(worker: Worker, function: str, *args: Any, **options: Any) -> Any:
    start = time.perf_counter()
    try:
        return _call(worker, function, *args, **options)
    finally:
        _seconds[function] += time.perf_counter() - start


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    Worker.call = _watched  # type: ignore[method-assign]


def pytest_unconfigure() -> None:
    Path(os.environ[FILE]).write_text(json.dumps(_seconds))

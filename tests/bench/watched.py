"""A pytest plugin of the benches: how long the passes of a run take, within it.

`-p tests.bench.watched` writes the seconds of all that sessions on this machine
answer to the file that POCKETPROOF_PASSES names.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from suite.runtimes import RemoteSession

FILE = "POCKETPROOF_PASSES"
_seconds = 0.0
_run_many = RemoteSession.run_many


def _watched(session: RemoteSession, feed: Any) -> Any:
    global _seconds
    start = time.perf_counter()
    try:
        return _run_many(session, feed)
    finally:
        _seconds += time.perf_counter() - start


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    RemoteSession.run_many = _watched  # type: ignore[method-assign]


def pytest_unconfigure() -> None:
    Path(os.environ[FILE]).write_text(f"{_seconds:.3f}")

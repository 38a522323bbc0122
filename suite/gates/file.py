"""A file of results judged: by two processes where it is large, since decoding keeps a processor busy."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

from suite import store
from suite.gates.findings import Verdict
from suite.gates.tally import Tally, tally
from suite.thresholds import Thresholds

LARGE_BYTES = 4_000_000  # below, a second process costs more than it saves


def judge_file(path: Path | str, thresholds: Thresholds) -> Verdict:
    """Hold the results at `path`, a run's directory or a file, to their thresholds.

    Raises UsageError as `store.load`.
    """
    file = store.results_file(path)
    data = store.read(file)
    both = _by_two(data, thresholds) if len(data) >= LARGE_BYTES and hasattr(os, "fork") else None
    if both is not None:
        return both.verdict(thresholds)
    results = store.parse(data, file, lean=True)
    return tally(results.records, thresholds).verdict(thresholds, results.warnings)


def _by_two(data: bytes, thresholds: Thresholds) -> Tally | None:
    """None where a half does not stand for itself: a line does not fit, or a case goes on in the other."""
    middle = data.rfind(b"\n", 0, len(data) // 2) + 1
    theirs = _beside(lambda: _half(data[middle:], thresholds))
    mine = _half(data[:middle], thresholds)
    later = theirs()
    if mine is None or later is None or not set(mine.case_ids).isdisjoint(later.case_ids):
        return None
    return mine + later


def _half(data: bytes, thresholds: Thresholds) -> Tally | None:
    records = store.parse_whole(data, lean=True)
    return None if records is None else tally(store.merge_cases(records), thresholds)


def _beside(work: Callable[[], Tally | None]) -> Callable[[], Tally | None]:
    """Begin work in a process of its own; the answer waits for its result, None where it broke."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as stream:
                pickle.dump(work(), stream)
            status = 0
        finally:
            os._exit(status)  # whatever broke, this copy of the program ends here
    os.close(writing)

    def result() -> Tally | None:
        with os.fdopen(reading, "rb") as stream:
            told = stream.read()
        _, status = os.waitpid(child, 0)
        return pickle.loads(told) if status == 0 else None

    return result

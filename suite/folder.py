"""The folder of a run: made, cleared of an earlier run's results, pointed at, and remembered.

One that a user names is theirs: it is no `reports/latest`, and has a history of its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from suite import history, report
from suite.errors import UsageError
from suite.record import Record
from suite.store import HELD_TO, RESULTS, new_run_dir, point_latest, write_atomic

BENCHMARK_JSON = "benchmark.json"
_OF_A_RUN = (RESULTS, report.INDEX, report.SUMMARY, report.JUNIT, BENCHMARK_JSON, HELD_TO)


def make(given: Path | str | None, reports: Path) -> Path:
    """The folder that was asked for, or a new one in `reports`; UsageError where it cannot be."""
    with explained():
        if not given:
            return new_run_dir(reports)
        directory = Path(given).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        return directory


def begin(directory: Path, reports: Path, *, named: bool, held_to: Path | None = None) -> None:
    """Clear it of an earlier run's results, and keep what this one is held to; now it is the latest run."""
    with explained():
        for name in _OF_A_RUN:
            (directory / name).unlink(missing_ok=True)
        if held_to is not None:
            write_atomic(directory / HELD_TO, os.fsencode(held_to) + b"\n")
        if not named:
            point_latest(reports, directory)


def remember(directory: Path, reports: Path, records: Sequence[Record], *, named: bool) -> None:
    """Append a run to the history; PocketproofError where that cannot be written."""
    if named:  # the folder's name is that of every run into it
        history.append(directory / history.FILE, history.named_by_time(records), records)
    else:
        history.append(reports / history.FILE, directory.name, records)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Say of a folder that cannot be written what to do about it."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{error.filename}: cannot be written for this run's results: {error.strerror}. "
            "Free some space or mend its permissions, or name another folder with --report-dir"
        ) from error

"""Records to files that people and other tools read: index.html, summary.md, junit.xml."""

from __future__ import annotations

import errno
from pathlib import Path

from suite import baseline as baselines
from suite import history
from suite.errors import PocketproofError
from suite.gates import Verdict
from suite.report import html, junit, summary
from suite.report.view import view
from suite.store import load, results_file, write_atomic
from suite.thresholds import Thresholds

INDEX = "index.html"
SUMMARY = "summary.md"
JUNIT = "junit.xml"
TREND_RUNS = 30


def build(run: Path | str, thresholds: Thresholds, baseline: Path | None = None) -> Verdict:
    """Write the three files beside the results of `run`, a directory or a results.jsonl.

    `baseline` is an earlier run that this one is held to as well.

    Each file is replaced in one step. Raises UsageError for results that
    cannot be read, and PocketproofError where the files cannot be written.
    """
    results = load(run)
    verdict = baselines.judge(results, thresholds, baseline)
    seen = view(results.records, verdict, thresholds)
    directory = results_file(run).parent
    for name, text in (
        (SUMMARY, summary.render(seen)),
        (JUNIT, junit.render(results.records, verdict)),
        (INDEX, html.render(seen, _history(directory))),
    ):
        _write(directory / name, text)
    return verdict


def _history(directory: Path) -> list[history.Entry]:
    """Earlier runs, for trends; a report does not fail for want of them."""
    file = history.beside(directory)
    if file is None:
        return []
    try:
        return history.load(file, runs=TREND_RUNS)
    except PocketproofError:
        return []


def _write(path: Path, text: str) -> None:
    try:
        write_atomic(path, text.encode("utf-8", "replace"))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "free some space" if full else "check the directory's permissions"
        raise PocketproofError(
            f"{path}: cannot write the report: {error.strerror}; the results are safe. "
            f"Then {advice} and run: python -m suite report {path.parent}"
        ) from error

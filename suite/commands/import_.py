"""Bring back the result of a golden bundle, replayed on a Mac, as a run that can be reported and gated.

The answers are compared anew with the bundle's reference. A result of another
bundle, or of an altered one, is refused.

Exit status: 0 the run is written and its gates hold; 1 one does not; 2 the
result cannot be taken.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "bring a replayed bundle's result back as a run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The result, its bundle, and where to."""
    parser.add_argument("result", type=Path, metavar="RESULT.json")
    parser.add_argument(
        "--bundle", type=Path, metavar="DIR", help="the bundle's folder (default: the result's)"
    )
    parser.add_argument(
        "--report-dir", type=Path, metavar="DIR", help="write here (default: a new folder in reports/)"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="pyproject.toml with thresholds")


def run(arguments: argparse.Namespace) -> int:
    """Write the run and its report; returns 0 or 1."""
    from suite import folder, replayed, report
    from suite.commands import _results
    from suite.store import Store

    thresholds = _results.thresholds(arguments)
    records = replayed.records(arguments.result, arguments.bundle)
    reports, named = Path("reports"), arguments.report_dir is not None
    place = folder.make(arguments.report_dir, reports)
    folder.begin(place, reports, named=named)
    store = Store(place)
    for record in records:
        store.append(record)
    folder.remember(place, reports, records, named=named)
    verdict = report.build(place, thresholds)
    print(f"{'passed' if verdict.passed else 'FAILED'}: {len(records)} cases in {place / report.INDEX}")
    return 0 if verdict.passed else 1

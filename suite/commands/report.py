"""Rebuild index.html, summary.md and junit.xml from recorded results.

Needs no converter and no runtime. Exit status: 0 the files are written,
whatever the verdict; 2 the results (or the baseline that they were held to)
cannot be read or the files not written.
"""

from __future__ import annotations

import argparse

from suite.commands import _results
from suite.store import results_file

HELP = "rebuild the report from recorded results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run and the thresholds."""
    _results.add_arguments(parser)
    _results.add_baseline(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the report and say where it is."""
    from suite import report  # imports the template engine

    verdict = report.build(arguments.run, _results.thresholds(arguments), _results.baseline(arguments))
    word = "passed" if verdict.passed else "INCONCLUSIVE" if verdict.inconclusive else "FAILED"
    print(f"{word}: {results_file(arguments.run).parent / report.INDEX}")
    return 0

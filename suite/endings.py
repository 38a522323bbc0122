"""How a test ended, in a record's words."""

from __future__ import annotations

import pytest

from suite.errors import BoundMissed, StagedError
from suite.gates import judge_case
from suite.record import Check, Stage, Status
from suite.recorder import Recorder
from suite.thresholds import Thresholds

_STAGE_OF = {
    Check.CONVERSION: Stage.CONVERT,
    Check.PARITY: Stage.COMPARE,
    Check.ACCURACY: Stage.COMPARE,
    Check.CONTRACT: Stage.COMPARE,
    Check.BENCHMARK: Stage.MEASURE,
    Check.HOST_PARITY: Stage.COMPARE,
    Check.REALTIME: Stage.MEASURE,
}
_OF_BOUNDS = (BoundMissed, StagedError)  # expected errors that a missed bound is one of


def reclassify(report: pytest.TestReport, item: pytest.Item, error: StagedError) -> None:
    """A crash is never an expected failure; what cannot apply is a skip with its reason."""
    if hasattr(report, "wasxfail"):
        del report.wasxfail
    if error.status is Status.CRASHED:
        report.outcome = "failed"
    else:
        path, line, _ = item.location
        report.outcome, report.longrepr = "skipped", (path, (line or 0) + 1, f"Skipped: {error}")


def leave_open(report: pytest.TestReport, item: pytest.Item, seen: Recorder, thresholds: Thresholds) -> None:
    """A missed bound that was expected did not pass where the measurement cannot tell: the gate says so."""
    expected = item.get_closest_marker("xfail")
    if report.outcome != "failed" or expected is None or expected.kwargs.get("raises") not in _OF_BOUNDS:
        return
    record = seen.finish(Status.PASSED, _STAGE_OF[seen.check], "", report.duration)
    if any(finding.inconclusive for finding in judge_case(record, thresholds)):
        report.outcome, report.longrepr = "passed", None


def ending(report: pytest.TestReport, error: BaseException | None, check: Check) -> tuple[Status, Stage, str]:
    """Status, stage and message of a finished test."""
    stage = error.stage if isinstance(error, StagedError) else _STAGE_OF[check]
    if hasattr(report, "wasxfail"):
        return Status.EXPECTED_FAILURE, stage, f"{report.wasxfail}\n{error}"
    if report.outcome == "passed":
        return Status.PASSED, stage, ""
    if report.outcome == "skipped":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return Status.SKIPPED, stage, reason.removeprefix("Skipped: ")
    if error is None:  # a strict expected failure that passed
        return (
            Status.FAILED,
            stage,
            f"expected to fail, and passed: take it out of expected_failures. {report.longrepr}",
        )
    if isinstance(error, StagedError):
        return error.status, stage, str(error)
    return Status.ERROR, stage, f"{type(error).__name__}: {error}"

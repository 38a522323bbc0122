"""How a test ended, in a record's words."""

from __future__ import annotations

import pytest

from suite.errors import StagedError
from suite.record import Check, Stage, Status

_STAGE_OF = {
    Check.CONVERSION: Stage.CONVERT,
    Check.PARITY: Stage.COMPARE,
    Check.ACCURACY: Stage.COMPARE,
    Check.CONTRACT: Stage.COMPARE,
    Check.BENCHMARK: Stage.MEASURE,
    Check.HOST_PARITY: Stage.COMPARE,
    Check.REALTIME: Stage.MEASURE,
}


def reclassify(report: pytest.TestReport, item: pytest.Item, error: StagedError) -> None:
    """A crash is never an expected failure; what cannot apply is a skip with its reason."""
    if hasattr(report, "wasxfail"):
        del report.wasxfail
    if error.status is Status.CRASHED:
        report.outcome = "failed"
    else:
        path, line, _ = item.location
        report.outcome, report.longrepr = "skipped", (path, (line or 0) + 1, f"Skipped: {error}")


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

"""How a test ended: an expected failure that passed is stale, unless its measurement cannot tell."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from suite import endings
from suite.errors import BoundMissed, StagedError, Unsupported
from suite.gates import judge
from suite.matrix import Case
from suite.record import Check, Record, Status
from suite.record.camera import RealTime
from suite.recorder import Recorder
from suite.spec import VARIANTS, Budget, ModelSpec, Target
from suite.thresholds import Thresholds
from tests.meta import records

BUDGET = Budget(max_p50_ms=12, min_processed_fps=20, reason="agreed with the app team")
CASE = Case(
    ModelSpec(name="squeezenet", budgets={"float32": BUDGET}),
    VARIANTS["float32"],
    Target("host", "litert-xnnpack"),
)


def busy(realtime: RealTime) -> RealTime:
    schemes = (replace(one, others_cpu_ns=one.wall_ns, cores=2) for one in realtime.schemes)
    return replace(realtime, schemes=tuple(schemes))


HOT = {
    "latency": replace(records.latency(14), contaminated="the phone was hot"),
    "memory": records.passed().memory,
}
QUICK = {**HOT, "latency": records.latency(10)}
BUSY, SMOOTH = {"realtime": busy(records.realtime(100.0))}, {"realtime": records.realtime(10.0)}


def ended(check: Check, sections: dict[str, Any], expected: type[StagedError] | None = BoundMissed) -> Record:
    """The record of a test whose expected failure did not come, as pytest reports it."""
    seen = Recorder(CASE, check, sections=sections)
    mark = pytest.mark.xfail(reason="known", raises=expected, strict=True).mark if expected else None
    item: Any = SimpleNamespace(get_closest_marker={"xfail": mark}.get)
    report = pytest.TestReport(
        nodeid="test_it",
        location=("test_it.py", 0, "test_it"),
        keywords={},
        outcome="failed",
        longrepr="[XPASS(strict)] known",
        when="call",
    )
    endings.leave_open(report, item, seen, Thresholds())
    assert (report.outcome == "passed") is (report.longrepr is None)
    return seen.finish(*endings.ending(report, None, check), 1.0)


@pytest.mark.parametrize("expected", [BoundMissed, StagedError])
@pytest.mark.parametrize(("check", "sections"), [(Check.BENCHMARK, HOT), (Check.REALTIME, BUSY)])
def test_an_expected_failure_in_doubt_is_inconclusive(
    check: Check, sections: dict[str, Any], expected: type[StagedError]
) -> None:
    record = ended(check, sections, expected)
    assert record.status is Status.PASSED
    verdict = judge([record], Thresholds())
    assert (verdict.passed, verdict.inconclusive) == (False, True)


@pytest.mark.parametrize(("check", "sections"), [(Check.BENCHMARK, QUICK), (Check.REALTIME, SMOOTH)])
def test_an_expected_failure_that_passed_for_certain_is_stale(check: Check, sections: dict[str, Any]) -> None:
    record = ended(check, sections)
    assert record.status is Status.FAILED
    assert "expected to fail, and passed: take it out of expected_failures" in record.message


@pytest.mark.parametrize("expected", [Unsupported, None])
def test_no_doubt_of_a_number_excuses_what_is_no_bound(expected: type[StagedError] | None) -> None:
    assert ended(Check.BENCHMARK, HOT, expected).status is Status.FAILED

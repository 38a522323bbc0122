"""One case: a good one passes, and each planted fault is found, named and measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.gates import (
    Gate,
    judge,
    judge_case,
)
from suite.record import Check, Record, Stage, Status
from suite.thresholds import Thresholds
from tests.meta import records

THRESHOLDS = Thresholds()


def gates(record: Record, thresholds: Thresholds = THRESHOLDS) -> list[Gate]:
    return [finding.gate for finding in judge_case(record, thresholds)]


@pytest.mark.parametrize("variant", list(records.SPEED))
def test_a_good_case_has_no_finding(variant: str) -> None:
    assert judge_case(records.passed("mobilenet_v1", variant), THRESHOLDS) == []


@pytest.mark.parametrize("status", [Status.FAILED, Status.UNSUPPORTED, Status.CRASHED, Status.ERROR])
@pytest.mark.parametrize("check", records.CHECKS)
def test_every_bad_ending_of_any_check_fails(check: Check, status: Status) -> None:
    record = records.with_check(records.passed(), check, status, "it says why", stage=Stage.RUN)
    (finding,) = judge_case(record, THRESHOLDS)
    assert (finding.gate, finding.check) == (Gate.STATUS, check)
    assert f"ended as {status} at the run stage: it says why." in finding.message


@pytest.mark.parametrize("status", [Status.EXPECTED_FAILURE, Status.SKIPPED])
@pytest.mark.parametrize("check", records.CHECKS)
def test_what_is_expected_or_skipped_is_not_judged_by_its_numbers(check: Check, status: Status) -> None:
    record = records.with_check(records.passed(), check, status, "known")
    record = replace(record, parity=None, accuracy=None, artifact=None, latency=None, memory=None)
    others = {other: result for other, result in record.checks.items() if other is check}
    assert judge_case(replace(record, checks=others, planned=(check,)), THRESHOLDS) == []


def test_a_planned_check_without_result_is_missing() -> None:
    record = records.passed()
    checks = {check: result for check, result in record.checks.items() if check is not Check.PARITY}
    (finding,) = judge_case(replace(record, checks=checks), THRESHOLDS)
    assert (finding.gate, finding.check) == (Gate.MISSING, Check.PARITY)


def test_a_check_that_merging_found_missing_is_missing_here_too() -> None:
    planned = Record(
        case_id="a/int8/host/x", stage=Stage.PLAN, status=Status.SKIPPED, planned=(Check.PARITY,)
    )
    verdict = judge([planned, planned], THRESHOLDS)  # two records of a case: merged
    assert [finding.gate for finding in verdict.findings] == [Gate.MISSING, Gate.NOTHING]


def test_a_case_that_passed_without_a_check_proves_nothing() -> None:
    record = Record(case_id="a/int8/host/x", stage=Stage.RUN, status=Status.PASSED)
    assert Gate.MISSING in gates(record)
    assert not judge([record], THRESHOLDS).passed


def test_a_crash_recorded_without_checks_fails() -> None:
    record = Record(case_id="a/int8/host/x", stage=Stage.RUN, status=Status.CRASHED, message="killed")
    (finding,) = judge_case(record, THRESHOLDS)
    assert "killed" in finding.message


def test_a_variant_without_thresholds_fails() -> None:
    record = replace(records.passed(), case_id="squeezenet/int9/host/x")
    (finding,) = judge_case(record, THRESHOLDS)
    assert finding.gate is Gate.THRESHOLDS
    assert "did you mean 'int8'" in finding.message


def test_an_override_without_a_reason_fails() -> None:
    record = replace(records.passed(), override={"min_sqnr_db": 1.0})
    assert gates(record) == [Gate.THRESHOLDS]


@pytest.mark.parametrize(
    ("section", "gate"),
    [
        ("artifact", Gate.SIZE),
        ("parity", Gate.PARITY),
        ("accuracy", Gate.ACCURACY),
        ("contract", Gate.CONTRACT),
        ("latency", Gate.LATENCY),
        ("memory", Gate.MEMORY),
    ],
)
def test_a_passed_check_without_its_numbers_fails(section: str, gate: Gate) -> None:
    record = replace(records.passed(), **{section: None})  # type: ignore[arg-type]
    (finding,) = judge_case(record, THRESHOLDS)
    assert (finding.gate, finding.case_id) == (gate, record.case_id)


def test_numbers_without_a_check_are_judged_too() -> None:
    record = replace(records.passed(), checks={}, planned=(), parity=records.parity(3.0))
    assert Gate.PARITY in gates(record)


def test_numbers_are_judged_by_the_thresholds_at_hand_not_by_those_of_the_run() -> None:
    record = records.passed("squeezenet", "int8")
    assert gates(record) == []
    assert gates(replace(record, override={"min_sqnr_db": 60, "reason": "strict"})) == [Gate.PARITY]

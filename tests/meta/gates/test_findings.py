"""Findings say what was obtained, what was expected, and what to do."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from suite.errors import BoundMissed, CheckFailed
from suite.gates import (
    Finding,
    Gate,
    check_accuracy,
    check_parity,
    check_size,
    enforce,
    judge_case,
    number,
)
from suite.record import Stage
from suite.spec import Budget, Tolerance
from suite.thresholds import Thresholds
from tests.meta import records

NAN = math.nan


def test_every_finding_says_obtained_limit_and_what_to_do() -> None:
    bad = replace(
        records.passed("squeezenet", "int8"),
        parity=records.parity(3.0),
        accuracy=records.accuracy(0.9, 100),
        artifact=records.artifact("squeezenet", "float32"),
        latency=records.latency(5000.0),
        memory=replace(records.passed().memory, peak_bytes=10**10),  # type: ignore[type-var]
    )
    findings = judge_case(bad, Thresholds())
    assert {finding.gate for finding in findings} == {
        Gate.PARITY,
        Gate.ACCURACY,
        Gate.SIZE,
        Gate.LATENCY,
        Gate.MEMORY,
    }
    for finding in findings:
        assert_complete(finding)


def assert_complete(finding: Finding) -> None:
    assert "obtained " in finding.message
    assert ", expected at " in finding.message
    assert len(finding.message.split(". ")) > 1, finding.message
    assert finding.check is not None


@pytest.mark.parametrize(
    ("value", "other", "text"),
    [
        (20.0, 14.2, "20"),
        (0.0200001, 0.02, "0.0200001"),
        (0.02222, 0.02, "0.02222"),
        (NAN, 1.0, "nan"),
        (math.inf, 1.0, "inf"),
        (6_342_448, 1.0, "6342448"),
    ],
)
def test_numbers_tell_obtained_from_limit(value: float, other: float, text: str) -> None:
    assert number(value, other) == text


# --- what a check raises ----------------------------------------------------------------

LOW = check_parity(records.parity(3.0), Tolerance(min_sqnr_db=20))
LARGE = check_size(records.artifact(size_bytes=9), Budget(max_bytes=5))
NO_NUMBER = check_parity(records.parity(NAN), Tolerance(min_sqnr_db=20))
NOTHING = check_accuracy(None, Budget(max_accuracy_drop=0.01))
SAID = [Finding(gate=Gate.STATIC, message="weights: conv is transposed")]


@pytest.mark.parametrize("findings", [LOW, LARGE, [*LOW, *LARGE]])
def test_sound_numbers_outside_of_their_bounds_are_bounds_missed(findings: list[Finding]) -> None:
    with pytest.raises(BoundMissed, match="expected at") as caught:
        enforce(findings, Stage.COMPARE)
    assert str(caught.value).splitlines() == [finding.message for finding in findings]


@pytest.mark.parametrize("findings", [NO_NUMBER, NOTHING, SAID, [*LOW, *NOTHING], [*SAID, *LARGE]])
def test_whatever_else_is_wrong_is_no_bound(findings: list[Finding]) -> None:
    assert findings
    with pytest.raises(CheckFailed) as caught:
        enforce(findings, Stage.COMPARE)
    assert type(caught.value) is CheckFailed


def test_what_is_inconclusive_is_neither() -> None:
    enforce([replace(finding, inconclusive=True) for finding in LOW], Stage.MEASURE)
    enforce([], Stage.MEASURE)

"""Findings say what was obtained, what was expected, and what to do."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from suite.gates import (
    Finding,
    Gate,
    judge_case,
    number,
)
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

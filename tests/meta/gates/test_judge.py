"""A whole run: a good one passes, and one that proves nothing does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.gates import (
    Gate,
    judge,
)
from suite.record import Check, Status
from suite.thresholds import Thresholds
from tests.meta import records

THRESHOLDS = Thresholds()


def test_a_good_run_passes_and_is_counted() -> None:
    verdict = judge([records.passed("squeezenet"), records.passed("resnet50")], THRESHOLDS)
    assert verdict.passed
    assert verdict.findings == verdict.warnings == ()
    assert verdict.counts == {"cases": 2, "passed": 2}


def test_a_run_with_every_way_to_end() -> None:
    verdict = judge(records.run(), THRESHOLDS)
    assert not verdict.passed
    assert {finding.case_id.rsplit("/", 2)[0]: finding.gate for finding in verdict.findings} == {
        "resnet50/int8": Gate.STATUS,
        "densenet121/dynamic_int8": Gate.STATUS,
        "inception_v3/float16": Gate.STATUS,
        "squeezenet/dynamic_int8": Gate.PARITY,
    }
    assert len(verdict.findings) == 4  # one cause, one finding, however many checks met it
    assert verdict.counts["expected_failure"] == 1
    assert [warning.split(":")[0] for warning in verdict.warnings] == ["benchmark skipped", "note"]


def test_a_skipped_check_is_a_warning_with_its_reason() -> None:
    record = records.with_check(records.passed(), Check.BENCHMARK, Status.SKIPPED, "no quiet machine")
    verdict = judge([record, replace(record, case_id="a/float32/host/x")], THRESHOLDS)
    assert verdict.passed
    assert verdict.warnings == (f"benchmark skipped: no quiet machine ({record.case_id}, a/float32/host/x)",)


@pytest.mark.parametrize("status", [Status.SKIPPED, Status.EXPECTED_FAILURE])
def test_a_run_in_which_nothing_passed_fails(status: Status) -> None:
    record = replace(records.passed(), checks=records.checks(status), status=status)
    (finding,) = judge([record], THRESHOLDS).findings
    assert (finding.gate, finding.case_id) == (Gate.NOTHING, "")


def test_an_empty_run_fails() -> None:
    assert [finding.gate for finding in judge([], THRESHOLDS).findings] == [Gate.NOTHING]


def test_warnings_of_the_reader_are_carried_over() -> None:
    assert judge([records.passed()], THRESHOLDS, ["line 3 was dropped"]).warnings == ("line 3 was dropped",)


def test_memory_that_could_not_be_measured_is_a_warning_with_its_reason() -> None:
    record = replace(records.passed(), memory=None, reasons={"memory": "no permission"})
    verdict = judge([record], THRESHOLDS)
    assert verdict.passed
    assert "memory not measured: no permission" in verdict.warnings[0]

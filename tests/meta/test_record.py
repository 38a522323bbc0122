"""Records survive writing and reading, and a case's steps add up to one verdict."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from suite.record import Check, CheckResult, Record, Stage, Status, unmeasured
from suite.record.lines import decode, encode
from suite.record.merging import merge
from tests.meta import records


def step(check: Check, status: Status, **sections: object) -> Record:
    result = CheckResult(status=status, stage=records.STAGES[check], message=f"{check} {status}")
    return Record(
        case_id="squeezenet/int8/host/litert-xnnpack",
        stage=result.stage,
        status=status,
        checks={check: result},
        planned=(Check.CONVERSION, Check.PARITY),
        **sections,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("record", records.run(), ids=lambda record: record.case_id)
def test_a_record_reads_back_as_it_was_written(record: Record) -> None:
    line = encode(record)
    assert b"\n" not in line
    assert decode(line) == record


def test_the_parts_of_a_case_id() -> None:
    record = records.passed("squeezenet", "int8", "host/litert-xnnpack")
    assert (record.model, record.variant, record.target) == ("squeezenet", "int8", "host/litert-xnnpack")


def test_another_schema_is_refused() -> None:
    line = encode(replace(records.passed(), schema_version=99))
    with pytest.raises(ValueError, match="found schema_version 99, expected 1"):
        decode(line)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"schema_version": 1}', "case_id"),
        (b'{"schema_version": 1, "case_id": "a/b/c", "stage": "run", "status": "fine"}', "fine"),
        (b"[]", "array"),
        (b"{", "truncated"),
        (b"\xff", "."),
    ],
)
def test_what_does_not_fit_is_named(line: bytes, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        decode(line)


def test_json_has_no_nan_so_a_reader_refuses_it() -> None:
    record = replace(records.passed(), accuracy=records.accuracy(top1=math.nan))
    with pytest.raises(ValueError, match="top1"):
        decode(encode(record))


def test_steps_of_a_case_add_up() -> None:
    first = step(Check.CONVERSION, Status.PASSED, artifact=records.artifact(), reasons={"parity": "not yet"})
    second = step(Check.PARITY, Status.FAILED, parity=records.parity(), notes=("slow",))
    merged = merge([first, second])
    assert merged.artifact == first.artifact
    assert merged.parity == second.parity
    assert set(merged.checks) == {Check.CONVERSION, Check.PARITY}
    assert (merged.status, merged.stage, merged.message) == (Status.FAILED, Stage.COMPARE, "parity failed")
    assert merged.reasons == {}
    assert merged.notes == ("slow",)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_check_seen_twice_is_as_bad_as_the_worse_time(order: tuple[int, int]) -> None:
    seen = (step(Check.PARITY, Status.CRASHED), step(Check.PARITY, Status.PASSED))
    assert merge([seen[index] for index in order]).checks[Check.PARITY].status is Status.CRASHED


def test_planned_without_result_is_an_error() -> None:
    merged = merge([step(Check.CONVERSION, Status.PASSED)])
    assert merged.status is Status.ERROR
    assert "parity was planned and has no result" in merged.message


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        ((Status.SKIPPED, Status.PASSED), Status.PASSED),
        ((Status.PASSED, Status.EXPECTED_FAILURE), Status.EXPECTED_FAILURE),
        ((Status.EXPECTED_FAILURE, Status.UNSUPPORTED), Status.UNSUPPORTED),
        ((Status.FAILED, Status.PASSED), Status.FAILED),
        ((Status.CRASHED, Status.FAILED), Status.CRASHED),
    ],
)
def test_a_case_is_as_bad_as_its_worst_check(statuses: tuple[Status, Status], worst: Status) -> None:
    conversion, parity = statuses
    assert merge([step(Check.CONVERSION, conversion), step(Check.PARITY, parity)]).status is worst


def test_scaling_holds_one_entry_a_thread_count() -> None:
    one, two = records.latency(9.0, 1), records.latency(5.0, 2)
    again = records.latency(8.0, 1)
    first = step(Check.PARITY, Status.PASSED, scaling=(two, one))
    second = step(Check.CONVERSION, Status.PASSED, scaling=(again,))
    assert merge([first, second]).scaling == (again, two)


def test_two_cases_do_not_merge() -> None:
    with pytest.raises(ValueError, match="two cases"):
        merge([records.passed("squeezenet"), records.passed("resnet50")])
    with pytest.raises(ValueError, match="no record"):
        merge([])


def test_unmeasured_sections_say_why() -> None:
    assert unmeasured(records.passed()) == {
        "gpu": "this runtime computes on the CPU",
        "energy": "the machine is not a battery's",
        "thermal": "this machine has no readable thermal sensor",
    }
    assert unmeasured(replace(records.passed(), memory=None))["memory"] == "not asked for in this run"

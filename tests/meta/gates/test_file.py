"""A large file judged by two processes has the verdict that one would give it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from suite import gates, store
from suite.errors import UsageError
from suite.gates import file as judging
from suite.record import Record
from suite.record.lines import encode
from suite.thresholds import Thresholds
from tests.meta import records

THRESHOLDS = Thresholds()
Write = Callable[[list[Record]], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Records to a file that counts as large."""
    monkeypatch.setattr(judging, "LARGE_BYTES", 0)

    def written(cases: list[Record]) -> Path:
        path = tmp_path / store.RESULTS
        path.write_bytes(b"".join(encode(case) + b"\n" for case in cases))
        return path

    return written


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Processes begun so far."""
    begun: list[int] = []
    fork = os.fork

    def counted() -> int:
        child = fork()
        begun.append(child)
        return child

    monkeypatch.setattr(os, "fork", counted)
    return begun


def _alone(path: Path) -> gates.Verdict:
    results = store.load(path)
    return gates.judge(results.records, THRESHOLDS, results.warnings)


@pytest.mark.parametrize(
    "cases",
    [records.run(), [*records.run(), *records.many(9)], list(records.many(12))],
    ids=["every way to end", "failures in the first half", "all is well"],
)
def test_two_processes_say_what_one_says(cases: list[Record], write: Write, forks: list[int]) -> None:
    path = write(cases)
    assert gates.judge_file(path, THRESHOLDS) == _alone(path)
    assert len(forks) == 1


def test_failures_of_the_other_half_count(write: Write) -> None:
    good = list(records.many(8))
    path = write([*good[:-1], replace(good[-1], parity=records.parity(1.0))])
    verdict = gates.judge_file(path, THRESHOLDS)
    assert {finding.case_id for finding in verdict.findings} == {good[-1].case_id}
    assert verdict == _alone(path)


def test_a_case_in_both_halves_is_merged(write: Write) -> None:
    good = list(records.many(6))
    failed = replace(good[0], parity=records.parity(1.0))
    path = write([*good, failed])
    verdict = gates.judge_file(path, THRESHOLDS)
    assert verdict == _alone(path)
    assert verdict.counts["cases"] == len(good)
    assert not verdict.passed


def test_nothing_proven_in_either_half(write: Write) -> None:
    path = write([replace(one, checks={}, planned=()) for one in records.many(4)])
    verdict = gates.judge_file(path, THRESHOLDS)
    assert gates.Gate.NOTHING in {finding.gate for finding in verdict.findings}
    assert verdict == _alone(path)


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_line_that_does_not_fit_is_named(place: str, write: Write) -> None:
    path = write(list(records.many(4)))
    lines = path.read_bytes().splitlines(keepends=True)
    lines.insert(0 if place == "first" else len(lines), b'{"case_id": 3}\n')
    path.write_bytes(b"".join(lines))
    with pytest.raises(UsageError, match=f"line {1 if place == 'first' else 5} does not fit"):
        gates.judge_file(path, THRESHOLDS)


def test_a_line_that_breaks_off_is_a_warning(write: Write) -> None:
    path = write(list(records.many(4)))
    path.write_bytes(path.read_bytes() + b'{"case_id": "a/b')
    assert "breaks off" in gates.judge_file(path, THRESHOLDS).warnings[0]


def test_a_second_process_that_dies_costs_nothing(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(list(records.many(6)))
    here, half = os.getpid(), judging._half

    def deadly(data: bytes, thresholds: Thresholds) -> object:
        if os.getpid() != here:
            os.kill(os.getpid(), 9)
        return half(data, thresholds)

    monkeypatch.setattr(judging, "_half", deadly)
    assert gates.judge_file(path, THRESHOLDS) == _alone(path)


def test_a_small_file_needs_no_second_process(
    write: Write, forks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(records.run())
    monkeypatch.setattr(judging, "LARGE_BYTES", 1 << 30)
    assert gates.judge_file(path, THRESHOLDS) == _alone(path)
    assert forks == []


def test_no_results_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run pytest first"):
        gates.judge_file(tmp_path, THRESHOLDS)

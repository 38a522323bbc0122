"""Errors: what they carry, and that they carry it across a process boundary."""

from __future__ import annotations

import pickle

import pytest

from suite.errors import (
    BoundMissed,
    CaseError,
    CheckFailed,
    PocketproofError,
    StagedError,
    Unsupported,
    UsageError,
    WorkerCrashed,
    WorkerStopped,
)
from suite.record import Stage, Status


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (StagedError, Status.ERROR),
        (CaseError, Status.FAILED),
        (CheckFailed, Status.FAILED),
        (BoundMissed, Status.FAILED),
        (Unsupported, Status.UNSUPPORTED),
        (WorkerCrashed, Status.CRASHED),
        (WorkerStopped, Status.CRASHED),
    ],
)
def test_each_kind_says_how_it_is_recorded(kind: type[StagedError], status: Status) -> None:
    error = kind("words", stage=Stage.LOAD)
    assert (str(error), error.stage, error.status) == ("words", Stage.LOAD, status)
    assert kind("words", stage=Stage.RUN, status=Status.SKIPPED).status is Status.SKIPPED


@pytest.mark.parametrize(
    "kind", [StagedError, CaseError, CheckFailed, BoundMissed, Unsupported, WorkerCrashed, WorkerStopped]
)
def test_a_pickled_error_comes_back_whole(kind: type[StagedError]) -> None:
    error = pickle.loads(pickle.dumps(kind("two\nlines", stage=Stage.CONVERT, status=Status.SKIPPED)))
    assert type(error) is kind
    assert (str(error), error.stage, error.status) == ("two\nlines", Stage.CONVERT, Status.SKIPPED)


@pytest.mark.parametrize("kind", [PocketproofError, UsageError])
def test_an_error_without_a_stage_comes_back_too(kind: type[PocketproofError]) -> None:
    error = pickle.loads(pickle.dumps(kind("words")))
    assert type(error) is kind
    assert str(error) == "words"


def test_a_crash_is_no_fault_of_the_case() -> None:
    assert not issubclass(WorkerCrashed, CaseError)
    assert not issubclass(UsageError, StagedError)

"""What can go wrong, said once: every error carries the stage it happened in and what to do next."""

from __future__ import annotations

from suite.record import Stage, Status


class PocketproofError(Exception):
    """Base of every error that a user can cause or meet; shown without a traceback."""


class UsageError(PocketproofError):
    """A wrong name, option or file; the run does not start."""


class CaseError(PocketproofError):
    """One case cannot be proven; the others go on.

    `stage` says where it broke, `status` how it is recorded.
    """

    def __init__(self, message: str, *, stage: Stage, status: Status = Status.FAILED) -> None:
        super().__init__(message)
        self.stage = stage
        self.status = status

    def __reduce__(self) -> tuple[object, ...]:
        return _case_error, (type(self), str(self), self.stage, self.status)


def _case_error(kind: type[CaseError], message: str, stage: Stage, status: Status) -> CaseError:
    """Rebuild an error on this side of a process boundary, with its own fields."""
    return kind(message, stage=stage, status=status)


class CheckFailed(CaseError):
    """A measurement was made and lies outside its tolerance or budget."""


class Unsupported(CaseError):
    """The runtime says it cannot run this artifact."""

    def __init__(self, message: str, *, stage: Stage, status: Status = Status.UNSUPPORTED) -> None:
        super().__init__(message, stage=stage, status=status)


class WorkerCrashed(CaseError):
    """The process that held the runtime died or was killed after its time-out."""

    def __init__(self, message: str, *, stage: Stage, status: Status = Status.CRASHED) -> None:
        super().__init__(message, stage=stage, status=status)

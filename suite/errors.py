"""What can go wrong: an error of a case carries the stage it happened in and how it is recorded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from suite.record import Stage, Status


class PocketproofError(Exception):
    """Base of every error that a user can cause or meet; shown without a traceback."""


class UsageError(PocketproofError):
    """A wrong name, option or file; the run does not start."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Say that a name is not known, and which ones are near."""
    import difflib

    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names) or 'none'}"
    return f"unknown {kind} {name!r}: {hint}"


class StagedError(PocketproofError):
    """One case cannot go on; the others do. `stage` says where it broke, `status` how it is recorded."""

    default: ClassVar[Status] = Status.ERROR

    def __init__(self, message: str, *, stage: Stage, status: Status | None = None) -> None:
        super().__init__(message)
        self.stage = stage
        self.status = status or self.default

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), str(self), self.stage, self.status)


def _rebuild(kind: type[StagedError], message: str, stage: Stage, status: Status) -> StagedError:
    """Rebuild an error on the other side of a process boundary, with its own fields."""
    return kind(message, stage=stage, status=status)


class CaseError(StagedError):
    """The model, its artifact or its data do not allow the case to be proven."""

    default = Status.FAILED


class CheckFailed(CaseError):
    """A measurement was made and lies outside its tolerance or budget."""


class BoundMissed(CheckFailed):
    """Every number was measured and is sound, and some lie outside of their bounds: nothing else is wrong."""


class Unsupported(CaseError):
    """The runtime says it cannot run this artifact."""

    default = Status.UNSUPPORTED


class OtherModel(CaseError):
    """A model was built twice and came out as two: its answers and its artifacts do not belong together."""

    default = Status.ERROR


class WorkerCrashed(StagedError):
    """The process that held the runtime died, or was ended after its time-out."""

    default = Status.CRASHED
    worker = ""  # the kind of process, where it was one of this machine's


class WorkerStopped(WorkerCrashed):
    """It was ended from outside (a time-out, the kernel out of memory): no word on what it was at."""

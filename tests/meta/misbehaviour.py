"""What a runtime may do to the process it is in; called in workers by name."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Any

from suite.errors import CaseError, StagedError, Unsupported
from suite.record import Stage, Status


def echo(value: Any) -> Any:
    return value


def imported() -> list[str]:
    return list(sys.modules)


def segfault() -> None:
    print("about to read address zero", flush=True)
    ctypes.string_at(0)


def leave(status: int, words: str = "") -> None:
    print(words, file=sys.stderr, flush=True)
    os._exit(status)


def hang(words: str = "") -> None:
    print(words, flush=True)
    time.sleep(600)


def slow(seconds: float, value: Any) -> Any:
    time.sleep(seconds)
    return value


def unpicklable() -> Any:
    return lambda: None


def ordinary() -> None:
    raise ValueError("seven is not a size")


def unsupported() -> None:
    raise Unsupported("op 99 is newer than this runtime", stage=Stage.LOAD)


def staged() -> None:
    raise CaseError("not now", stage=Stage.MEASURE, status=Status.SKIPPED)


class Private(StagedError):
    """An error of a fixture's own, with a way of its own to be made."""

    default = Status.UNSUPPORTED

    def __init__(self, number: int) -> None:
        super().__init__(f"private matter {number}", stage=Stage.BUILD)


def private() -> None:
    # Its module bears a name that the other side cannot import.
    Private.__module__ = "pocketproof_fixture_elsewhere"
    raise Private(5)


class Foreign:
    """An answer of a class that the other side lacks."""


def foreign() -> Any:
    Foreign.__module__ = __name__ + ".nowhere"
    return Foreign()


class Counter:
    """What `open` leaves in a worker."""

    unit = "pieces"

    def __init__(self, start: int = 0) -> None:
        self._count = start

    def add(self, number: int) -> int:
        self._count += number
        return self._count


def refuse() -> None:
    raise ImportError("no such library here")


def environment(name: str) -> str | None:
    return os.environ.get(name)


class Moody:
    """A session that does as its file says, and notes in a file beside it that it was opened."""

    inputs = outputs = ()

    def __init__(self, path: Path, threads: int) -> None:
        with path.with_suffix(".opened").open("a") as log:
            log.write("1")
        self._mood = path.read_text()
        if self._mood == "segfault at once":
            segfault()

    def run_many(self, feed: Any) -> dict[str, Any]:
        if self._mood == "hang":
            hang()
        if self._mood == "segfault":
            segfault()
        if self._mood == "fail":
            raise CaseError("not today", stage=Stage.RUN)
        return {}

    def close(self) -> None:
        pass

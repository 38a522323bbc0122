"""What one inference may take, in memory and in work: a hostile file is refused, not obeyed.

Operators say what they are about to do, by `room` and `spend`, before they do
it. Outside of an inference there is no bound on the sum, only on one tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

MOST_LIVE_BYTES = 4 << 30  # of all values that are needed at one time; a phone gives an app less
MOST_WORK = 1 << 40  # multiply-adds; two hundred times those of ResNet50, some minutes of NumPy
STEP_WORK = 1 << 21  # what one operation costs, however little it has to do: a loop of nothing ends, too
CALL_WORK = 1 << 18  # the same of one call of NumPy within it
ELEMENT_WORK = 16  # what one element costs that is computed by itself, such as an exponential


class TooMuch(ValueError):
    """An operator would take more memory or work than an inference is given."""


class Budget:
    """What is taken: bytes of the values that are alive, and work done so far."""

    __slots__ = ("_held", "bytes", "work")

    def __init__(self) -> None:
        self.bytes = 0
        self.work = 0.0
        self._held: dict[str, int] = {}

    def hold(self, name: str, count: int) -> None:
        """A value of so many bytes is alive, in place of what had its name in the last turn of a loop."""
        self.bytes += count - self._held.get(name, 0)
        self._held[name] = count
        self.fits(0)

    def free(self, name: str) -> None:
        """A value is needed no more; nothing where it was not held."""
        self.bytes -= self._held.pop(name, 0)

    def fits(self, count: int) -> None:
        """See that so many more bytes could be alive."""
        if self.bytes + count > MOST_LIVE_BYTES:
            raise TooMuch(
                f"the values that are needed at one time take more than {MOST_LIVE_BYTES >> 30} GiB: "
                "no phone has that. The file is damaged, or hostile"
            )

    def spend(self, work: float) -> None:
        """So much more is about to be done."""
        self.work += work
        if self.work > MOST_WORK:
            raise TooMuch(
                f"one inference would take more than {MOST_WORK:.1e} multiply-adds: "
                "no phone does that. The file is damaged, or hostile"
            )


_CURRENT: ContextVar[Budget | None] = ContextVar("budget", default=None)


@contextmanager
def budgeted() -> Iterator[Budget]:
    """A budget for one inference, within the block."""
    mine = Budget()
    token = _CURRENT.set(mine)
    try:
        yield mine
    finally:
        _CURRENT.reset(token)


def spend(*factors: float, calls: float = 0) -> None:
    """Count a product of multiply-adds, and calls of NumPy, before they are done; TooMuch where it ends."""
    if (budget := _CURRENT.get()) is not None:
        budget.spend(math.prod(factors) + calls * CALL_WORK)


def take(count: int) -> None:
    """See that there is room for so many more bytes; TooMuch where there is none."""
    if (budget := _CURRENT.get()) is not None:
        budget.fits(count)

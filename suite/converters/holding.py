"""Holding the numbers of one file to those of another: what is shared by all formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from suite.coreml.halves import to_half
from suite.record import StaticCheck, Status
from suite.spec import Array

MOST = 0.25  # the share of a file that may be faulty; beyond it was made differently
_LARGEST_HALF, _LEAST_HALF = 65504, 2.0**-24
_SHOWN = 3


class Wrong(Exception):
    """What was found, and what was expected."""


def unlike(expected: Array, found: Array, converted: bool, *, half: bool = False) -> Array:
    """Where values differ from the float32 ones, or from what these are in the type of those found.

    Both of one shape. `half`: those found are float16, whatever they are held
    as. `converted`: by this suite, to the digit; others may have folded and
    rounded in another order.
    """
    if half := half or found.dtype == np.float16:
        if np.abs(expected).max(initial=0) > _LARGEST_HALF:
            expected = np.clip(expected, -_LARGEST_HALF, _LARGEST_HALF)
        expected, found = to_half(expected), to_half(found)
    off = np.asarray(found != expected)
    if half:  # coremltools keeps what guards a division from becoming 0
        off &= (expected != 0) | (np.abs(found) > _LEAST_HALF)
    if not converted and found.dtype.kind == "f" and off.any():
        wide = found.astype(np.float64), expected.astype(np.float64)
        off &= ~np.isclose(*wide, rtol=2e-3, atol=1e-6)
    return off


def judged(
    items: Sequence[Any], problem: Callable[[Any], str], what: str, converted: bool, reference: str
) -> StaticCheck:
    """The problems with some items, in one outcome; `reference` names what they are held to."""
    problems = [words for item in items if (words := problem(item))]
    if not problems:
        return StaticCheck(status=Status.PASSED, message=f"{len(items)} {what} as in {reference}")
    more = f"; and {len(problems) - _SHOWN} more" if problems[_SHOWN:] else ""
    told = "; ".join(problems[:_SHOWN]) + more
    if not converted and len(problems) > MOST * len(items):
        reason = f"not applicable: {len(problems)} of {len(items)} {what} are chosen by other rules: {told}"
        return StaticCheck(status=Status.SKIPPED, message=reason)
    advice = "Convert again from the original; altered or stale files look so"
    return StaticCheck(status=Status.FAILED, message=f"{told}. {advice}")


def unpaired(wrong: Wrong, converted: bool) -> StaticCheck:
    """The outcome where two files do not correspond: a fault of our own, another's choice."""
    if converted:
        return StaticCheck(status=Status.FAILED, message=str(wrong))
    reason = f"not applicable: {wrong}, so that its constants have no counterparts"
    return StaticCheck(status=Status.SKIPPED, message=reason)

"""What keeps a release from shipping, in words and numbers; and the gate's word on a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from suite.errors import BoundMissed, CheckFailed
from suite.record import Check, Stage


class Gate(StrEnum):
    """What a case is held to."""

    STATUS = "status"
    MISSING = "missing"
    PARITY = "parity"
    ACCURACY = "accuracy"
    SIZE = "size"
    STATIC = "static checks"
    CONTRACT = "contract"
    LATENCY = "latency"
    MEMORY = "memory"
    BASELINE = "baseline"
    REALTIME = "real time"
    THRESHOLDS = "thresholds"
    NOTHING = "nothing proven"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One reason why the release may not ship.

    `message` says what was obtained, what the limit is and what to do;
    `obtained` and `limit` are the bare numbers, None where there is none.
    `case_id` is empty for a finding on the run as a whole.
    """

    gate: Gate
    message: str
    case_id: str = ""
    check: Check | None = None  # the test that shows it again
    options: str = ""  # of the run, without which the case is not there
    obtained: float | None = None
    limit: float | None = None
    inconclusive: bool = False  # nothing is shown to be wrong, nor to be right

    @property
    def is_missed_bound(self) -> bool:
        """Whether a sound number lies outside of a bound; else nothing was measured, or no number at all."""
        return self.limit is not None and self.obtained is not None and math.isfinite(self.obtained)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The gate's word on a run.

    `warnings` are what does not fail a run and must not be overlooked:
    skipped checks, notes. `counts` is cases by status, and "cases" in all.
    """

    passed: bool
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]
    counts: Mapping[str, int]

    @property
    def inconclusive(self) -> bool:
        """Whether all that holds the release back is measurements that cannot carry a verdict."""
        return bool(self.findings) and all(finding.inconclusive for finding in self.findings)


def bound(
    gate: Gate,
    name: str,
    obtained: float,
    limit: float | None,
    advice: Callable[[], str],
    *,
    is_maximum: bool = True,
) -> list[Finding]:
    """At most one finding; NaN breaks any limit, and None is no limit."""
    if limit is None:
        return []
    holds = obtained <= limit if is_maximum else obtained >= limit  # false for NaN
    if holds:
        return []
    side = "at most" if is_maximum else "at least"
    numbers = f"obtained {number(obtained, limit)}, expected {side} {number(limit, obtained)}"
    return [Finding(gate=gate, message=f"{name}: {numbers}. {advice()}", obtained=obtained, limit=limit)]


def number(value: float, other: float = math.nan) -> str:
    """A number as one reads it, with as many digits as tell it from `other`."""
    if math.isfinite(value) and value == int(value):
        return str(int(value))
    texts = (f"{value:.{digits}g}" for digits in (4, 6, 9))
    others = (f"{other:.{digits}g}" for digits in (4, 6, 9))
    return next((text for text, rival in zip(texts, others, strict=True) if text != rival), repr(value))


def unproven(gate: Gate, what: str) -> Finding:
    """For what was not recorded, or cannot be true: neither is a pass."""
    return Finding(
        gate=gate, message=f"{what[0].upper()}{what[1:]}: this proves nothing. Run the check again."
    )


def enforce(findings: Iterable[Finding], stage: Stage) -> None:
    """Raise CheckFailed with every finding; what is inconclusive is left to the gate.

    BoundMissed where each of them is a sound number outside of its bound.
    """
    if failed := [finding for finding in findings if not finding.inconclusive]:
        kind = BoundMissed if all(finding.is_missed_bound for finding in failed) else CheckFailed
        raise kind("\n".join(finding.message for finding in failed), stage=stage)

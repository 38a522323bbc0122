"""Where a quantised artifact answers otherwise than its original, sample by sample."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginBin:
    """Samples of which the original was about equally sure."""

    low: float  # margin of its two best scores, in deviations of its scores
    high: float
    n: int
    agreed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A held-out sample that is answered otherwise than by the original."""

    sample: int
    margin: float
    reference: str
    actual: str
    truth: str | None = None
    picture: str | None = None  # a data URI


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """An input that was searched for: a real photo with small changes."""

    sample: int
    change: str
    strength: float  # by how many deviations the artifact prefers another answer; below 0 they agree
    margin: float  # of the original's own answer
    reference: str
    actual: str
    picture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The worst of many inputs, each of another photo."""

    tried: int
    disagreed: int
    found: tuple[Sought, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreements:
    """Where a quantised artifact answers otherwise than its original."""

    n: int
    flipped: int
    bins: tuple[MarginBin, ...]  # from the least sure up
    flips: tuple[Flip, ...]  # those that the original was surest of
    search: Search | None = None  # where it was asked for

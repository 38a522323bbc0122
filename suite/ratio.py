"""How much slower B is than A: a ratio with its bootstrap interval, and the word for it.

Neighbouring latencies resemble each other (clock speeds, neighbours on the
machine, caches), so single samples are not independent and are never
resampled one by one: an A/B comparison resamples whole rounds, a comparison
of two finished runs resamples stretches of neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

RESAMPLES = 2000
SEED = 20190102  # intervals of the same samples are the same
CONFIDENCE = 0.99  # of an A/B comparison: one false alarm in a hundred at most, before RELEVANT
RELEVANT = 0.02  # a smaller ratio is not called a difference, however certain it is
DETECTABLE = 0.05  # "no difference" means: none as large as this
LOOKS = 3  # at most, each after as many rounds again, while it cannot be told
FEWEST_ROUNDS = 8  # fewer say nothing of how rounds vary
_TRIM = 0.2  # of the rounds on either side: what another process spoiled


class Verdict(StrEnum):
    """What an interval allows to be said of B against A."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "no difference"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Latency of B over that of A: above 1, B is slower."""

    ratio: float
    low: float
    high: float
    confidence: float

    def __str__(self) -> str:
        return f"{self.ratio:.3f} ({100 * self.confidence:g} % interval {self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of A B B A: the samples of its four blocks in nanoseconds, two on each side."""

    a: tuple[Sequence[int], Sequence[int]]
    b: tuple[Sequence[int], Sequence[int]]

    @property
    def log_ratio(self) -> float:
        """Of the blocks' medians; a drift that is linear over the round cancels out."""
        return _log_median(self.b) - _log_median(self.a)


def _log_median(blocks: Sequence[Sequence[int]]) -> float:
    return sum(math.log(median(block)) for block in blocks) / len(blocks)


def of_rounds(rounds: Sequence[Round], confidence: float = CONFIDENCE) -> Ratio:
    """Ratio of medians over interleaved rounds; whole rounds are resampled.

    The estimate is the trimmed mean of the rounds' logarithmic ratios, the
    interval bootstrap-t (B. Efron, R. Tibshirani, "An Introduction to the
    Bootstrap", 1993, 12.5), which keeps its promise with few rounds where
    plain percentiles do not. ValueError below FEWEST_ROUNDS, or for a block
    without samples or with one that took no time.
    """
    import numpy as np

    if len(rounds) < FEWEST_ROUNDS:
        raise ValueError(f"found {len(rounds)} rounds, expected at least {FEWEST_ROUNDS}")
    if any(not block or min(block) <= 0 for one in rounds for block in (*one.a, *one.b)):
        raise ValueError("a block has no sample, or one that took no time")
    logs = np.sort(np.array([one.log_ratio for one in rounds]))
    estimate, error = _trimmed(logs[np.newaxis])
    random = np.random.default_rng(SEED)
    drawn = np.sort(logs[random.integers(0, len(logs), (RESAMPLES, len(logs)))], axis=1)
    means, errors = _trimmed(drawn)
    tiny = 1e-9  # rounds that are all alike
    pivots = (means - estimate) / np.maximum(errors, tiny)
    below, above = np.quantile(pivots, [(1 - confidence) / 2, (1 + confidence) / 2])
    scale = max(float(error[0]), tiny)
    centre = float(estimate[0])
    return Ratio(
        ratio=math.exp(centre),
        low=math.exp(centre - float(above) * scale),
        high=math.exp(centre - float(below) * scale),
        confidence=confidence,
    )


def decide(draw: Callable[[], Round], rounds: int) -> tuple[list[Round], Ratio, Verdict]:
    """Draw rounds until there is a verdict, LOOKS times `rounds` at most.

    Looking again after an inconclusive look costs little: a wrong verdict
    needs an interval without 1 *and* a ratio that matters. ValueError as `of_rounds`.
    """
    drawn: list[Round] = []
    for _ in range(LOOKS):
        drawn += [draw() for _ in range(rounds)]
        found = of_rounds(drawn)
        word = verdict(found)
        if word is not Verdict.INCONCLUSIVE:
            break
    return drawn, found, word


def _trimmed(ordered: Floats) -> tuple[Floats, Floats]:
    """Trimmed mean of each sorted row, and its standard error by Winsorising (Tukey, McLaughlin, 1963)."""
    import numpy as np

    n = ordered.shape[1]
    cut = int(_TRIM * n)
    kept = ordered[:, cut : n - cut]
    winsorised = np.clip(ordered, kept[:, :1], kept[:, -1:])
    return kept.mean(axis=1), winsorised.std(axis=1, ddof=1) / ((1 - 2 * _TRIM) * math.sqrt(n))


def of_runs(old_ns: Sequence[int], new_ns: Sequence[int], confidence: float = 0.95) -> Ratio:
    """Ratio of the medians of two finished runs; stretches of neighbouring samples are resampled.

    The interval knows how samples vary within a run, not how the machine
    varied between the two: only an interleaved comparison does. ValueError
    where a run has no sample, or one that took no time.
    """
    import numpy as np

    for samples in (old_ns, new_ns):
        if not len(samples) or min(samples) <= 0:
            raise ValueError("no latency sample, or one that took no time")
    random = np.random.default_rng(SEED)
    drawn = [_medians_of_stretches(np.asarray(samples, float), random) for samples in (old_ns, new_ns)]
    ratios = drawn[1] / drawn[0]
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Ratio(
        ratio=float(median(new_ns) / median(old_ns)), low=float(low), high=float(high), confidence=confidence
    )


def _medians_of_stretches(samples: Floats, random: np.random.Generator) -> Floats:
    """Medians of circular moving-block resamples (D. Politis, J. Romano, 1992)."""
    import numpy as np

    n = len(samples)
    length = min(n, max(5, round(2 * n ** (1 / 3))))
    count = -(-n // length)
    starts = random.integers(0, n, (RESAMPLES // 4, count, 1))
    places = ((starts + np.arange(length)) % n).reshape(len(starts), -1)[:, :n]
    medians: Floats = np.median(samples[places], axis=1)
    return medians


def verdict(ratio: Ratio, relevant: float = RELEVANT, detectable: float = DETECTABLE) -> Verdict:
    """The word for an interval.

    Slower and faster need an interval that leaves out 1 and a ratio that
    matters; no difference needs an interval without a difference of
    `detectable`; all else is inconclusive, and no verdict either way.
    """
    if ratio.low > 1 and ratio.ratio >= 1 + relevant:
        return Verdict.SLOWER
    if ratio.high < 1 and ratio.ratio <= 1 / (1 + relevant):
        return Verdict.FASTER
    if ratio.low > 1 / (1 + detectable) and ratio.high < 1 + detectable:
        return Verdict.SAME
    return Verdict.INCONCLUSIVE

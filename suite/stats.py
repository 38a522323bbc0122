"""Samples to numbers: percentiles and spread of latencies, intervals of accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import floor, nan, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suite.record.camera import Stream
    from suite.record.costs import Latency, Sustained

P99_MINIMUM = 1000  # fewer samples leave fewer than ten above the 99th percentile
NS_PER_MS = 1e6
MAX_SPREAD = 0.10  # of robust standard deviation over median: pyperf calls more unstable
MAX_DRIFT = 0.10  # of the last third's median against the first third's
MAX_OTHERS = 0.10  # of the machine's processor time, taken by other processes
FEWEST_TO_JUDGE = 10
_SIGMA_PER_MAD = 1.4826  # of a normal distribution
_SIGMAS_P5_TO_P95 = 3.2897  # of a normal distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a set of latency samples says; all but `n` in milliseconds."""

    n: int
    min_ms: float
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float | None  # None below P99_MINIMUM samples
    mad_ms: float  # median absolute deviation from the median, not scaled


def summarise(samples_ns: Sequence[int]) -> Summary:
    """Derive percentiles and spread from raw samples in nanoseconds.

    Raises ValueError when there is no sample, or one that took no time.
    """
    ordered = _checked(samples_ns)
    p50 = _percentile(ordered, 0.50)
    return Summary(
        n=len(ordered),
        min_ms=ordered[0] / NS_PER_MS,
        mean_ms=sum(ordered) / len(ordered) / NS_PER_MS,
        p50_ms=p50 / NS_PER_MS,
        p90_ms=_percentile(ordered, 0.90) / NS_PER_MS,
        p95_ms=_percentile(ordered, 0.95) / NS_PER_MS,
        p99_ms=_percentile(ordered, 0.99) / NS_PER_MS if len(ordered) >= P99_MINIMUM else None,
        mad_ms=_deviation(ordered, p50) / NS_PER_MS,
    )


def p50_ms(samples_ns: Sequence[int]) -> float:
    """Median of raw samples in milliseconds; ValueError as `summarise`."""
    return percentile_ms(samples_ns, 0.5)


def percentile_ms(samples_ns: Sequence[int], fraction: float) -> float:
    """Of raw samples, in milliseconds; ValueError as `summarise`."""
    return _percentile(_checked(samples_ns), fraction) / NS_PER_MS


def range_ms(samples_ns: Sequence[int]) -> tuple[float, float]:
    """Quickest and slowest of raw samples in milliseconds; ValueError as `summarise`."""
    if not samples_ns:
        raise ValueError("no latency sample")
    least = min(samples_ns)
    if not least > 0:
        raise ValueError(f"a latency sample of {least} ns: the clock or the loop is broken")
    return least / NS_PER_MS, max(samples_ns) / NS_PER_MS


def summary_of(latency: Latency) -> Summary:
    """Of the raw samples; of what a tool that keeps none told, NaN where it did not.

    Raises ValueError as `summarise`.
    """
    told = latency.summary_ms
    if not told:
        return summarise(latency.samples_ns)
    return Summary(
        n=round(told.get("n", 0)),
        min_ms=told.get("min", nan),
        mean_ms=told.get("mean", nan),
        p50_ms=median_ms(latency),
        p90_ms=nan,
        p95_ms=told.get("p95", nan),
        p99_ms=None,
        mad_ms=nan,
    )


def median_ms(latency: Latency) -> float:
    """Of the raw samples; what the tool told where it keeps none, its mean where it tells no median.

    Raises ValueError as `summarise`.
    """
    told = latency.summary_ms
    if not told:
        return p50_ms(latency.samples_ns)
    median = told.get("p50", told.get("mean", 0.0))
    if not median > 0:
        raise ValueError(f"a latency of {median} ms: the tool's answer was not understood")
    return median


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """Of sorted values, linear between closest ranks, as NumPy's default; IndexError without any."""
    return _percentile(ordered, fraction)


def _checked(samples_ns: Sequence[int]) -> list[int]:
    range_ms(samples_ns)
    return sorted(samples_ns)


def _percentile(ordered: Sequence[float], fraction: float) -> float:
    """Linear interpolation between closest ranks, as NumPy's default."""
    rank = fraction * (len(ordered) - 1)
    below = floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def sustained_drop(sustained: Sustained) -> float | None:
    """How much slower the last minute is than the first, as a fraction; None below two minutes."""
    rates: list[float] = []  # inferences a second in each whole minute
    count = seconds = 0.0
    for inferences, wall_ns in zip(sustained.inferences, sustained.window_ns, strict=True):
        count, seconds = count + inferences, seconds + wall_ns / 1e9
        if seconds >= 59.5:  # windows end with an inference, not with a minute
            rates.append(count / seconds)
            count = seconds = 0.0
    return 1 - rates[-1] / rates[0] if len(rates) >= 2 else None


class Soundness(StrEnum):
    """Whether samples can carry a verdict."""

    SOUND = "sound"
    UNSTABLE = "unstable"
    CONTAMINATED = "contaminated"


REMEDY = {
    Soundness.SOUND: "",
    Soundness.UNSTABLE: "Let the machine settle (fixed clock speed, no other work), and measure again; "
    "to tell two apart all the same: python -m suite compare --models",
    Soundness.CONTAMINATED: "End other processes, let a phone cool down, and measure again",
}


def soundness(latency: Latency) -> tuple[Soundness, str]:
    """Whether a timed loop can carry a verdict, and what speaks against it.

    Contaminated when it was marked so (a hot phone), or when other processes
    took more than MAX_OTHERS of the machine; unstable when the samples spread by more than MAX_SPREAD, or
    drift by more than MAX_DRIFT over the loop, or when they are fewer than
    FEWEST_TO_JUDGE. ValueError as `summarise`.
    """
    if latency.contaminated:
        return Soundness.CONTAMINATED, latency.contaminated
    if told := too_busy(latency):
        return Soundness.CONTAMINATED, told
    if latency.summary_ms:
        return _soundness_told(latency.summary_ms)
    ordered = _checked(latency.samples_ns)
    if len(ordered) < FEWEST_TO_JUDGE:
        return Soundness.UNSTABLE, _too_few(len(ordered))
    if _calm(ordered):
        return Soundness.SOUND, ""
    p50 = _percentile(ordered, 0.5)
    spread = _SIGMA_PER_MAD * _deviation(ordered, p50) / p50
    if spread > MAX_SPREAD:
        return Soundness.UNSTABLE, _too_wide(spread, "median")
    third = len(ordered) // 3
    drift = p50_ms(latency.samples_ns[-third:]) / p50_ms(latency.samples_ns[:third]) - 1
    if abs(drift) > MAX_DRIFT:
        return Soundness.UNSTABLE, f"samples drift by {100 * drift:+.0f} % from the first third to the last"
    return Soundness.SOUND, ""


def _soundness_told(told: Mapping[str, float]) -> tuple[Soundness, str]:
    """Of a tool that keeps no samples: by its percentiles, or its deviation where it tells none."""
    count = round(told.get("n", 0))
    if count < FEWEST_TO_JUDGE:
        return Soundness.UNSTABLE, _too_few(count)
    if {"p5", "p50", "p95"} <= told.keys():
        spread, of = (told["p95"] - told["p5"]) / (_SIGMAS_P5_TO_P95 * told["p50"]), "median"
    elif {"std", "mean"} <= told.keys():
        spread, of = told["std"] / told["mean"], "mean"
    else:
        return Soundness.UNSTABLE, "the tool tells neither samples nor how they spread"
    return (Soundness.UNSTABLE, _too_wide(spread, of)) if spread > MAX_SPREAD else (Soundness.SOUND, "")


def _too_few(count: int) -> str:
    return f"{count} samples do not show how they spread, {FEWEST_TO_JUDGE} would"


def _too_wide(spread: float, of: str) -> str:
    return f"samples spread by {100 * spread:.0f} % of the {of}"


def _deviation(ordered: Sequence[float], middle: float) -> float:
    """Median absolute deviation from `middle`."""
    return _percentile(sorted(abs(value - middle) for value in ordered), 0.5)


def _calm(ordered: Sequence[float]) -> bool:
    """Whether the middle two thirds of sorted samples lie so close that nothing else need be looked at.

    More than half of the samples are no further from the median than its bounds,
    and so is the median of any third of them: neither spread nor drift exceeds
    what these allow.
    """
    count = len(ordered)
    edge = (count // 3 + 1) // 2
    low, high = ordered[edge - 1], ordered[count - edge]
    p50 = _percentile(ordered, 0.5)
    spread = _SIGMA_PER_MAD * max(high - p50, p50 - low)
    return spread <= MAX_SPREAD * p50 and high <= (1 + MAX_DRIFT) * low


def too_busy(timed: Latency | Stream) -> str:
    """What other processes took of the machine meanwhile, where it is more than MAX_OTHERS; else empty."""
    if timed.others_cpu_ns is None or not timed.cores or not timed.wall_ns > 0:
        return ""
    share = timed.others_cpu_ns / (timed.wall_ns * timed.cores)
    return f"other processes took {100 * share:.0f} % of the machine" if share > MAX_OTHERS else ""


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion, as fractions.

    In closed form (E. B. Wilson, "Probable inference, the law of succession,
    and statistical inference", JASA 22, 1927, 209-212): to import SciPy's
    statistics takes longer than to check a small model.

    Raises ValueError when `n` is not positive or `successes` is outside 0..n.
    """
    from statistics import NormalDist  # loads decimal and fractions, which no gate needs

    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"counts do not fit: successes={successes}, n={n}")
    share, z = successes / n, NormalDist().inv_cdf((1 + confidence) / 2)
    weight = z * z / n
    centre = (share + weight / 2) / (1 + weight)
    half = z * sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def paired_drop_interval(b: int, c: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the drop (b - c) / n between two answers to the same `n` samples.

    `b` counts the samples that only the reference gets right, `c` those that
    only the actual gets right. Agresti and Min's adjusted Wald interval: half
    an observation is added to each of the four cells (A. Agresti, Y. Min,
    "Simple improved confidence intervals for comparing matched proportions",
    Statistics in Medicine 24, 2005, 729-740).

    Raises ValueError when the counts do not fit each other.
    """
    from statistics import NormalDist  # loads decimal and fractions, which no gate needs

    if n <= 0 or b < 0 or c < 0 or b + c > n:
        raise ValueError(f"counts do not fit: b={b}, c={c}, n={n}")
    total = n + 2
    only_reference, only_actual = b + 0.5, c + 0.5
    drop = (only_reference - only_actual) / total
    variance = only_reference + only_actual - (only_reference - only_actual) ** 2 / total
    half = NormalDist().inv_cdf((1 + confidence) / 2) * sqrt(variance) / total
    return max(drop - half, -1.0), min(drop + half, 1.0)

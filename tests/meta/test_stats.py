"""Samples to numbers, against NumPy and published intervals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from suite.record.costs import Latency
from suite.stats import (
    P99_MINIMUM,
    REMEDY,
    Soundness,
    p50_ms,
    paired_drop_interval,
    soundness,
    summarise,
    wilson_interval,
)


def test_percentiles_are_those_of_numpy() -> None:
    samples = np.random.default_rng(1).integers(1_000_000, 9_000_000, 137)
    summary = summarise([int(sample) for sample in samples])
    expected = np.percentile(samples, [50, 90, 95]) / 1e6
    assert [summary.p50_ms, summary.p90_ms, summary.p95_ms] == pytest.approx(list(expected))
    assert summary.mean_ms == pytest.approx(samples.mean() / 1e6)
    assert summary.min_ms == samples.min() / 1e6
    assert summary.mad_ms == pytest.approx(np.median(np.abs(samples - np.median(samples))) / 1e6)
    assert summary.n == 137


def test_one_sample_is_every_percentile() -> None:
    summary = summarise([2_000_000])
    assert (summary.p50_ms, summary.p95_ms, summary.mad_ms) == (2.0, 2.0, 0.0)


@pytest.mark.parametrize(("n", "stated"), [(P99_MINIMUM - 1, False), (P99_MINIMUM, True)])
def test_p99_needs_a_thousand_samples(n: int, stated: bool) -> None:
    assert (summarise(range(1, n + 1)).p99_ms is not None) is stated


@pytest.mark.parametrize("samples", [[], [0], [1_000_000, -5]])
def test_broken_samples_are_refused(samples: list[int]) -> None:
    with pytest.raises(ValueError, match="latency sample"):
        summarise(samples)
    with pytest.raises(ValueError, match="latency sample"):
        p50_ms(samples)


def test_wilson_interval_is_the_published_one() -> None:
    # R. G. Newcombe, Statistics in Medicine 17, 1998, 857-872, table I: 81 of 263, method 3.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    low, high = wilson_interval(20, 20)
    assert 0.8 < low < high == pytest.approx(1.0)


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2), (0, 0)])
def test_wilson_interval_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        wilson_interval(successes, n)


def test_paired_drop_interval_by_hand() -> None:
    # b=12, c=4, n=100: (12.5 - 4.5) / 102, variance (17 - 64/102) / 102^2.
    half = 1.959964 * (17 - 64 / 102) ** 0.5 / 102
    assert paired_drop_interval(12, 4, 100) == pytest.approx((8 / 102 - half, 8 / 102 + half), abs=1e-6)


def test_paired_drop_interval_is_antisymmetric_and_bounded() -> None:
    low, high = paired_drop_interval(9, 2, 50)
    assert paired_drop_interval(2, 9, 50) == pytest.approx((-high, -low))
    assert paired_drop_interval(3, 0, 3)[1] == 1.0


def test_paired_drop_interval_holds_the_true_drop_about_95_times_of_100() -> None:
    rng = np.random.default_rng(2)
    only_reference, only_actual, n = 0.06, 0.03, 360
    rest = 1 - only_reference - only_actual
    counts = rng.multinomial(n, [only_reference, only_actual, rest], size=2000)
    intervals = [paired_drop_interval(int(b), int(c), n) for b, c, _ in counts]
    held = np.mean([low <= only_reference - only_actual <= high for low, high in intervals])
    assert 0.93 < held < 0.98


@pytest.mark.parametrize(("b", "c", "n"), [(1, 1, 1), (-1, 0, 5), (0, 0, 0)])
def test_paired_drop_interval_refuses_impossible_counts(b: int, c: int, n: int) -> None:
    with pytest.raises(ValueError, match="counts do not fit"):
        paired_drop_interval(b, c, n)


# --- soundness ----------------------------------------------------------------------


def timed(samples: list[int], **changes: Any) -> Latency:
    made = Latency(
        threads=1,
        samples_ns=tuple(samples),
        load_ns=1,
        first_ns=1,
        warmup_ns=(),
        cpu_ns=sum(samples),
        wall_ns=sum(samples),
    )
    return replace(made, **changes)


def told(**summary_ms: float) -> Latency:
    """Of a tool that keeps no samples."""
    return timed([], summary_ms=summary_ms)


@pytest.mark.parametrize(
    ("latency", "sound", "words"),
    [
        (timed([100, 101, 99] * 10), Soundness.SOUND, ""),
        (timed([100, 101, 99, 100, 300] * 10), Soundness.SOUND, ""),  # some spoiled, the median stands
        (timed([100, 150] * 15), Soundness.UNSTABLE, "spread by"),
        (timed([100] * 20 + [115] * 10), Soundness.UNSTABLE, "drift by +15 %"),
        (timed([100, 150]), Soundness.UNSTABLE, "2 samples do not show"),
        (timed([100] * 9), Soundness.UNSTABLE, "9 samples do not show"),
        (timed([100] * 10), Soundness.SOUND, ""),
        (told(n=50, mean=10, std=0.9), Soundness.SOUND, ""),
        (told(n=50, mean=10, std=1.1), Soundness.UNSTABLE, "spread by 11 % of the mean"),
        (told(n=9, mean=10, std=0.1), Soundness.UNSTABLE, "9 samples do not show"),
        (told(n=50, mean=10, std=9, p5=9, p50=10, p95=11), Soundness.SOUND, ""),  # some spoiled
        (told(n=50, mean=10, std=0.1, p5=9, p50=10, p95=13), Soundness.UNSTABLE, "12 % of the median"),
        (told(n=50, mean=10), Soundness.UNSTABLE, "tells neither samples nor how they spread"),
        (told(mean=10), Soundness.UNSTABLE, "0 samples"),
        (replace(told(n=50, mean=10, std=0.1), contaminated="hot"), Soundness.CONTAMINATED, "hot"),
        (timed([100] * 30, others_cpu_ns=1000, cores=2), Soundness.CONTAMINATED, "took 17 %"),
        (timed([100] * 30, others_cpu_ns=100, cores=2), Soundness.SOUND, ""),
        (timed([100] * 30, others_cpu_ns=None, cores=None), Soundness.SOUND, ""),
    ],
)
def test_samples_that_cannot_carry_a_verdict(latency: Latency, sound: Soundness, words: str) -> None:
    seen, why = soundness(latency)
    assert seen is sound
    assert words in why
    assert bool(REMEDY[sound]) is (sound is not Soundness.SOUND)


def test_the_short_cut_for_calm_samples_hides_no_spread_and_no_drift() -> None:
    random = np.random.default_rng(4)
    verdicts = []
    for _ in range(600):
        n = int(random.integers(10, 80))
        trend = np.linspace(0, random.uniform(-0.25, 0.25), n) * random.integers(0, 2)
        samples = (1e7 * np.exp(trend + random.normal(0, random.uniform(0, 0.12), n))).astype(int)
        p50, third = np.median(samples), n // 3
        spread = 1.4826 * np.median(np.abs(samples - p50)) / p50
        drift = np.median(samples[-third:]) / np.median(samples[:third]) - 1
        unstable = bool(spread > 0.1 or abs(drift) > 0.1)
        assert (soundness(timed(samples.tolist()))[0] is Soundness.UNSTABLE) is unstable
        verdicts.append(unstable)
    assert 100 < sum(verdicts) < 500


def test_no_sample_is_not_sound() -> None:
    with pytest.raises(ValueError, match="no latency sample"):
        soundness(timed([]))

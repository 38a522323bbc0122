"""The interval keeps its promise on autocorrelated noise, and the verdict says no more than it knows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from suite import ratio
from suite.ratio import Ratio, Round, Verdict
from tests.meta import weather

RUNS = 400  # simulated comparisons of each kind
ROUNDS, BLOCK = 32, 6


def simulated(true: float, seed: int) -> Verdict:
    """One whole comparison, B being `true` times as slow as A."""
    random = np.random.default_rng([seed, round(true * 1000)])
    times = weather.latencies(random, ratio.LOOKS * ROUNDS * 4 * BLOCK).reshape(-1, 4, BLOCK)
    times[:, 1:3] *= true
    turns = iter(times.astype(np.int64).tolist())

    def draw() -> Round:
        a, b, c, d = next(turns)
        return Round((a, d), (b, c))

    return ratio.decide(draw, ROUNDS)[2]


@pytest.mark.parametrize(
    ("true", "right", "wrong", "at_least"),
    [
        (1.0, Verdict.SAME, (Verdict.SLOWER, Verdict.FASTER), 0.98),
        (1.05, Verdict.SLOWER, (Verdict.FASTER, Verdict.SAME), 0.98),
        (1 / 1.05, Verdict.FASTER, (Verdict.SLOWER, Verdict.SAME), 0.98),
        (1.20, Verdict.SLOWER, (Verdict.FASTER, Verdict.SAME), 0.98),
    ],
)
def test_error_rates_over_many_simulated_comparisons(
    true: float, right: Verdict, wrong: tuple[Verdict, ...], at_least: float
) -> None:
    seen = Counter(simulated(true, seed) for seed in range(RUNS))
    assert sum(seen[verdict] for verdict in wrong) <= RUNS // 200, seen  # 0.5 % at most say what is not so
    assert seen[right] >= at_least * RUNS, seen


def test_resampling_single_inferences_would_raise_false_alarms() -> None:
    """The planted bad way: as if neighbours were independent, and A ran before B."""
    alarms = 0
    for seed in range(100):
        times = weather.latencies(np.random.default_rng(seed), 2000)
        a, b = np.log(times[:1000]), np.log(times[1000:])
        error = np.hypot(a.std(), b.std()) / np.sqrt(1000)
        alarms += abs(b.mean() - a.mean()) > 2.58 * error
    assert alarms > 50


def test_a_drift_over_the_session_cancels_out() -> None:
    times = np.linspace(1e7, 3e7, 4 * 20).reshape(-1, 4, 1).astype(np.int64).tolist()
    found = ratio.of_rounds([Round((a, d), (b, c)) for a, b, c, d in times])
    assert found.ratio == pytest.approx(1, abs=2e-3)


def test_the_ratio_of_exact_samples_is_exact_and_the_same_each_time() -> None:
    rounds = [Round(((100, 100), (100,)), ((125,), (125, 125)))] * 10
    found = ratio.of_rounds(rounds)
    assert (found.ratio, found.low, found.high) == pytest.approx((1.25, 1.25, 1.25), rel=1e-6)
    assert found == ratio.of_rounds(rounds)


@pytest.mark.parametrize(
    "rounds",
    [
        [Round(((1,), (1,)), ((1,), (1,)))] * (ratio.FEWEST_ROUNDS - 1),
        [Round(((1,), (1,)), ((1,), ()))] * 20,
        [Round(((1,), (1,)), ((1,), (0,)))] * 20,
    ],
)
def test_what_proves_nothing_is_refused(rounds: list[Round]) -> None:
    with pytest.raises(ValueError, match=r"expected at least|no sample"):
        ratio.of_rounds(rounds)


@pytest.mark.parametrize(
    ("low", "middle", "high", "word"),
    [
        (1.01, 1.05, 1.09, Verdict.SLOWER),
        (0.92, 0.95, 0.99, Verdict.FASTER),
        (0.99, 1.005, 1.02, Verdict.SAME),
        (1.001, 1.01, 1.02, Verdict.SAME),  # certain, and too small to matter
        (0.90, 1.0, 1.10, Verdict.INCONCLUSIVE),
        (0.99, 1.06, 1.13, Verdict.INCONCLUSIVE),
        (1.001, 1.015, 1.06, Verdict.INCONCLUSIVE),
    ],
)
def test_the_word_for_an_interval(low: float, middle: float, high: float, word: Verdict) -> None:
    assert ratio.verdict(Ratio(ratio=middle, low=low, high=high, confidence=0.99)) is word


def test_nothing_that_is_not_a_number_is_a_verdict() -> None:
    nothing = Ratio(ratio=float("nan"), low=float("nan"), high=float("nan"), confidence=0.99)
    assert ratio.verdict(nothing) is Verdict.INCONCLUSIVE
    assert ratio.verdict(replace(nothing, ratio=1.2)) is Verdict.INCONCLUSIVE


def test_two_finished_runs_are_told_apart_by_stretches_of_samples() -> None:
    random = np.random.default_rng(5)
    noise = random.normal(0, 0.01, 500)
    old = (1e7 * np.exp(noise)).astype(np.int64).tolist()
    new = (1.3e7 * np.exp(noise[::-1])).astype(np.int64).tolist()
    found = ratio.of_runs(old, new)
    assert found.low > 1.25
    assert found.low < found.ratio < found.high < 1.35
    assert ratio.of_runs(old, old).low <= 1 <= ratio.of_runs(old, old).high
    with pytest.raises(ValueError, match="no latency sample"):
        ratio.of_runs([], old)


def test_stretches_make_the_interval_as_wide_as_the_weather() -> None:
    """A run whose second half was slowed down knows its median less well than its count suggests."""
    halves = [10_000_000] * 50 + [12_000_000] * 50
    mixed = [10_000_000, 12_000_000] * 50
    wide, narrow = ratio.of_runs(mixed, halves), ratio.of_runs(mixed, mixed)
    assert wide.high - wide.low >= narrow.high - narrow.low

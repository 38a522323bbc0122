"""The timed loop: how long it measures, and what it counts."""

from __future__ import annotations

import gc
import time
from typing import Self

import pytest

from suite.runtimes import loop
from suite.runtimes.base import Timing, TimingPolicy
from suite.stats import FEWEST_TO_JUDGE

QUICK = TimingPolicy(warmup_min_runs=2, warmup_min_seconds=0, min_runs=10, min_seconds=0)


class Invoke:
    """Something to time."""

    def __init__(self, seconds: float = 0) -> None:
        self.seconds, self.count, self.collects = seconds, 0, []

    def __call__(self) -> None:
        self.count += 1
        self.collects.append(gc.isenabled())
        if self.seconds:
            time.sleep(self.seconds)


def timed(invoke: Invoke, policy: TimingPolicy) -> Timing:
    return loop.timed(invoke, policy, threads=2, load_ns=77)


def test_a_sample_is_taken_for_each_inference() -> None:
    invoke = Invoke()
    timing = timed(invoke, QUICK)
    assert len(timing.samples_ns) == 10
    assert len(timing.warmup_ns) >= 2
    assert invoke.count == 1 + len(timing.warmup_ns) + 10
    assert (timing.threads, timing.load_ns) == (2, 77)
    assert all(sample > 0 for sample in timing.samples_ns)


def test_samples_are_the_time_of_the_inference() -> None:
    timing = timed(Invoke(0.005), QUICK)
    assert min(timing.samples_ns) >= 5_000_000
    assert timing.first_ns >= 5_000_000
    assert sum(timing.samples_ns) <= timing.wall_ns
    assert timing.cpu_ns < timing.wall_ns  # it slept


class Clock:
    """A clock of its own for the loop, so that a busy machine cannot change what is counted."""

    now_ns = 0

    def on_its_own_clock(self, monkeypatch: pytest.MonkeyPatch) -> Self:
        monkeypatch.setattr(loop.time, "perf_counter_ns", lambda: self.now_ns)
        monkeypatch.setattr(loop.time, "perf_counter", lambda: self.now_ns / 1e9)
        return self


class Steady(Clock):
    """An inference that always takes as long."""

    def __init__(self, milliseconds: int) -> None:
        self.nanoseconds = milliseconds * 1_000_000

    def __call__(self) -> None:
        self.now_ns += self.nanoseconds


class Warming(Clock):
    """An inference that gets quicker by a quarter each time, until `settled` of them."""

    def __init__(self, settled: int) -> None:
        self.settled, self.count = settled, 0

    def __call__(self) -> None:
        self.now_ns += int(1e8 * 0.75 ** min(self.count, self.settled))
        self.count += 1


@pytest.mark.parametrize(("settled", "expected"), [(0, 2), (1, 3), (4, 6), (100, 20)])
def test_warm_up_ends_when_it_no_longer_gets_quicker(
    settled: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke = Warming(settled).on_its_own_clock(monkeypatch)
    policy = TimingPolicy(warmup_min_runs=2, warmup_max_runs=20, warmup_min_seconds=0)
    assert len(loop._warm_up(invoke, policy)) == expected


def test_warm_up_is_capped_in_time_and_left_out_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    invoke = Steady(milliseconds=30).on_its_own_clock(monkeypatch)
    policy = TimingPolicy(warmup_min_runs=1000, warmup_min_seconds=60, warmup_max_seconds=0.1)
    assert len(loop._warm_up(invoke, policy)) == 4
    assert loop._warm_up(Invoke(), TimingPolicy(warmup_min_runs=0, warmup_min_seconds=0)) == []


def test_what_other_processes_took_is_told_apart_from_our_own() -> None:
    timing = timed(Invoke(), TimingPolicy(warmup_min_seconds=0, min_runs=1, min_seconds=0.3, max_runs=10**9))
    assert timing.others_cpu_ns is not None
    assert timing.cores
    # Ours is left out: what stays cannot exceed the rest of the machine, to the tick of the system's clock.
    assert 0 <= timing.others_cpu_ns <= timing.cores * timing.wall_ns - timing.cpu_ns + 50_000_000


def test_a_quick_model_is_measured_for_the_whole_time(monkeypatch: pytest.MonkeyPatch) -> None:
    invoke = Steady(milliseconds=1).on_its_own_clock(monkeypatch)
    timing = timed(invoke, TimingPolicy(warmup_min_seconds=0, min_runs=5, min_seconds=0.1))
    assert timing.wall_ns == 100_000_000
    assert timing.samples_ns == (1_000_000,) * 100


def test_a_slow_model_is_measured_until_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    invoke = Steady(milliseconds=30).on_its_own_clock(monkeypatch)
    policy = TimingPolicy(warmup_min_seconds=0, min_runs=1000, min_seconds=60, max_seconds=0.4)
    timing = timed(invoke, policy)
    assert timing.samples_ns == (30_000_000,) * 14
    assert timing.wall_ns == 420_000_000


@pytest.mark.parametrize(("longest", "expected"), [(150.0, 10), (20.0, 5), (1.0, 3)])
def test_of_a_very_slow_model_there_are_as_many_samples_as_show_their_spread(
    longest: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke = Steady(milliseconds=4000).on_its_own_clock(monkeypatch)
    policy = TimingPolicy(max_seconds=10, few_max_seconds=longest)
    assert policy.few_runs == FEWEST_TO_JUDGE
    assert len(timed(invoke, policy).samples_ns) == expected


def test_no_garbage_is_collected_within_samples_and_it_is_again_after() -> None:
    invoke = Invoke()
    timed(invoke, QUICK)
    assert not any(invoke.collects[-10:])
    assert gc.isenabled()


def test_garbage_is_collected_again_after_an_error() -> None:
    calls = iter(range(5))
    with pytest.raises(StopIteration):
        loop.timed(lambda: next(calls), QUICK, threads=1, load_ns=0)
    assert gc.isenabled()


def test_memory_is_read_from_this_process() -> None:
    before = loop.resident_bytes()
    held = bytearray(b"1" * 64_000_000)
    assert loop.resident_bytes() - before > 50_000_000
    assert loop.peak_bytes() >= loop.resident_bytes() - 1_000_000
    assert (loop.unique_bytes() or 0) > 50_000_000
    del held

"""The timed loop: how long it measures, and what it counts."""

from __future__ import annotations

import gc
import time

import pytest

from suite.runtimes import loop
from suite.runtimes.base import Timing, TimingPolicy

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
    assert len(timing.warmup_ns) == 2
    assert invoke.count == 1 + 2 + 10
    assert (timing.threads, timing.load_ns) == (2, 77)
    assert all(sample > 0 for sample in timing.samples_ns)


def test_samples_are_the_time_of_the_inference() -> None:
    timing = timed(Invoke(0.005), QUICK)
    assert min(timing.samples_ns) >= 5_000_000
    assert timing.first_ns >= 5_000_000
    assert sum(timing.samples_ns) <= timing.wall_ns
    assert timing.cpu_ns < timing.wall_ns  # it slept


def test_a_quick_model_is_measured_for_the_whole_time() -> None:
    policy = TimingPolicy(warmup_min_seconds=0, min_runs=5, min_seconds=0.1)
    timing = timed(Invoke(0.001), policy)
    assert timing.wall_ns >= 100_000_000
    assert len(timing.samples_ns) > 5


def test_a_slow_model_is_measured_until_the_cap() -> None:
    policy = TimingPolicy(warmup_min_seconds=0, min_runs=1000, min_seconds=60, max_seconds=0.1)
    timing = timed(Invoke(0.03), policy)
    assert 3 <= len(timing.samples_ns) <= 4
    assert timing.wall_ns < 1_000_000_000


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

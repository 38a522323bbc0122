"""The timed loop, the same for every runtime of this machine, and the memory of its process."""

from __future__ import annotations

import gc
import math
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from suite.runtimes.base import Timing, TimingPolicy

IMPROVEMENT = 0.05  # of one block of the warm-up over the last that is worth another


def timed(invoke: Callable[[], object], policy: TimingPolicy, *, threads: int, load_ns: int) -> Timing:
    """Time `invoke()` back to back until the policy is met; nothing else happens between two samples."""
    first_ns = _sample(invoke)
    warmup_ns = _warm_up(invoke, policy)
    gc.collect()
    gc.disable()  # a collection inside a sample would be counted as the model's
    try:
        all_start = all_cpu_ns()
        cpu_start, wall_start = cpu_ns(), time.perf_counter_ns()
        runs = policy.min_runs, policy.max_runs
        few = policy.few_runs, policy.few_max_seconds
        samples_ns = _repeat(invoke, runs, policy.min_seconds, policy.max_seconds, few)
        taken_ns, wall_ns = cpu_ns() - cpu_start, time.perf_counter_ns() - wall_start
        all_end = all_cpu_ns()
    finally:
        gc.enable()
    return Timing(
        threads=threads,
        samples_ns=tuple(samples_ns),
        load_ns=load_ns,
        first_ns=first_ns,
        warmup_ns=tuple(warmup_ns),
        cpu_ns=taken_ns,
        wall_ns=wall_ns,
        others_cpu_ns=None
        if all_start is None or all_end is None
        else max(0, all_end - all_start - taken_ns),
        cores=os.cpu_count(),
    )


def _warm_up(invoke: Callable[[], object], policy: TimingPolicy) -> list[int]:
    """Repeat blocks until one is less than IMPROVEMENT quicker than the last, or a cap is met."""
    runs, seconds = -(-policy.warmup_min_runs // 2), policy.warmup_min_seconds / 2
    samples: list[int] = []
    if not runs and not seconds:
        return samples
    end = time.perf_counter() + min(policy.warmup_max_seconds, policy.max_seconds)
    last = math.inf
    while (room := policy.warmup_max_runs - len(samples)) > 0 and (left := end - time.perf_counter()) > 0:
        block = _repeat(invoke, (runs, room), seconds, left)
        if not block:
            break
        samples += block
        quickness = median(block)
        if quickness > last * (1 - IMPROVEMENT):
            break
        last = quickness
    return samples


def _sample(invoke: Callable[[], object]) -> int:
    start = time.perf_counter_ns()
    invoke()
    return time.perf_counter_ns() - start


def _repeat(
    invoke: Callable[[], object],
    runs: tuple[int, int],
    seconds: float,
    cap_seconds: float,
    few: tuple[int, float] = (0, 0.0),
) -> list[int]:
    """Sample until both the fewest of `runs` and `seconds` are reached, or the most of them, or the cap.

    `few` is how many samples go beyond the cap, and for how many seconds.
    """
    fewest, most = runs
    clock = time.perf_counter_ns
    start = clock()
    limits = seconds, cap_seconds, max(cap_seconds, few[1])
    enough, cap, last = (start + int(limit * 1e9) for limit in limits)
    samples: list[int] = []
    end = start
    while (len(samples) < fewest or end < enough) and len(samples) < most:
        if end >= (last if len(samples) < few[0] else cap):
            break
        begin = clock()
        invoke()
        end = clock()
        samples.append(end - begin)
    return samples


def cpu_ns() -> int:
    """CPU time that this process has taken."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return int((usage.ru_utime + usage.ru_stime) * 1e9)


def all_cpu_ns() -> int | None:
    """CPU time of all processes since the system started, idle and waiting apart; None off Linux."""
    try:
        with Path("/proc/stat").open() as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = ticks
    busy = user + nice + system + irq + softirq + steal
    return busy * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def resident_bytes() -> int:
    """Resident set of this process."""
    return _proc_status("VmRSS") or peak_bytes()


def peak_bytes() -> int:
    """High-water mark of this process's resident set.

    From /proc where there is one: getrusage's figure outlives exec and would
    show the parent's peak.
    """
    if (peak := _proc_status("VmHWM")) is not None:
        return peak
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else peak * 1024


def unique_bytes() -> int | None:
    """Unique set size of this process: what would be freed if it ended."""
    import psutil

    try:
        return int(psutil.Process().memory_full_info().uss)
    except (psutil.Error, AttributeError):
        return None


def memory() -> tuple[int, int | None]:
    """Resident and unique bytes of this process."""
    return resident_bytes(), unique_bytes()


def _proc_status(field: str) -> int | None:
    """A field of /proc/self/status in bytes; None off Linux."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":")), None)

"""What each thread count took."""

from __future__ import annotations

from dataclasses import dataclass, replace

from suite import stats
from suite.record import Record
from suite.record.costs import Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One thread count."""

    threads: int
    summary: stats.Summary
    load_ms: float
    first_ms: float
    inferences_per_second: float
    cpu_percent: float | None


def timings(record: Record) -> tuple[Timing, ...]:
    """By thread count; without what the gate has a finding on."""
    entries = {entry.threads: entry for entry in record.scaling}
    if record.latency is not None:
        entries[record.latency.threads] = record.latency
    timings = (_timing(entries[threads], record) for threads in sorted(entries))
    return tuple(timing for timing in timings if timing is not None)


def _timing(latency: Latency, record: Record) -> Timing | None:
    try:
        summary = stats.summary_of(latency)
    except ValueError:  # the gate has a finding that says so
        return None
    wall = max(latency.wall_ns, 1)
    timing = Timing(
        threads=latency.threads,
        summary=summary,
        load_ms=latency.load_ns / stats.NS_PER_MS,
        first_ms=latency.first_ns / stats.NS_PER_MS,
        inferences_per_second=summary.n / wall * 1e9,
        cpu_percent=None if latency.summary_ms or latency.cpu_ns is None else 100 * latency.cpu_ns / wall,
    )
    if record.throughput is not None and record.throughput.threads == latency.threads:
        timing = replace(timing, inferences_per_second=record.throughput.inferences_per_second)
    if record.cpu is not None and record.cpu.threads == latency.threads:
        timing = replace(timing, cpu_percent=record.cpu.percent)
    return timing

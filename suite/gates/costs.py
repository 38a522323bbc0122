"""What an artifact costs when it runs: latency, memory, and frames of a camera that go unanswered."""

from __future__ import annotations

import math
from dataclasses import replace

from suite import frames, stats
from suite.gates.findings import Finding, Gate, bound, number, unproven
from suite.record.camera import RealTime
from suite.record.costs import Latency, Memory
from suite.spec import Budget


def check_latency(latency: Latency | None, budget: Budget) -> list[Finding]:
    """Findings on the median time of an inference.

    Where a tool keeps no samples, its own median counts, or its mean where it tells no median.
    """
    if latency is None:
        return [unproven(Gate.LATENCY, "no latency was recorded")]
    limit = budget.max_p50_ms
    try:
        if _far_below(latency, limit):
            return []
        median = stats.median_ms(latency)
    except ValueError as error:
        return [unproven(Gate.LATENCY, str(error))]
    found = bound(Gate.LATENCY, "p50 latency in ms", median, limit, lambda: _latency_advice(latency))
    sound, why = stats.soundness(latency)
    if sound is stats.Soundness.SOUND or (sound is _UNSTABLE and _far_above(latency, limit)):
        return found
    return _undecided(sound, why, median, limit) if found or sound is _UNSTABLE else []


def _latency_advice(latency: Latency) -> str:
    count = f"{latency.threads} thread{'s' if latency.threads != 1 else ''}"
    number_of = round(latency.summary_ms.get("n", len(latency.samples_ns)))
    return f"{count}, n {number_of}. Try another variant or thread count."


_UNSTABLE = stats.Soundness.UNSTABLE
_FAR = 0.8  # of a limit: samples too few to show their spread say nothing nearer to it


def _far_below(latency: Latency, limit: float | None) -> bool:
    """Whether nearly all samples keep the limit, so that no spread can matter: noise only slows.

    Of fewer than `stats.FEWEST_TO_JUDGE` all must, and with room to spare.
    ValueError where the samples, or what a tool told in their place, cannot be true.
    """
    told, samples = latency.summary_ms, latency.samples_ns
    if told:
        p95 = max(stats.median_ms(latency), told.get("p95", math.inf))
        count, most = round(told.get("n", 0)), told.get("max", math.inf)
    else:
        count, (_, most) = len(samples), stats.range_ms(samples)
        p95 = most  # no percentile where the slowest keeps the limit
    if limit is None:
        return True
    if count < stats.FEWEST_TO_JUDGE:
        return most <= _FAR * limit
    return p95 <= limit or (not told and stats.percentile_ms(samples, 0.95) <= limit)


def _far_above(latency: Latency, limit: float | None) -> bool:
    """Whether even the quickest sample is so far beyond the limit that no spread explains it."""
    told = latency.summary_ms
    least = told.get("min", 0.0) if told else stats.range_ms(latency.samples_ns)[0]
    return limit is not None and _FAR * least >= limit


def _undecided(sound: stats.Soundness, why: str, median: float, limit: float | None) -> list[Finding]:
    message = (
        f"p50 latency in ms: inconclusive, because the measurement is {sound}: {why}. "
        f"Obtained {number(median)}, expected at most {number(limit or math.nan)}. {stats.REMEDY[sound]}."
    )
    return [Finding(gate=Gate.LATENCY, message=message, obtained=median, limit=limit, inconclusive=True)]


def check_memory(memory: Memory | None, budget: Budget) -> list[Finding]:
    """Findings on the peak memory of a process that runs the artifact, baseline subtracted."""
    if memory is None:
        return [unproven(Gate.MEMORY, "no memory use was recorded, nor why")]
    if not memory.peak_bytes > 0:
        return [unproven(Gate.MEMORY, f"a peak of {memory.peak_bytes} bytes was recorded")]
    return bound(
        Gate.MEMORY,
        "peak memory in bytes",
        memory.peak_bytes,
        budget.max_peak_bytes,
        lambda: f"{memory.loaded_bytes} of them after loading. Choose a narrower variant or a smaller input.",
    )


def check_realtime(realtime: RealTime | None, budget: Budget) -> list[Finding]:
    """Findings on how a model keeps up with a camera, in the better of the two schemes."""
    if realtime is None or not realtime.schemes:
        return [unproven(Gate.REALTIME, "no camera-paced run was recorded")]
    best, least = frames.processed_fps(realtime), budget.min_processed_fps
    if best is None:
        return [unproven(Gate.REALTIME, "no frame of the camera was answered")]
    advice = f"Of {realtime.fps:g} a second. Ship a quicker variant, or give the model more threads."
    found = bound(Gate.REALTIME, "processed fps", best, least, lambda: advice, is_maximum=False)
    sound, why = frames.soundness(realtime)
    if sound is stats.Soundness.SOUND:
        return found
    doubt = f"Inconclusive, because the run is {sound}: {why}. {stats.REMEDY[sound]}."
    return [replace(item, message=f"{item.message} {doubt}", inconclusive=True) for item in found]

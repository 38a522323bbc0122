"""The camera's own pace, and a model slower than a frame behind it, on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

import suite
from suite import frames, realtime
from suite.record.camera import Stream
from suite.runtimes import camera
from suite.runtimes.base import CameraPlan
from suite.spec import ImageInput
from tests.bench.figures import held

SLEEP = 0.08  # planted, longer than two frames
TURNS = 9  # the middle one counts: a shared machine changes its speed within seconds
PLAN = CameraPlan(fps=realtime.FPS, seconds=2.0, inferences=16, max_seconds=6.0)


def _nothing(value: Any) -> Any:
    return value


def main(profile: str) -> bool:
    """Pacing without a model, a planted delay in its stage, and a slow real model with threads."""
    return all((_pacing(), _planted(), _slow_model()))


def _pacing() -> bool:
    idle = camera.Stages(_nothing, _nothing, _nothing)
    late: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(TURNS):
        for threaded, seen in late.items():
            stream = camera.run(idle, [0], fps=realtime.FPS, count=60, threaded=threaded)
            seen.append(frames.summarise(stream).pacing_p95_ms or 99)
    return all(
        (
            _middle("camera's own jitter, p95, in the callback", late[False], 1.0, "ms"),
            _middle("camera's own jitter, p95, with threads", late[True], 1.0, "ms"),
        )
    )


def _planted() -> bool:
    """What the stage shows against what was slept by the sleeper's own clock, sample by sample."""
    slept: list[float] = []

    def sleep(value: Any) -> Any:
        start = time.perf_counter_ns()
        time.sleep(SLEEP)
        slept.append((time.perf_counter_ns() - start) / 1e6)
        return value

    planted = camera.Stages(_nothing, sleep, _nothing)
    stream = camera.run(planted, [0], fps=realtime.FPS, count=300, threaded=True)
    apart = sorted(row[3] / 1e6 - own for row, own in zip(stream.taken, slept, strict=True))
    others = sorted(max(row[2], row[4]) / 1e6 for row in stream.taken)
    print(f"       {len(slept)} sleeps of {1e3 * SLEEP:g} ms, by their own clock {median(slept):.3f} ms")
    return all(
        (
            held("infer stage - planted sleep, p95", apart[int(0.95 * len(apart))], 0.1, "ms"),
            held("the other stages meanwhile, p95", others[int(0.95 * len(others))], 0.1, "ms"),
        )
    )


def _slow_model() -> bool:
    """A net slower than a frame: the picture stays whole, and answers come as fast as they can.

    Its own throughput is that of the same stages back to back, which is what
    the scheme in the callback does, right before in the same process. A
    machine that grows slower in between looks like a loss, one that grows
    quicker like a gain: the middle of several tells. How long the thread
    waits for a frame shows within one run.
    """
    path = suite.convert("inception_v3", "float32")
    image = ImageInput(height=299, width=299, preprocessing="tf")
    photos = np.random.default_rng(0).integers(0, 255, (2, 240, 320, 3), np.uint8)
    shown, losses, idle, latencies = [], [], [], []
    for _ in range(TURNS):
        seen = realtime.measure(
            "litert-xnnpack", path, realtime.camera_frames(list(photos)), image, threads=1, plan=PLAN
        )
        alone, beside = sorted(seen.schemes, key=lambda scheme: scheme.threaded)
        summary = frames.summarise(beside)
        shown.append(seen.fps - summary.displayed_fps)
        losses.append(1 - summary.processed_fps / _own_fps(alone))
        idle.append(1 - summary.processed_fps / _own_fps(beside))
        bound = 2 * _answer_ms(beside) + 1e3 / seen.fps
        latencies.append((summary.latency_p95_ms or 1e9) / bound)
        print(
            f"       {frames.sentence(seen)}; displayed {summary.displayed_fps:.2f}, "
            f"processed {summary.processed_fps:.2f}, own {_own_fps(alone):.2f} fps"
        )
    return all(
        (
            _middle("30 - displayed fps, with threads", shown, 0.5, "fps"),
            _middle("share of its own throughput that threads cost", losses, 0.05, ""),
            _middle("share of the time that its thread is idle", idle, 0.05, ""),
            _middle("latency p95 / (two inferences and a frame), with threads", latencies, 1.0, ""),
        )
    )


def _own_fps(stream: Stream) -> float:
    return 1e9 * len(stream.taken) / sum(sum(row[2:]) for row in stream.taken)


def _answer_ms(stream: Stream) -> float:
    return median(sum(row[2:]) for row in stream.taken) / 1e6


def _middle(name: str, values: Sequence[float], limit: float, unit: str) -> bool:
    low, high = min(values), max(values)
    print(f"       {len(values)} times, {low:.3f} to {high:.3f} {unit}; the middle one:")
    return held(name, median(values), limit, unit)

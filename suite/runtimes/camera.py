"""A camera that does not wait: frames at a fixed rate, answered in its callback or by a thread beside it.

Runs where the inference runs. What the numbers mean stands in
suite/realtime.py; nothing is derived here, and nothing else is done between
two frames.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from suite.record.camera import Stream
from suite.runtimes import loop
from suite.runtimes.base import FrameTimes

SPIN_NS = 300_000  # before a frame is due: a sleep alone overshoots by a timer slack and a wake-up
LEAD_NS = 50_000_000  # before the first frame
_SWITCH_SECONDS = 0.0005  # how long a Python thread may keep another waiting

Stage = Callable[[Any], Any]
_clock = time.perf_counter_ns


@dataclass(frozen=True, slots=True)
class Stages:
    """Frame to input, input to outputs, outputs to answer; each blocks until it is done."""

    preprocess: Stage
    infer: Stage
    postprocess: Stage


def run(stages: Stages, frames: Sequence[Any], *, fps: float, count: int, threaded: bool) -> Stream:
    """Offer `count` frames, `frames` over and over, at `fps`; one scheme."""
    scheme = _threaded if threaded else _in_callback
    interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.disable()
    try:
        all_start, cpu_start = loop.all_cpu_ns(), loop.cpu_ns()
        start = _clock() + LEAD_NS
        taken, shown = scheme(stages, frames, start, [round(k * 1e9 / fps) for k in range(count)])
        wall, cpu = _clock() - start, loop.cpu_ns() - cpu_start
        all_end = loop.all_cpu_ns()
    finally:
        gc.enable()
        sys.setswitchinterval(interval)
    return Stream(
        threaded=threaded,
        fps=fps,
        offered=count,
        taken=tuple(taken),
        shown_ns=tuple(shown),
        wall_ns=wall,
        cpu_ns=cpu,
        others_cpu_ns=None if all_start is None or all_end is None else max(0, all_end - all_start - cpu),
        cores=os.cpu_count(),
    )


def wait_until(due: int) -> None:
    """Sleep until shortly before `due`, then look at the clock until it is."""
    while (left := due - _clock()) > 0:
        time.sleep((left - SPIN_NS) / 1e9 if left > SPIN_NS else 0)  # 0: another thread may run


def _answer(stages: Stages, frame: Any, number: int, start: int) -> FrameTimes:
    begun = _clock()
    tensor = stages.preprocess(frame)
    prepared = _clock()
    outputs = stages.infer(tensor)
    inferred = _clock()
    stages.postprocess(outputs)
    done = _clock()
    return number, begun - start, prepared - begun, inferred - prepared, done - inferred


def _in_callback(
    stages: Stages, frames: Sequence[Any], start: int, dues: Sequence[int]
) -> tuple[list[FrameTimes], list[int]]:
    """Everything in the camera's callback: what comes due meanwhile is dropped, but for the newest."""
    taken: list[FrameTimes] = []
    shown: list[int] = []
    number = 0
    while number < len(dues):
        wait_until(start + dues[number])
        taken.append(_answer(stages, frames[number % len(frames)], number, start))
        now = _clock() - start
        shown.append(now)
        number += 1
        while number + 1 < len(dues) and dues[number + 1] <= now:
            number += 1
    return taken, shown


def _threaded(
    stages: Stages, frames: Sequence[Any], start: int, dues: Sequence[int]
) -> tuple[list[FrameTimes], list[int]]:
    """The camera shows each frame when it is due and leaves it in a slot; a thread answers the newest."""
    taken: list[FrameTimes] = []
    slot = _Slot()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while (number := slot.take()) is not None:
                taken.append(_answer(stages, frames[number % len(frames)], number, start))
        except BaseException as error:  # raised again where it can be seen
            errors.append(error)

    worker = threading.Thread(target=work, name="inference", daemon=True)
    worker.start()
    shown: list[int] = []
    for number, due in enumerate(dues):
        wait_until(start + due)
        shown.append(_clock() - start)
        slot.put(number)
    slot.close()
    worker.join()
    if errors:
        raise errors[0]
    return taken, shown


class _Slot:
    """Room for one frame: a newer one takes its place."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._number: int | None = None
        self._open = True

    def put(self, number: int) -> None:
        with self._changed:
            self._number = number
            self._changed.notify()

    def take(self) -> int | None:
        """The newest frame, once there is one; None when the camera has stopped and nothing is left."""
        with self._changed:
            while self._number is None and self._open:
                self._changed.wait()
            number, self._number = self._number, None
            return number

    def close(self) -> None:
        with self._changed:
            self._open = False
            self._changed.notify()

"""The camera keeps its pace, and a planted delay is in the stage that it was planted in, to the full."""

from __future__ import annotations

import gc
import sys
import threading
import time
from statistics import median
from typing import Any

import pytest

from suite import frames
from suite.runtimes import camera

FPS = 30.0
PERIOD_MS = 1000 / FPS
STAGES = ("preprocess", "infer", "postprocess")


def sleeper(seconds: float, seen: list[float]) -> camera.Stage:
    """Sleeps for at least so long, and notes how long it was by its own clock."""

    def stage(value: Any) -> Any:
        start = time.perf_counter_ns()
        time.sleep(seconds)
        seen.append((time.perf_counter_ns() - start) / 1e6)
        return value

    return stage


def planted(**seconds: float) -> tuple[camera.Stages, dict[str, list[float]]]:
    seen: dict[str, list[float]] = {name: [] for name in STAGES}
    made = [sleeper(seconds.get(name, 0.0), seen[name]) for name in STAGES]
    return camera.Stages(*made), seen


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("where", STAGES)
def test_a_planted_delay_shows_in_its_stage_and_in_no_other(where: str, threaded: bool) -> None:
    stages, seen = planted(**{where: 0.02})
    stream = camera.run(stages, ["frame"], fps=FPS, count=12, threaded=threaded)
    assert len(stream.taken) == len(seen[where])
    column = 2 + STAGES.index(where)
    # What was slept by the stage's own clock: a busy machine moves both alike, but for single samples.
    assert all(row[column] / 1e6 >= own for row, own in zip(stream.taken, seen[where], strict=True))
    summary = frames.summarise(stream)
    assert getattr(summary, f"{where}_ms") == pytest.approx(median(seen[where]), rel=0.1)
    assert all(getattr(summary, f"{name}_ms") < 10 for name in STAGES if name != where)


@pytest.mark.parametrize("threaded", [False, True])
def test_no_frame_is_answered_before_it_is_due_or_twice(threaded: bool) -> None:
    stages, _ = planted(infer=0.05)
    stream = camera.run(stages, ["a", "b"], fps=FPS, count=30, threaded=threaded)
    numbers = [row[0] for row in stream.taken]
    assert numbers == sorted(set(numbers))
    assert all(row[1] >= row[0] * 1e9 / FPS for row in stream.taken)
    assert set(numbers) <= set(range(30))


def test_a_model_slower_than_a_frame_holds_up_the_callback_and_not_the_picture() -> None:
    stages, seen = planted(infer=0.08)
    alone = frames.summarise(camera.run(stages, ["frame"], fps=FPS, count=60, threaded=False))
    own_fps = 1000 * len(seen["infer"]) / sum(seen["infer"])
    assert alone.displayed_fps == pytest.approx(alone.processed_fps, rel=0.01)
    assert alone.processed_fps == pytest.approx(own_fps, rel=0.3)
    assert alone.dropped > 30

    seen["infer"].clear()
    stream = camera.run(stages, ["frame"], fps=FPS, count=60, threaded=True)
    beside = frames.summarise(stream)
    own_fps = 1000 * len(seen["infer"]) / sum(seen["infer"])
    assert beside.displayed_fps == pytest.approx(FPS, rel=0.05)
    assert beside.processed_fps == pytest.approx(own_fps, rel=0.1)  # a wait for the next frame among it
    assert beside.latency_p95_ms is not None
    assert beside.latency_p95_ms < 2 * max(seen["infer"]) + PERIOD_MS
    assert beside.dropped == stream.offered - len(seen["infer"])
    assert beside.deadline_misses == beside.processed


def test_the_newest_frame_wins() -> None:
    """Frames that are answered are at most one period old when the inference begins."""
    stages, _ = planted(infer=0.1)
    stream = camera.run(stages, ["frame"], fps=FPS, count=45, threaded=True)
    waits = [row[1] / 1e6 - row[0] * PERIOD_MS for row in stream.taken]
    assert sorted(waits)[len(waits) // 2] < PERIOD_MS + 5


@pytest.mark.parametrize("threaded", [False, True])
def test_an_error_of_a_stage_comes_out_and_everything_is_as_before(threaded: bool) -> None:
    def fail(_: Any) -> Any:
        raise ValueError("planted")

    interval = sys.getswitchinterval()
    with pytest.raises(ValueError, match="planted"):
        camera.run(camera.Stages(fail, fail, fail), [0], fps=200.0, count=5, threaded=threaded)
    assert gc.isenabled()
    assert sys.getswitchinterval() == interval
    assert "inference" not in [thread.name for thread in threading.enumerate()]


def test_no_wait_for_what_is_due_already() -> None:
    start = time.perf_counter_ns()
    camera.wait_until(start - 1_000_000_000)
    assert time.perf_counter_ns() - start < 500_000_000
    due = time.perf_counter_ns() + 5_000_000
    camera.wait_until(due)
    assert time.perf_counter_ns() >= due

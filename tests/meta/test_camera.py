"""The camera keeps its pace, and a planted delay is in the stage that it was planted in, to the full.

Most of it on simulated time, in which nothing but what is planted takes any:
`python -m tests.bench camera` measures it on this machine's.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from suite import frames
from suite.runtimes import camera
from tests.meta.simulated import LEAST_NS, SimulatedTime, on_simulated_time

FPS = 30.0
PERIOD_MS = 1000 / FPS
STAGES = ("preprocess", "infer", "postprocess")


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> SimulatedTime:
    return on_simulated_time(camera, monkeypatch)


def planted(sleep: Callable[[float], None], **seconds: float) -> camera.Stages:
    """Stages of which some sleep."""

    def stage(name: str) -> camera.Stage:
        def sleeper(value: Any) -> Any:
            if name in seconds:
                sleep(seconds[name])
            return value

        return sleeper

    return camera.Stages(*map(stage, STAGES))


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("where", STAGES)
def test_a_planted_delay_shows_in_its_stage_and_in_no_other(
    where: str, threaded: bool, simulated: SimulatedTime
) -> None:
    stages = planted(simulated.sleep, **{where: 0.02})
    stream = camera.run(stages, ["frame"], fps=FPS, count=12, threaded=threaded)
    assert len(stream.taken) == 12
    summary = frames.summarise(stream)
    shown = {name: getattr(summary, f"{name}_ms") for name in STAGES}
    assert shown == {name: 20.0 if name == where else 0.0 for name in STAGES}
    assert summary.latency_p50_ms == pytest.approx(20, abs=0.02)


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("where", STAGES)
def test_on_this_machines_clock_no_delay_is_cut_short(where: str, threaded: bool) -> None:
    stages = planted(time.sleep, **{where: 0.02})
    stream = camera.run(stages, ["frame"], fps=FPS, count=6, threaded=threaded)
    assert stream.taken
    assert all(row[2 + STAGES.index(where)] >= 20_000_000 for row in stream.taken)


@pytest.mark.parametrize("threaded", [False, True])
def test_no_frame_is_answered_before_it_is_due_or_twice(threaded: bool) -> None:
    stages = planted(time.sleep, infer=0.05)
    stream = camera.run(stages, ["a", "b"], fps=FPS, count=30, threaded=threaded)
    numbers = [row[0] for row in stream.taken]
    assert numbers == sorted(set(numbers))
    assert all(row[1] > row[0] * 1e9 / FPS - 1 for row in stream.taken)
    assert set(numbers) <= set(range(30))


def test_a_model_slower_than_a_frame_holds_up_the_callback_and_not_the_picture(
    simulated: SimulatedTime,
) -> None:
    stages = planted(simulated.sleep, infer=0.08)
    alone = frames.summarise(camera.run(stages, ["frame"], fps=FPS, count=60, threaded=False))
    assert alone.displayed_fps == alone.processed_fps == pytest.approx(12.5, rel=0.05)
    assert alone.dropped == 60 - alone.processed

    stream = camera.run(stages, ["frame"], fps=FPS, count=60, threaded=True)
    beside = frames.summarise(stream)
    assert beside.displayed_fps == pytest.approx(FPS, rel=0.02)
    assert beside.processed_fps == pytest.approx(12.5, rel=0.05)
    assert beside.latency_p95_ms is not None
    assert 80 <= beside.latency_p95_ms <= 80 + PERIOD_MS
    assert beside.jitter_ms == pytest.approx(0, abs=0.02)
    assert beside.dropped == 60 - beside.processed
    assert beside.deadline_misses == beside.processed


def test_the_newest_frame_wins(simulated: SimulatedTime) -> None:
    """Frames that are answered are at most one period old when the inference begins."""
    stages = planted(simulated.sleep, infer=0.1)
    stream = camera.run(stages, ["frame"], fps=FPS, count=45, threaded=True)
    waits = [row[1] - row[0] * 1e9 / FPS for row in stream.taken]
    assert len(waits) > 10
    assert max(waits) <= PERIOD_MS * 1e6 + 2 * LEAST_NS


@pytest.mark.parametrize("fps", [FPS, 60.0, 100.0])
def test_the_camera_itself_is_never_late(fps: float, simulated: SimulatedTime) -> None:
    stages = planted(simulated.sleep, infer=0.25)
    shown = camera.run(stages, ["frame"], fps=fps, count=50, threaded=True).shown_ns
    late = [at - number * 1e9 / fps for number, at in enumerate(shown)]
    assert min(late) > -1  # dues are whole nanoseconds
    assert max(late) <= 2 * LEAST_NS


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

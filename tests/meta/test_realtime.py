"""A real artifact behind a camera, in a process of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suite import benchmark, frames, realtime
from suite.errors import StagedError
from suite.record import Status
from suite.record.camera import RealTime, Stream
from suite.runtimes.base import CameraPlan, CameraUse
from suite.spec import ImageInput
from tests.meta.conftest import Subject

IMAGE = ImageInput(height=16, width=16, preprocessing="unit")
PHOTOS = list(np.random.default_rng(0).integers(0, 255, (2, 24, 32, 3), np.uint8))


@pytest.fixture(scope="module", params=["float32", "int8_io"])
def seen(request: pytest.FixtureRequest, classifier: Subject) -> RealTime:
    frames_ = realtime.camera_frames(PHOTOS)
    plan = replace(realtime.PLAN, seconds=0.5)
    path = classifier.artifact(request.param)
    return realtime.measure("litert-xnnpack", path, frames_, IMAGE, threads=1, plan=plan)


def test_both_schemes_of_a_quick_model_answer_frames_of_a_camera(seen: RealTime) -> None:
    assert [scheme.threaded for scheme in seen.schemes] == [False, True]
    assert seen.frame == "480x640x3"
    for scheme in seen.schemes:
        summary = frames.summarise(scheme)
        assert summary.offered == 15
        assert summary.processed + summary.dropped == 15
        assert all(stage > 0 for row in scheme.taken for stage in row[2:])
        assert summary.infer_ms is not None
        assert summary.preprocess_ms is not None
        assert summary.preprocess_ms > summary.infer_ms  # 640 x 480 to 16 x 16, and a tiny net
        assert summary.cpu_percent > 0


def test_memory_is_told_by_phase(seen: RealTime) -> None:
    assert list(seen.phases) == [
        "load",
        "first",
        "real time, in the callback",
        "real time, with threads",
    ]
    assert seen.peak_bytes is not None
    assert all(phase.resident_bytes <= seen.peak_bytes for phase in seen.phases.values())
    assert all(phase.unique_bytes is not None for phase in seen.phases.values())


def test_frames_are_of_a_cameras_size_and_not_squashed() -> None:
    wide = np.zeros((100, 400, 3), np.uint8)
    wide[:, 140:260] = 255  # what a 4:3 cut of the middle holds, nearly
    (frame,) = realtime.camera_frames([wide])
    assert frame.shape == (480, 640, 3)
    assert frame[:, 100:540].min() == 255


def test_a_model_of_two_inputs_is_skipped_with_the_reason(two_headed: Subject) -> None:
    with pytest.raises(StagedError, match="takes 2 inputs, and a camera gives one") as caught:
        realtime.measure(
            "litert-xnnpack", two_headed.artifact("float32"), [np.zeros((8, 8, 3))], None, threads=1
        )
    assert caught.value.status is Status.SKIPPED


def test_a_slow_model_is_looked_at_for_longer_and_no_longer_than_the_cap() -> None:
    plan = CameraPlan(fps=30, seconds=1, inferences=4, max_seconds=6)
    assert [plan.count(seconds) for seconds in (0.001, 0.5, 60)] == [30, 60, 180]


def _use(kept: int, phases: int) -> CameraUse:
    """A quick look at 30 frames, of which so many are answered in the callback, and all with threads."""
    taken = tuple((k, k, 1, 1, 1) for k in range(kept))
    alone, beside = (
        Stream(
            threaded=threaded,
            fps=30.0,
            offered=30,
            taken=taken,
            shown_ns=tuple(range(30)),
            wall_ns=10**9,
            cpu_ns=0,
        )
        for threaded in (False, True)
    )
    told = dict.fromkeys(("load", "first", "real time, with threads"), (phases, None))
    return CameraUse(
        streams=(alone, beside), baseline_bytes=0, baseline_unique_bytes=None, peak_bytes=9, phases=told
    )


@pytest.mark.parametrize(("kept", "looks"), [(30, 1), (29, 2), (24, 2), (23, 1), (2, 1), (0, 1)])
def test_a_close_call_is_looked_at_again_for_longer(kept: int, looks: int) -> None:
    seconds: list[float] = []

    def look(plan: CameraPlan) -> CameraUse:
        seconds.append(plan.seconds)
        return _use(kept, len(seconds))

    use = realtime.decided(look)
    assert seconds == [1.0, 5.0][:looks]
    assert use.phases["real time, with threads"] == (looks, None)
    assert use.phases["first"] == use.phases["load"] == (1, None)


def test_a_long_look_is_no_close_call() -> None:
    seconds: list[float] = []

    def look(plan: CameraPlan) -> CameraUse:
        seconds.append(plan.seconds)
        return _use(29, 1)

    realtime.decided(look, replace(realtime.PLAN, seconds=8.0))
    assert seconds == [8.0]


def test_sustained_runs_on_the_real_runtime(classifier: Subject) -> None:
    found = benchmark.measure_sustained(
        "litert-xnnpack",
        classifier.artifact("float32"),
        {"input": np.zeros((1, 16, 16, 3), np.float32)},
        threads=1,
        minutes=0.005,
        window_seconds=0.1,
    )
    assert len(found.inferences) >= 2
    assert min(found.inferences) >= 1

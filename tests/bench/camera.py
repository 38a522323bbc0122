"""The camera's own pace, and a model slower than a frame behind it, on this machine."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import suite
from suite import frames, realtime
from suite.runtimes import camera
from suite.spec import ImageInput
from tests.bench.figures import held

SLEEP = 0.08  # planted, longer than two frames


def _nothing(value: Any) -> Any:
    return value


def main(profile: str) -> bool:
    """Pacing without a model, a planted delay in its stage, and a slow real model with threads."""
    idle = camera.Stages(_nothing, _nothing, _nothing)
    pacing = [
        frames.summarise(camera.run(idle, [0], fps=30.0, count=150, threaded=threaded)).pacing_p95_ms
        for threaded in (False, True)
    ]
    planted = camera.Stages(_nothing, lambda value: time.sleep(SLEEP), _nothing)
    slept = frames.summarise(camera.run(planted, [0], fps=30.0, count=90, threaded=True))
    return all(
        (
            held("camera's own jitter, p95, in the callback", pacing[0] or 99, 1.0, "ms"),
            held("camera's own jitter, p95, with threads", pacing[1] or 99, 1.0, "ms"),
            held("|infer stage - planted sleep|", abs((slept.infer_ms or 0) - 1e3 * SLEEP), 1.0, "ms"),
            _slow_model(),
        )
    )


def _slow_model() -> bool:
    """A net slower than a frame: the picture stays whole, and answers come as fast as they can."""
    path = suite.convert("inception_v3", "float32")
    image = ImageInput(height=299, width=299, preprocessing="tf")
    photos = np.random.default_rng(0).integers(0, 255, (2, 240, 320, 3), np.uint8)
    seen = realtime.measure("litert-xnnpack", path, realtime.camera_frames(list(photos)), image, threads=1)
    beside = frames.summarise(next(scheme for scheme in seen.schemes if scheme.threaded))
    stages = [beside.preprocess_ms or 0, beside.infer_ms or 0, beside.postprocess_ms or 0]
    own = 1000 / sum(stages)
    bound = 2 * sum(stages) + 1000 / 30
    print(f"       {frames.sentence(seen)}; processed {beside.processed_fps:.2f}, own {own:.2f} fps")
    return all(
        (
            held("30 - displayed fps, with threads", 30 - beside.displayed_fps, 0.5, "fps"),
            held("|processed fps / own - 1|, with threads", abs(beside.processed_fps / own - 1), 0.05, ""),
            held("latency p95, with threads", beside.latency_p95_ms or 1e9, bound, "ms"),
        )
    )

"""Whether a model keeps up with a camera; on a phone the runner in C follows the same definitions.

Camera: frame k is due at t0 + k / fps, k = 0 .. n - 1, and the camera never
waits for anyone. A frame is a photo of 640 x 480 pixels (what CameraX gives an
analyser unless asked otherwise), uint8 RGB, in memory before the run.

Stages, timed apart on a monotonic clock: preprocess (photo to the input tensor,
set), infer (the runtime's invoke), postprocess (outputs fetched, dequantised,
five best found).

Two schemes over the same frames:
  in the callback  The camera's thread does all three stages and then shows the
                   frame. Frames that come due meanwhile are dropped, but for the
                   newest, which is taken at once.
  with threads     The camera's thread shows each frame when it is due and puts it
                   into a slot for one; a newer frame takes the place of one not
                   yet taken, which is dropped. A second thread takes the newest
                   frame, does the three stages, and takes the next.

Raw times: of each answered frame its number, when its first stage began (after
t0) and how long each stage took; of each shown frame when it was shown (after t0).

Derived (suite/frames.py), with T = 1 / fps and the window max(n T, end of the last
answer or picture):
  displayed fps     shown frames / window
  processed fps     answered frames / window
  dropped           offered - answered
  latency           end of postprocess - when the frame was due: p50, p95
  deadline miss     an answered frame whose latency exceeds T
  jitter            p95 of |time between two pictures - T|
  pacing            p95 of how late the camera's thread was where nothing kept it busy
  verdict           "yes": in the callback, processed fps >= 0.95 fps; else "with
                    threads": displayed fps >= 0.95 fps and at least one answer a
                    second; else "no"
  doubt             contaminated where other processes took more than a tenth of the
                    machine; unstable where pacing exceeds a tenth of T
Where a look of a second loses some frames, but so few that a hiccup may have cost
them, a second and longer one counts in its place.
CPU is the process's CPU time over the wall time of a scheme; 100 % is one core.
Memory is read between the schemes, never within one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from suite import runtimes
from suite.frames import close_call
from suite.record.camera import RealTime
from suite.record.costs import MemoryPhase
from suite.runtimes.base import CameraPlan, CameraUse
from suite.runtimes.worker import Worker
from suite.spec import Array, ImageInput

FPS = 30.0
FRAME = (480, 640)  # height, width
FRAMES = 8  # different ones, shown over and over
_HERE = {"gpu": "the engine runs on the CPU", "thermal": "the machine is not a battery's"}
PLAN = CameraPlan(fps=FPS, seconds=1.0, inferences=4, max_seconds=6.0)
LONGER_SECONDS = 5.0  # where the first look is a close call


def measure(
    engine: str,
    path: Path,
    frames: Sequence[Array],
    image: ImageInput | None,
    *,
    threads: int,
    plan: CameraPlan = PLAN,
    worker: Worker | None = None,
) -> RealTime:
    """Run both schemes on the real runtime, in a `worker` that has held nothing yet, or in one of its own.

    `frames`: uint8 RGB photos for an `image` contract, or samples as the model
    takes them where there is none.
    """
    with runtimes.open_session(engine, path, threads=threads, worker=worker) as session:
        use = decided(lambda plan: session.realtime(list(frames), image, plan), plan)
        seen = recorded(use, frames[0], threads, plan)
    return replace(seen, reasons=_HERE)


def decided(look: Callable[[CameraPlan], CameraUse], plan: CameraPlan = PLAN) -> CameraUse:
    """Both schemes as `look` sees them; a longer look in place of one that is a close call."""
    use = look(plan)
    longer = max(plan.seconds, LONGER_SECONDS)
    if plan.seconds == longer or not any(map(close_call, use.streams)):
        return use
    again = look(replace(plan, seconds=longer, max_seconds=max(plan.max_seconds, longer)))
    return replace(again, phases={**again.phases, **_before_the_camera(use)})


def _before_the_camera(use: CameraUse) -> dict[str, tuple[int, int | None]]:
    return {name: phase for name, phase in use.phases.items() if name in ("load", "first")}


def recorded(use: CameraUse, frame: Array, threads: int, plan: CameraPlan = PLAN) -> RealTime:
    """What a session saw of frames like `frame`, wherever it ran."""
    return RealTime(
        fps=plan.fps,
        threads=threads,
        frame="x".join(str(size) for size in np.shape(frame)),
        schemes=use.streams,
        peak_bytes=use.peak_bytes - use.baseline_bytes,
        phases={
            name: MemoryPhase(
                resident_bytes=resident - use.baseline_bytes,
                unique_bytes=None
                if unique is None or use.baseline_unique_bytes is None
                else unique - use.baseline_unique_bytes,
            )
            for name, (resident, unique) in use.phases.items()
        },
    )


def camera_frames(photos: Sequence[npt.NDArray[np.uint8]]) -> list[Array]:
    """Photos as a camera would give them: FRAME pixels, cut to its shape rather than squashed."""
    from PIL import Image

    from suite.preprocess import centre_crop

    height, width = FRAME
    return [
        np.asarray(
            Image.fromarray(centre_crop(photo, height, width)).resize(
                (width, height), Image.Resampling.BILINEAR
            )
        )
        for photo in photos
    ]

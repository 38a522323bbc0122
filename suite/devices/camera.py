"""A camera on a phone: what the runner is told of it, and what it saw. Definitions: suite/realtime.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from suite.devices.answers import Scheme, Shown, others_ns, shown
from suite.errors import CaseError
from suite.preprocess import crop_box
from suite.record import Stage
from suite.record.camera import Stream
from suite.runtimes.base import CameraPlan, CameraUse, TensorInfo, quantise
from suite.spec import Array, ImageInput, Resize


def frame_bytes(frames: Sequence[Array], image: ImageInput | None, info: TensorInfo) -> list[bytes]:
    """Frames as the runner reads them: photos as they are, samples as the artifact takes them."""
    if image is not None:
        return [np.ascontiguousarray(frame, np.uint8).tobytes() for frame in frames]
    found = [quantise(np.asarray(frame)[np.newaxis], info) for frame in frames]
    for sample in found:
        if (sample.shape, sample.dtype.name) != (info.shape, info.dtype):
            raise CaseError(
                f"the artifact's input {info.name} takes {info.dtype} {info.shape}, "
                f"found {sample.dtype} {sample.shape}",
                stage=Stage.RUN,
            )
    return [np.ascontiguousarray(sample).tobytes() for sample in found]


def words(image: ImageInput | None, frame: tuple[int, ...], plan: CameraPlan) -> dict[str, Any]:
    """The plan and the image contract in the runner's words; `frame` is (height, width, 3) of the camera."""
    asked = {
        "fps": round(plan.fps),
        "least_ms": round(plan.seconds * 1000),
        "inferences": plan.inferences,
        "most_ms": round(plan.max_seconds * 1000),
    }
    if image is None:
        return asked
    height, width = frame[:2]
    cut = image.resize is Resize.CENTRE_CROP
    top, left, box_height, box_width = (
        crop_box(height, width, image.height, image.width) if cut else (0, 0, height, width)
    )
    mode = image.mode
    return asked | {
        "frame_height": height,
        "frame_width": width,
        "box_top": top,
        "box_left": left,
        "box_height": box_height,
        "box_width": box_width,
        "height": image.height,
        "width": image.width,
        "channels": image.channels,
        "filter": image.interpolation,
        "order": mode.channel_order,
        "scale": ",".join(f"{value:.9g}" for value in mode.scale),
        "bias": ",".join(f"{value:.9g}" for value in mode.bias),
    }


def use(seen: Shown, where: str) -> CameraUse:
    """What the runner saw; StagedError where the phone does not show the memory of a process."""
    phases = {
        "load": (shown(seen, "loaded_bytes", where), seen.loaded_unique_bytes),
        "first": (shown(seen, "first_resident_bytes", where), seen.first_unique_bytes),
    }
    for scheme in seen.schemes:
        phase = "real time, with threads" if scheme.threaded else "real time, in the callback"
        phases[phase] = shown(scheme, "resident_bytes", where), scheme.unique_bytes
    return CameraUse(
        streams=tuple(map(_stream, seen.schemes)),
        baseline_bytes=shown(seen, "baseline_bytes", where),
        baseline_unique_bytes=seen.baseline_unique_bytes,
        peak_bytes=shown(seen, "peak_bytes", where),
        phases=phases,
    )


def _stream(scheme: Scheme) -> Stream:
    return Stream(
        threaded=scheme.threaded,
        fps=float(scheme.fps),
        offered=scheme.offered,
        taken=scheme.taken,
        shown_ns=scheme.shown_ns,
        wall_ns=scheme.wall_ns,
        cpu_ns=scheme.cpu_ns,
        others_cpu_ns=others_ns(scheme),
        cores=scheme.cores,
    )

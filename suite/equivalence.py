"""Proof that a planted fault cannot change an answer, whatever the input; equal bits on some are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from suite.converters.flatbuffer import Flatbuffer
from suite.faults import Fault
from suite.preprocess import preprocess
from suite.spec import Array, ImageInput

_NONE, _RELU, _RELU6 = 0, 1, 3
_BOUNDS = {_NONE: (-np.inf, np.inf), _RELU: (0.0, np.inf), _RELU6: (0.0, 6.0)}
_HOLDS = {9: (-128, 127), 7: (-32768, 32767)}  # int8, int16


def proof(fault: Fault, image: ImageInput | None, faulty: Path, good: Path) -> str:
    """Why a fault is without effect, in a sentence; empty where that is not proven."""
    if fault.prepare is not None and faulty == good:
        return _prepared_alike(fault, image) if image is not None else ""
    if good.suffix == ".tflite" and faulty != good and fault.alter is not None:
        return _bounds_out_of_reach(good.read_bytes(), faulty.read_bytes())
    return ""


def _prepared_alike(fault: Fault, image: ImageInput) -> str:
    """Preparing is geometry, then one step for each pixel: a photo with all values tells for all photos."""
    assert fault.prepare is not None
    height, width = image.height + 7, 2 * image.width + 3  # of another shape and size
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    photos = [noise, _every_value(image)]
    alike = all(
        fault.prepare([photo], image).tobytes() == preprocess([photo], image).tobytes() for photo in photos
    )
    what = "photos with every value in every channel, and of another shape, are prepared alike to the bit"
    return what if alike else ""


def _every_value(image: ImageInput) -> Array:
    """A photo that needs no resizing: values 0..255 again and again, other ones in each channel."""
    count = image.height * image.width
    rows = [(np.arange(count) * step + step) % 256 for step in (1, 3, 7)]  # odd: each goes through all 256
    photo: Array = np.stack(rows, axis=-1).astype(np.uint8).reshape(image.height, image.width, 3)
    return photo


def _bounds_out_of_reach(good: bytes, faulty: bytes) -> str:
    """The files differ in activations alone, where the tensor's integers cannot reach beyond their bounds."""
    before, after = Flatbuffer(good), Flatbuffer(faulty)
    changed = []
    for old, new in zip(before.graph.operators, after.graph.operators, strict=False):
        kinds = _activation(old), _activation(new)
        if kinds[0] == kinds[1] or None in kinds:
            continue
        if not _indifferent(before, old, kinds):
            return ""
        changed.append(int(old.outputs[0]))
        new.builtinOptions.fusedActivationFunction = kinds[0]
    if not changed or after.pack() != before.pack():  # something else differs too
        return ""
    names = ", ".join((before.tensor(index).name or b"").decode(errors="replace") for index in changed[:3])
    return f"the integers of the {len(changed)} tensors concerned ({names}) hold nothing beyond the bound"


def _indifferent(model: Flatbuffer, operator: Any, kinds: tuple[Any, Any]) -> bool:
    """Whether both activations let through the same of what an operator's answer can hold."""
    index = int(operator.outputs[0])
    tensor, scales = model.tensor(index), model.scales(index)
    if tensor.type not in _HOLDS or scales.size != 1 or not set(kinds) <= set(_BOUNDS):
        return False
    points = tensor.quantization.zeroPoint
    point = int(points[0]) if points is not None and len(points) else 0
    ends = [
        np.clip(np.rint(np.array(_BOUNDS[kind]) / scales[0]) + point, *_HOLDS[tensor.type]) for kind in kinds
    ]
    return bool(np.array_equal(*ends))  # as kernels clamp: in integers


def _activation(operator: Any) -> int | None:
    return getattr(operator.builtinOptions, "fusedActivationFunction", None)

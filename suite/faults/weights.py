"""Faults of the weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.converters.flatbuffer import Flatbuffer
from suite.faults.sites import Inapplicable, middle


def layer_transposed(model: Flatbuffer) -> None:
    """One layer's kernel has height and width exchanged, as between two frameworks' layouts."""
    square = [
        op for op in model.layers() if len(shape := model.tensor(op.inputs[1]).shape) == 4 and shape[1] > 1
    ]
    index = middle(square, "spatial kernel").inputs[1]
    model.put(index, model.constant(index).swapaxes(1, 2))


def layer_zeroed(model: Flatbuffer) -> None:
    """One layer's weights were never loaded."""
    index = middle(model.layers(), "layer").inputs[1]
    model.put(index, np.zeros_like(model.constant(index)))


def bias_dropped(model: Flatbuffer) -> None:
    """The bias of one layer was lost."""
    own = [op for op in model.layers() if len(op.inputs) > 2 and op.inputs[2] >= 0]
    own = [op for op in own if model.constant(op.inputs[2]).any()]
    index = middle(own, "bias").inputs[2]
    model.put(index, np.zeros_like(model.constant(index)))


def channel_scale_wrong(model: Flatbuffer) -> None:
    """One output channel of one layer is twice as large, as after a wrong per-channel scale."""
    operator = middle(model.layers(), "layer")
    index = operator.inputs[1]
    values = model.constant(index)
    axis = 3 if model.name(operator) == "DEPTHWISE_CONV_2D" else 0
    size = np.abs(np.moveaxis(values, axis, 0).astype(np.float64)).reshape(values.shape[axis], -1).sum(1)
    channel = int(size.argmax())
    if model.quantised(index):
        scales = model.scales(index)
        scales[channel % len(scales)] *= 2
        model.tensor(index).quantization.scale = scales
        return
    np.moveaxis(values, axis, 0)[channel] *= 2
    model.put(index, values)


def low_bits_flipped(model: Flatbuffer) -> None:
    """The low bits of every weight are wrong: half of a float32's mantissa, one bit of an int8."""
    for operator in _some_layers(model):
        values = model.constant(operator.inputs[1])
        if values.dtype == np.float32:
            model.put(operator.inputs[1], (values.view(np.uint32) ^ np.uint32(0xFFF)).view(np.float32))
        elif values.dtype == np.int8:
            model.put(operator.inputs[1], values ^ np.int8(1))
        else:
            raise Inapplicable(f"weights are {values.dtype}")


def other_checkpoint(model: Flatbuffer) -> None:
    """The weights are of another checkpoint: each differs by a tenth of its layer's deviation."""
    random = np.random.default_rng(0)
    for operator in _some_layers(model):
        values = model.constant(operator.inputs[1])
        noise = random.normal(0, 0.1 * float(values.astype(np.float64).std()), values.shape)
        moved = values + noise
        if values.dtype == np.int8:
            moved = np.clip(np.rint(moved), -127, 127)
        model.put(operator.inputs[1], moved)


def _some_layers(model: Flatbuffer) -> list[Any]:
    """All layers whose weights are plain numbers; Inapplicable where there is none."""
    middle(model.layers(), "layer whose weights are plain numbers")
    return model.layers()


FAULTS = (
    layer_transposed,
    layer_zeroed,
    bias_dropped,
    channel_scale_wrong,
    low_bits_flipped,
    other_checkpoint,
)

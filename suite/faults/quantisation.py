"""Faults of the quantisation; all in files whose activations are int8."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.converters.flatbuffer import Flatbuffer
from suite.faults import app
from suite.faults.sites import Inapplicable, middle
from suite.preprocess import preprocess
from suite.spec import FloatArray, ImageInput

CALIBRATED_ON = 32  # samples


def zero_point_off_by_one(model: Flatbuffer) -> None:
    """Each layer takes its input's zero point to be one more than it is."""
    for operator in _layers(model):
        weights, bias = model.constant(operator.inputs[1]), model.constant(operator.inputs[2])
        axis = 3 if model.name(operator) == "DEPTHWISE_CONV_2D" else 0
        sums = np.moveaxis(weights, axis, 0).astype(np.int64).reshape(weights.shape[axis], -1).sum(1)
        model.put(operator.inputs[2], bias - sums)


def input_scale_wrong(model: Flatbuffer) -> None:
    """The first layer's input is read at half of its scale, as after an 8-bit image of another range."""
    operator = _layers(model)[0]
    model.tensor(operator.inputs[1]).quantization.scale = model.scales(operator.inputs[1]) / 2


def range_clipped(model: Flatbuffer) -> None:
    """The calibrated range of one layer's activations holds an eighth of what they reach."""
    layers = _layers(model)
    inputs = [int(op.inputs[0]) for op in model.graph.operators if len(op.inputs)]
    hidden = [op for op in layers[1:] if inputs.count(int(op.inputs[0])) == 1 and _made_by_layer(model, op)]
    operator = middle(hidden, "layer that reads another one's answer alone")
    tensor, bias = model.tensor(operator.inputs[0]), operator.inputs[2]
    tensor.quantization.scale = model.scales(operator.inputs[0]) / 8
    model.put(bias, np.clip(model.constant(bias).astype(np.int64) * 8, -(2**31), 2**31 - 1))
    model.tensor(bias).quantization.scale = model.scales(bias) / 8


def per_tensor_weights(model: Flatbuffer) -> None:
    """Every layer's weights share one scale, where each channel had its own."""
    changed = False
    for operator in _layers(model):
        weights, bias = operator.inputs[1], operator.inputs[2]
        scales = model.scales(weights)
        if len(scales) < 2 or np.ptp(scales) == 0:
            continue
        axis = 3 if model.name(operator) == "DEPTHWISE_CONV_2D" else 0
        ratio = scales / scales.max()
        moved = np.moveaxis(model.constant(weights).astype(np.float64), axis, -1) * ratio
        model.put(weights, np.rint(np.moveaxis(moved, -1, axis)))
        model.tensor(weights).quantization.scale = np.full_like(scales, scales.max())
        model.put(bias, np.rint(model.constant(bias) * ratio))
        model.tensor(bias).quantization.scale = model.scales(bias) / ratio
        changed = True
    if not changed:
        raise Inapplicable("no layer has a scale for each channel")


def calibrated_on_noise(photos: Any, image: ImageInput) -> FloatArray:
    """The ranges of activations come from noise."""
    shape = (CALIBRATED_ON, image.height, image.width, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return preprocess(noise, image)


def calibrated_on_zeros(photos: Any, image: ImageInput) -> FloatArray:
    """The ranges of activations come from an empty tensor, as where the samples were never filled in."""
    return np.zeros((1, *image.shape), np.float32)


def calibrated_on_bgr(photos: Any, image: ImageInput) -> FloatArray:
    """The ranges of activations come from photos with red and blue exchanged."""
    return app.channels_exchanged(photos, image)


def calibrated_on_unscaled(photos: Any, image: ImageInput) -> FloatArray:
    """The ranges of activations come from pixels that were not scaled as the model takes them."""
    if set(image.mode.scale) == {1.0} and not any(image.mode.bias):
        raise Inapplicable("the model takes pixels as they are: there is no scaling that could be missing")
    return app.scaling_missing(photos, image)


def _layers(model: Flatbuffer) -> list[Any]:
    found = [
        op
        for op in model.layers()
        if model.quantised(op.inputs[0]) and len(op.inputs) > 2 and op.inputs[2] >= 0
    ]
    if not found:
        raise Inapplicable("the file's activations are not int8")
    return found


def _made_by_layer(model: Flatbuffer, operator: Any) -> bool:
    return any(op.outputs[0] == operator.inputs[0] for op in model.layers())


FAULTS = (zero_point_off_by_one, input_scale_wrong, range_clipped, per_tensor_weights)
CALIBRATIONS = (calibrated_on_noise, calibrated_on_zeros, calibrated_on_bgr, calibrated_on_unscaled)

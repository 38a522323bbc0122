"""Faults of folding a batch normalisation into the layer before it.

A converted file has no batch normalisation any more: it is part of the weights
and bias of a convolution, which is known again by its bias,
`beta - mean * gamma / sqrt(variance + epsilon)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from suite.card import Norm
from suite.converters.flatbuffer import Flatbuffer
from suite.faults.sites import Inapplicable, middle
from suite.spec import Array

_KERAS, _TORCH = 1e-3, 1e-5  # what each framework adds to the variance, unless told
_STEPS = 2  # of a quantised bias, between what is expected and what is there


def epsilon_wrong(model: Flatbuffer, norms: Sequence[Norm]) -> None:
    """Every batch normalisation was folded with another framework's epsilon."""
    for operator, norm in _need(model, norms):
        epsilon = _TORCH if norm.epsilon >= _KERAS / 2 else _KERAS
        ratio = np.sqrt((norm.variance + norm.epsilon) / (norm.variance + epsilon))
        _fold(model, operator, ratio, norm.beta - norm.mean * factor(norm) * ratio)


def folded_twice(model: Flatbuffer, norms: Sequence[Norm]) -> None:
    """One batch normalisation was folded into its layer, and then once more."""
    operator, norm = middle(list(_need(model, norms)), "folded batch normalisation")
    _fold(model, operator, factor(norm), (_bias(model, operator) - norm.mean) * factor(norm) + norm.beta)


def factor(norm: Norm) -> Array:
    """What a batch normalisation multiplies each channel with."""
    return np.asarray(norm.gamma / np.sqrt(norm.variance + norm.epsilon))


def _need(model: Flatbuffer, norms: Sequence[Norm]) -> Iterator[tuple[Any, Norm]]:
    found = list(_folded(model, norms))
    if not found:
        raise Inapplicable("no layer of the file has a batch normalisation folded into it")
    yield from found


def _folded(model: Flatbuffer, norms: Sequence[Norm]) -> Iterator[tuple[Any, Norm]]:
    """Layers, each with the batch normalisation that its bias is made of."""
    for operator in model.layers():
        if len(operator.inputs) < 3 or operator.inputs[2] < 0 or model.values(operator.inputs[2]) is None:
            continue
        bias, step = _bias(model, operator), _step(model, operator.inputs[2])
        scales = model.scales(operator.inputs[1])
        if len(scales) > 1 and len(scales) != len(bias):
            continue
        for norm in norms:
            expected: Array = norm.beta - norm.mean * factor(norm)
            if len(expected) == len(bias) and np.allclose(
                bias, expected, rtol=1e-3, atol=max(1e-4 * float(np.abs(expected).max()), _STEPS * step)
            ):
                yield operator, norm
                break


def _step(model: Flatbuffer, index: int) -> float:
    scales = model.scales(index)
    return float(scales.max()) if scales.size else 0.0


def _bias(model: Flatbuffer, operator: Any) -> Array:
    """(channels,) reals."""
    values = model.constant(operator.inputs[2]).astype(np.float64)
    scales = model.scales(operator.inputs[2])
    return values * scales if scales.size else values


def _fold(model: Flatbuffer, operator: Any, factor: Array, bias: Array) -> None:
    """Multiply each output channel by its factor, and set the bias, (channels,) reals."""
    weights, place = int(operator.inputs[1]), int(operator.inputs[2])
    axis = 3 if model.name(operator) == "DEPTHWISE_CONV_2D" else 0
    values = np.moveaxis(model.constant(weights), axis, -1)
    if (scales := model.scales(weights)).size:
        # A scale is positive: the sign goes to the integers, the size to the scales.
        model.put(weights, np.moveaxis(values * np.sign(factor), -1, axis))
        model.tensor(weights).quantization.scale = (scales * np.abs(factor)).astype(np.float32)
        model.tensor(weights).quantization.zeroPoint = np.zeros(len(factor), np.int64)
        model.tensor(weights).quantization.quantizedDimension = axis
    else:
        model.put(weights, np.moveaxis(values * factor, -1, axis))
    if (steps := model.scales(place)).size:
        steps = (steps * np.abs(factor)).astype(np.float32)
        model.tensor(place).quantization.scale = steps
        model.tensor(place).quantization.zeroPoint = np.zeros(len(factor), np.int64)
        bias = np.clip(np.rint(bias / np.maximum(steps, 1e-30)), -(2**31), 2**31 - 1)
    model.put(place, bias)


FAULTS: tuple[Callable[[Flatbuffer, Sequence[Norm]], None], ...] = (epsilon_wrong, folded_twice)

"""The fault of padding on the wrong side."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.converters.flatbuffer import Flatbuffer
from suite.faults.sites import middle
from suite.spec import Array

_SAME, _VALID = 0, 1


def padding_on_the_other_side(model: Flatbuffer) -> None:
    """One layer of stride 2 pads before the image where it was trained with padding after it."""
    uneven = [op for op in model.operators("PAD") if _uneven(model.values(op.inputs[1]))]
    if uneven:
        sizes = middle(uneven, "uneven padding").inputs[1]
        model.put(sizes, model.constant(sizes)[:, ::-1])
        return
    odd = [op for op in model.layers() if (_totals(model, op) % 2).any()]
    _pad_before(model, middle(odd, "padding that is wider on one side"))


def _uneven(sizes: Array | None) -> bool:
    return sizes is not None and bool((sizes[:, 0] != sizes[:, 1]).any())


def _totals(model: Flatbuffer, operator: Any) -> Array:
    """Rows and columns that `same` adds, (2,); none elsewhere than in a convolution that pads."""
    options, kernel = operator.builtinOptions, model.tensor(operator.inputs[1]).shape
    if len(kernel) != 4 or options.padding != _SAME:
        return np.zeros(2, np.int64)
    image = np.array(model.tensor(operator.inputs[0]).shape[1:3], np.int64)
    stride = np.array([options.strideH, options.strideW])
    reach = (np.array(kernel[1:3]) - 1) * [options.dilationHFactor, options.dilationWFactor] + 1
    totals: Array = np.maximum((-(-image // stride) - 1) * stride + reach - image, 0)
    return totals


def _pad_before(model: Flatbuffer, operator: Any) -> None:
    totals = _totals(model, operator)
    sizes = np.zeros((4, 2), np.int32)
    sizes[1:3, 0], sizes[1:3, 1] = totals - totals // 2, totals // 2
    source = int(operator.inputs[0])
    shape = np.array(model.tensor(source).shape) + sizes.sum(1)
    padded = model.tensor_like(source, "padded", shape)
    made = model.operator("PAD", [source, model.constant_tensor("sizes", sizes)], [padded])
    made.builtinOptionsType = model.schema.BuiltinOptions.PadOptions
    made.builtinOptions = model.schema.PadOptionsT()
    model.graph.operators.insert(_place(model, operator), made)
    operator.inputs = np.array([padded, *operator.inputs[1:]], np.int32)
    operator.builtinOptions.padding = _VALID


def _place(model: Flatbuffer, operator: Any) -> int:
    return next(i for i, one in enumerate(model.graph.operators) if one is operator)


FAULTS = (padding_on_the_other_side,)

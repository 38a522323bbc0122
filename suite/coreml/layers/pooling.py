"""Pooling over windows and over everything."""

from __future__ import annotations

from typing import Any

from suite.coreml.layers.borders import borders3, padding
from suite.coreml.layers.registry import Layer, as_images, layer, operator
from suite.coreml.ops.registry import OpError, integers


@layer("pooling")
def _pooling(p: Any) -> Layer:
    name = ("max_pool", "avg_pool", "l2_pool")[p.type]
    if p.globalPooling:
        return as_images(_globally(p.type))
    kind = p.WhichOneof("PoolingPaddingType")
    more: dict[str, Any] = {"exclude_padding_from_average": p.avgPoolExcludePadding} if p.type == 1 else {}
    pad_type, pad = "custom", [0, 0, 0, 0]
    if kind == "includeLastPixel":
        amounts = integers(p.includeLastPixel.paddingAmounts) or [0, 0]
        if len(amounts) != 2:
            raise OpError(f"padding of {len(amounts)} axes")
        pad, more["ceil_mode"] = [amounts[0], amounts[0], amounts[1], amounts[1]], True
    else:
        pad_type, pad = padding(p, kind)
    kernel, strides = integers(p.kernelSize) or [3, 3], integers(p.stride) or None
    return as_images(lambda x: operator(name)(x, kernel, pad_type, strides, pad, **more))


def _globally(kind: int) -> Layer:
    """Global pooling: largest, mean, root of the sum of squares."""
    names = ("reduce_max", "reduce_mean", "reduce_l2_norm")
    return lambda x: operator(names[kind])(x, list(range(2, x.ndim)), True)


@layer("pooling3d")
def _pooling3d(p: Any) -> Layer:
    name = ("max_pool", "avg_pool")[p.type]
    more = {"exclude_padding_from_average": p.countExcludePadding} if p.type == 1 else {}
    names = {"VALID": "valid", "SAME": "same", "CUSTOM": "custom"}
    pad_type = names[p.Pooling3DPaddingType.Name(p.paddingType)]
    kernel = [int(p.kernelDepth), int(p.kernelHeight), int(p.kernelWidth)]
    strides = [int(p.strideDepth) or 1, int(p.strideHeight) or 1, int(p.strideWidth) or 1]
    return lambda x: operator(name)(x, kernel, pad_type, strides, borders3(p), **more)


@layer("globalPooling3d")
def _global_pooling3d(p: Any) -> Layer:
    return _globally(p.type)

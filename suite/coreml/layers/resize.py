"""Padding, cropping and resampling of images."""

from __future__ import annotations

from typing import Any

from suite.coreml.layers.borders import edges
from suite.coreml.layers.registry import Layer, layer, operator
from suite.coreml.ops.registry import OpError, integers
from suite.spec import Array


@layer("padding")
def _pad(p: Any) -> Layer:
    amounts, kind = edges(p.paddingAmounts), p.WhichOneof("PaddingType") or "constant"
    mode = {"constant": "constant", "reflection": "reflect", "replication": "replicate"}[kind]
    value = float(p.constant.value)
    return lambda x: operator("pad")(x, amounts, mode, value)


@layer("constantPad")
def _constant_pad(p: Any) -> Layer:
    amounts, value = integers(p.padAmounts), float(p.value)
    if p.padToGivenOutputSizeMode or not amounts:
        raise OpError("padding to a given size")
    return lambda x: operator("pad")(x, amounts, "constant", value)


@layer("crop")
def _crop(p: Any) -> Layer:
    amounts = edges(p.cropAmounts)
    offset = integers(p.offset) or [0, 0]

    def run(x: Array, *like: Array) -> Array:
        top, bottom, left, right = amounts
        if like:  # as large as the other, from the offset on
            (top, left), (height, width) = offset, like[0].shape[-2:]
            bottom, right = x.shape[-2] - top - height, x.shape[-1] - left - width
        answer: Array = operator("crop")(x, [top, bottom], [left, right])
        return answer

    return run


@layer("upsample")
def _upsample(p: Any) -> Layer:
    factors = [float(one) for one in p.fractionalScalingFactor] or [float(one) for one in p.scalingFactor]
    factors = factors or [1.0, 1.0]
    if len(factors) != 2:
        raise OpError(f"{len(factors)} scaling factors")
    if not p.mode:
        return lambda x: operator("upsample_nearest_neighbor")(x, *factors)
    half = {0: False, 1: False, 2: True}[p.linearUpsampleMode]
    return lambda x: operator("upsample_bilinear")(x, *factors, p.linearUpsampleMode == 1, half)


_SAMPLING = ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS")


@layer("resizeBilinear")
def _resize_bilinear(p: Any) -> Layer:
    size, mode = integers(p.targetSize) or [1, 1], _SAMPLING[p.mode.samplingMethod]
    return lambda x: operator("resize_bilinear")(x, *size, mode)

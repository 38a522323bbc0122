"""Convolutions, and their transposes."""

from __future__ import annotations

from typing import Any

from suite.coreml.layers.borders import borders3, padding
from suite.coreml.layers.registry import Layer, as_images, layer, operator
from suite.coreml.layers.weights import weights
from suite.coreml.ops.registry import integers
from suite.spec import Array


@layer("convolution")
def _convolution(p: Any) -> Layer:
    groups, kernel = int(p.nGroups) or 1, integers(p.kernelSize) or [3, 3]
    pad_type, pad = padding(p, p.WhichOneof("ConvolutionPaddingType"))
    shape = (
        (p.outputChannels, p.kernelChannels)
        if not p.isDeconvolution
        else (p.kernelChannels, p.outputChannels // groups)
    )
    weight = weights(p.weights, (*map(int, shape), *kernel)) if p.HasField("weights") else None
    bias = weights(p.bias, (int(p.outputChannels),)) if p.hasBias else None
    memo: dict[str, Any] | None = {}
    given = {"strides": integers(p.stride) or None, "dilations": integers(p.dilationFactor) or None}
    if weight is None:
        return as_images(
            lambda x, w: operator("conv")(x, w, bias, pad_type=pad_type, pad=pad, groups=groups, **given)
        )
    if not p.isDeconvolution:
        return as_images(
            lambda x: operator("conv")(
                x, weight, bias, pad_type=pad_type, pad=pad, groups=groups, memo=memo, **given
            )
        )
    sizes = integers(p.outputShape)

    def transposed(x: Array) -> Array:
        wanted = [x.shape[0], int(p.outputChannels), *sizes[-2:]] if sizes else None
        answer: Array = operator("conv_transpose")(
            x, weight, bias, pad, wanted, pad_type, groups=groups, **given
        )
        return answer

    return as_images(transposed)


@layer("convolution3d")
def _convolution3d(p: Any) -> Layer:
    groups = int(p.nGroups) or 1
    kernel = [int(p.kernelDepth), int(p.kernelHeight), int(p.kernelWidth)]
    shape = (
        (p.outputChannels, p.inputChannels // groups)
        if not p.isDeconvolution
        else (p.inputChannels, p.outputChannels // groups)
    )
    weight = weights(p.weights, (*map(int, shape), *kernel))
    bias = weights(p.bias, (int(p.outputChannels),)) if p.hasBias else None
    names = {"VALID": "valid", "SAME": "same", "CUSTOM": "custom"}
    given = {
        "strides": [int(p.strideDepth) or 1, int(p.strideHeight) or 1, int(p.strideWidth) or 1],
        "dilations": [int(p.dilationDepth) or 1, int(p.dilationHeight) or 1, int(p.dilationWidth) or 1],
        "pad_type": names[p.PaddingType.Name(p.paddingType)],
        "pad": borders3(p),
        "groups": groups,
    }
    if p.isDeconvolution:
        sizes = integers(p.outputShape)
        return lambda x: operator("conv_transpose")(
            x,
            weight,
            bias,
            output_shape=[x.shape[0], int(p.outputChannels), *sizes[-3:]] if sizes else None,
            **given,
        )
    return lambda x: operator("conv")(x, weight, bias, **given)

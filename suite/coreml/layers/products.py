"""Products with weights, and look-ups in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.coreml.layers.registry import Layer, layer, operator, whole_numbers
from suite.coreml.layers.weights import weights
from suite.coreml.ops.registry import OpError
from suite.spec import Array


@layer("innerProduct")
def _inner_product(p: Any) -> Layer:
    weight = weights(p.weights, (int(p.outputChannels), int(p.inputChannels)))
    bias = weights(p.bias, (int(p.outputChannels),)) if p.hasBias else None

    def run(x: Array) -> Array:
        if x.ndim >= 3 and x.shape[-2:] == (1, 1) and x.shape[-3] == weight.shape[1]:
            answer: Array = operator("linear")(x[..., 0, 0], weight, bias)
            return answer[..., None, None]
        product: Array = operator("linear")(x, weight, bias)
        return product

    return run


@layer("batchedMatmul")
def _batched_matmul(p: Any) -> Layer:
    rows, columns = int(p.weightMatrixFirstDimension), int(p.weightMatrixSecondDimension)
    if not p.HasField("weights") or not rows:
        return lambda x, y: operator("matmul")(x, y, p.transposeA, p.transposeB)
    # The weights are written column by column.
    weight = weights(p.weights, (columns, rows))
    bias = weights(p.bias, (columns,)) if p.hasBias else None
    return lambda x: operator("linear")(np.swapaxes(x, -1, -2) if p.transposeA else x, weight, bias)


@layer("embedding", "embeddingND")
def _embedding(p: Any) -> Layer:
    legacy = p.DESCRIPTOR.name == "EmbeddingLayerParams"
    vocabulary, width = (p.inputDim, p.outputChannels) if legacy else (p.vocabSize, p.embeddingSize)
    table = weights(p.weights, (int(width), int(vocabulary))).T
    bias = weights(p.bias, (int(width),)) if p.hasBias else np.float32(0)

    def run(x: Array) -> Array:
        if not x.ndim or x.shape[-1] != 1:
            raise OpError(f"places of {x.shape}")
        return np.asarray(operator("gather")(table, whole_numbers(x[..., 0])) + bias)

    return run

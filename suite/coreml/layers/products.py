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
        rows = x.reshape(*x.shape[:-3], -1) if x.ndim > 3 else x  # channels of an image are read as one row
        answer: Array = operator("linear")(rows, weight, bias)
        return answer[..., None, None] if x.ndim > 3 else answer

    return run


@layer("batchedMatmul")
def _batched_matmul(p: Any) -> Layer:
    rows, columns = int(p.weightMatrixFirstDimension), int(p.weightMatrixSecondDimension)
    if not p.HasField("weights") or not rows:
        return lambda x, y: operator("matmul")(
            x[None] if x.ndim == 1 else x, y[:, None] if y.ndim == 1 else y, p.transposeA, p.transposeB
        )
    # The weights are written column by column; with one input nothing is transposed.
    weight = weights(p.weights, (columns, rows))
    bias = weights(p.bias, (columns,)) if p.hasBias else None
    return lambda x: operator("linear")(x, weight, bias)


@layer("embedding", "embeddingND")
def _embedding(p: Any) -> Layer:
    legacy = p.DESCRIPTOR.name == "EmbeddingLayerParams"
    vocabulary, width = (p.inputDim, p.outputChannels) if legacy else (p.vocabSize, p.embeddingSize)
    table = weights(p.weights, (int(width), int(vocabulary))).T
    bias = weights(p.bias, (int(width),)) if p.hasBias else np.float32(0)

    def run(x: Array) -> Array:
        image = legacy and x.ndim > 3  # one place a sample, and its row as the sample's channels
        ones = (1, 1, 1) if image else (1,)
        if x.shape[-len(ones) :] != ones:
            raise OpError(f"places of {x.shape}")
        places = x.reshape(x.shape[: -len(ones)])
        answer = np.asarray(operator("gather")(table, whole_numbers(places)) + bias)
        return answer[..., None, None] if image else answer

    return run

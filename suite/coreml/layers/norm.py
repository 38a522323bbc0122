"""Normalisations and softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.coreml.layers.registry import Layer, as_images, layer, operator
from suite.coreml.layers.weights import weights
from suite.coreml.ops.registry import OpError, integers
from suite.spec import Array


@layer("batchnorm")
def _batchnorm(p: Any) -> Layer:
    shape = (int(p.channels),)
    gamma, beta = weights(p.gamma, shape), weights(p.beta, shape)
    epsilon = float(p.epsilon) or 1e-5
    if p.computeMeanVar:
        if not p.instanceNormalization:
            raise OpError("a batch norm that computes its statistics over the batch")
        return as_images(lambda x: operator("instance_norm")(x, gamma, beta, epsilon))
    mean, variance = weights(p.mean, shape), weights(p.variance, shape)
    memo: dict[str, Any] = {}
    return as_images(lambda x: operator("batch_norm")(x, mean, variance, gamma, beta, epsilon, memo=memo))


@layer("mvn")
def _mvn(p: Any) -> Layer:
    axes = [-3, -2, -1] if p.acrossChannels else [-2, -1]
    epsilon = float(p.epsilon) or 1e-6

    def run(x: Array) -> Array:
        centred = x - x.mean(axis=tuple(axes), keepdims=True)
        if not p.normalizeVariance:
            return np.asarray(centred)
        variance = np.square(centred).mean(axis=tuple(axes), keepdims=True)
        return np.asarray(centred / np.sqrt(variance + np.float32(epsilon)))

    return run


@layer("l2normalize")
def _l2normalize(p: Any) -> Layer:
    return lambda x: operator("l2_norm")(x, float(p.epsilon) or 1e-6)


@layer("lrn")
def _lrn(p: Any) -> Layer:
    return as_images(
        lambda x: operator("local_response_norm")(
            x, int(p.localSize), float(p.alpha), float(p.beta), float(p.k) or 1.0
        )
    )


@layer("layerNormalization")
def _layer_norm(p: Any) -> Layer:
    shape = tuple(integers(p.normalizedShape))
    gamma, beta = weights(p.gamma, shape), weights(p.beta, shape)
    return lambda x: operator("layer_norm")(x, list(range(-len(shape), 0)), gamma, beta, float(p.eps) or 1e-5)


@layer("softmax")
def _softmax(p: Any) -> Layer:
    return lambda x: operator("softmax")(x, -3 if x.ndim >= 3 else -1)


@layer("softmaxND")
def _softmax_nd(p: Any) -> Layer:
    return lambda x: operator("softmax")(x, p.axis)

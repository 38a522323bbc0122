"""Activations."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.coreml.layers.registry import Layer, as_images, layer, operator
from suite.coreml.layers.weights import vector
from suite.coreml.ops.registry import OpError


@layer("activation")
def function(p: Any) -> Layer:
    """The function of an ActivationParams message, which recurrent layers hold too."""
    kind = p.WhichOneof("NonlinearityType")
    if kind is None:
        raise OpError("an activation of no kind")
    q = getattr(p, kind)
    if kind == "PReLU":
        alpha = vector(q.alpha)
        return as_images(lambda x: operator("prelu")(x, alpha))
    if kind == "parametricSoftplus":
        alpha, beta = vector(q.alpha), vector(q.beta)
        return as_images(
            lambda x: operator("softplus_parametric")(
                x, *(np.resize(one, x.shape[1]) for one in (alpha, beta))
            )
        )
    simple = {
        "ReLU": "relu",
        "tanh": "tanh",
        "sigmoid": "sigmoid",
        "softsign": "softsign",
        "softplus": "softplus",
    }
    if kind in simple:
        return lambda x: operator(simple[kind])(x)
    scaled = {
        "leakyReLU": "leaky_relu", "thresholdedReLU": "thresholded_relu", "ELU": "elu",
        "linear": "linear_activation", "scaledTanh": "scaled_tanh", "sigmoidHard": "sigmoid_hard",
    }  # fmt: skip
    values = [float(getattr(q, name)) for name in ("alpha", "beta") if name in q.DESCRIPTOR.fields_by_name]
    return lambda x: operator(scaled[kind])(x, *values)


@layer("clampedReLU")
def _clamped_relu(p: Any) -> Layer:
    return lambda x: operator("clamped_relu")(x, float(p.alpha), float(p.beta))


@layer("gelu")
def _gelu(p: Any) -> Layer:
    mode = ("EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION")[p.mode]
    return lambda x: operator("gelu")(x, mode)

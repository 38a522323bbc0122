"""Functions of each element, and constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from suite.coreml.layers.registry import Layer, layer, operator
from suite.coreml.layers.weights import weights
from suite.coreml.ops.registry import OpError, integers, room
from suite.spec import Array


@layer("unary")
def _unary(p: Any) -> Layer:
    kind, alpha, epsilon = int(p.type), np.float32(p.alpha), float(p.epsilon) or 1e-6
    functions: dict[int, Callable[[Array], Any]] = {
        0: np.sqrt,
        1: lambda x: operator("rsqrt")(x, epsilon),
        2: lambda x: operator("inverse")(x, epsilon),
        3: lambda x: np.power(x, alpha),
        4: np.exp,
        5: lambda x: operator("log")(x, epsilon),
        6: np.abs,
        7: lambda x: np.maximum(x, alpha),
    }
    if kind not in functions:
        raise OpError(f"a function {kind}")
    scale, shift = np.float32(p.scale), np.float32(p.shift)
    # Proto 3 cannot tell a scale of 0 from none; that function would be constant.
    scale = scale or np.float32(1)
    plain = scale == 1 and shift == 0
    return lambda x: functions[kind](x if plain else x * scale + shift)


def _folded(function: Callable[..., Any]) -> Callable[[Any], Layer]:
    """A function of two for any number of inputs; of one, with the layer's own number."""

    def maker(p: Any) -> Layer:
        alpha = np.float32(getattr(p, "alpha", 0))

        def run(*values: Array) -> Array:
            if len(values) == 1:
                return np.asarray(function(values[0], alpha))
            answer = values[0]
            for value in values[1:]:
                room(np.broadcast_shapes(answer.shape, value.shape))
                answer = function(answer, value)
            return np.asarray(answer)

        return run

    return maker


for _names, _function in (
    (("add", "addBroadcastable"), np.add),
    (("multiply", "multiplyBroadcastable"), np.multiply),
    (("subtractBroadcastable",), np.subtract),
    (("divideBroadcastable",), np.divide),
    (("max", "maxBroadcastable"), np.maximum),
    (("min", "minBroadcastable"), np.minimum),
    (("powBroadcastable",), np.power),
    (("floorDivBroadcastable",), np.floor_divide),
    (("modBroadcastable",), np.mod),
    (("equal",), np.equal),
    (("notEqual",), np.not_equal),
    (("lessThan",), np.less),
    (("lessEqual",), np.less_equal),
    (("greaterThan",), np.greater),
    (("greaterEqual",), np.greater_equal),
    (("logicalAnd",), np.logical_and),
    (("logicalOr",), np.logical_or),
    (("logicalXor",), np.logical_xor),
):
    layer(*_names)(_folded(_function))


@layer("average")
def _average(p: Any) -> Layer:
    total = _folded(np.add)(p)
    return lambda *values: total(*values) / np.float32(len(values))


def _simple(name: str) -> Callable[[Any], Layer]:
    return lambda p: lambda x: operator(name)(x)


for _name in (
    "ceil", "floor", "sign", "round", "exp2", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
    "tanh", "atanh", "erf",
):  # fmt: skip
    layer(_name)(_simple(_name))
layer("logicalNot")(_simple("logical_not"))
layer("asinh")(lambda p: lambda x: np.arcsinh(x))
layer("acosh")(lambda p: lambda x: np.arccosh(x))
layer("copy")(_simple("identity"))
layer("getShape")(_simple("shape"))
layer("whereNonZero")(_simple("non_zero"))


@layer("clip")
def _clip(p: Any) -> Layer:
    return lambda x: operator("clip")(x, float(p.minVal), float(p.maxVal))


@layer("scale")
def _scale(p: Any) -> Layer:
    scale = weights(p.scale, tuple(integers(p.shapeScale)))
    bias = weights(p.bias, tuple(integers(p.shapeBias))) if p.hasBias else None
    scaled, shifted = operator("mul"), operator("add")

    def run(x: Array) -> Array:
        answer: Array = scaled(x, _image(scale))
        return answer if bias is None else shifted(answer, _image(bias))

    return run


@layer("bias")
def _bias(p: Any) -> Layer:
    bias = weights(p.bias, tuple(integers(p.shape)))
    return lambda x: operator("add")(x, _image(bias))


def _image(values: Array) -> Array:
    """A vector by channel, (c, h, w) as it is."""
    return values.reshape(-1, 1, 1) if values.ndim == 1 and values.size > 1 else values


@layer("loadConstantND", "loadConstant")
def _constant(p: Any) -> Layer:
    values = weights(p.data, tuple(integers(p.shape)))
    return lambda: values

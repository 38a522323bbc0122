"""Elementwise arithmetic, comparison, logic and casts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from suite.coreml.ops.registry import OpError, as_channels, axis_of, op, real, room
from suite.spec import Array

# MIL's names of types, and what a tensor of each is held as.
HELD: dict[str, np.dtype[Any]] = {
    "fp16": np.dtype(np.float32), "float16": np.dtype(np.float32),
    "fp32": np.dtype(np.float32), "float32": np.dtype(np.float32), "fp64": np.dtype(np.float64),
    "int8": np.dtype(np.int8), "uint8": np.dtype(np.uint8), "int16": np.dtype(np.int16),
    "uint16": np.dtype(np.uint16), "int32": np.dtype(np.int32), "uint32": np.dtype(np.uint32),
    "int64": np.dtype(np.int64), "bool": np.dtype(np.bool_),
}  # fmt: skip


def _binary(name: str, function: Callable[..., Any], *, exact: bool = False, doc: str) -> None:
    def run(x: Array, y: Array, out: Array | None = None) -> Array:
        x, y = np.asarray(x), np.asarray(y)
        if x.shape != y.shape:
            room(np.broadcast_shapes(x.shape, y.shape))
        return np.asarray(function(x, y, out=out))

    run.__doc__ = doc
    op(name, exact=exact, inplace=True)(run)


_binary("add", np.add, doc="x + y")
_binary("sub", np.subtract, doc="x - y")
_binary("mul", np.multiply, doc="x * y")
_binary("maximum", np.maximum, exact=True, doc="the larger of each pair")
_binary("minimum", np.minimum, exact=True, doc="the smaller of each pair")


def _pair(name: str, function: Callable[[Array, Array], Any], doc: str) -> None:
    def run(x: Array, y: Array) -> Array:
        x, y = np.asarray(x), np.asarray(y)
        room(np.broadcast_shapes(x.shape, y.shape))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.asarray(function(x, y))

    run.__doc__ = doc
    op(name)(run)


def _whole(function: Callable[[Array, Array], Any]) -> Callable[[Array, Array], Any]:
    """Refuse a whole-number division by zero, which NumPy would answer with 0."""

    def run(x: Array, y: Array) -> Any:
        if y.dtype.kind in "iu" and not np.all(y):
            raise OpError("a whole number is divided by zero")
        return function(x, y)

    return run


def _divide(x: Array, y: Array) -> Any:
    return np.divide(x, y) if x.dtype.kind == "f" else _truncated(x, y)


def _truncated(x: Array, y: Array) -> Array:
    """Division of whole numbers toward zero, as in C."""
    quotient = np.abs(x.astype(np.int64)) // np.abs(y.astype(np.int64))
    return np.asarray((quotient * np.sign(x) * np.sign(y)).astype(x.dtype))


def _power(x: Array, y: Array) -> Any:
    if x.dtype.kind in "iu":
        return np.power(x.astype(np.float64), y.astype(np.float64)).astype(x.dtype)
    return np.power(x, y)


_pair("real_div", _whole(_divide), "x / y")
_pair("floor_div", _whole(np.floor_divide), "the quotient, rounded down")
_pair("mod", _whole(np.mod), "the remainder, with the divisor's sign")
_pair("pow", _power, "x to the power y")
_pair("equal", np.equal, "whether x is y")
_pair("not_equal", np.not_equal, "whether x is not y")
_pair("greater", np.greater, "x > y")
_pair("greater_equal", np.greater_equal, "x >= y")
_pair("less", np.less, "x < y")
_pair("less_equal", np.less_equal, "x <= y")
_pair("logical_and", np.logical_and, "both")
_pair("logical_or", np.logical_or, "either")
_pair("logical_xor", np.logical_xor, "one of the two")


def erf(x: Array) -> Array:
    """The error function."""
    from scipy import special  # not everyone needs what takes half a second to import

    return np.asarray(special.erf(x))


def _unary(name: str, function: Callable[[Array], Any], doc: str, *, exact: bool = False) -> None:
    def run(x: Array) -> Array:
        x = np.asarray(x)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            answer = np.asarray(function(x))
        return answer if answer.dtype == x.dtype else answer.astype(x.dtype)

    run.__doc__ = doc
    op(name, exact=exact)(run)


_unary("abs", np.abs, "|x|", exact=True)
_unary("acos", np.arccos, "the angle of this cosine")
_unary("asin", np.arcsin, "the angle of this sine")
_unary("atan", np.arctan, "the angle of this tangent")
_unary("atanh", np.arctanh, "inverse hyperbolic tangent")
_unary("ceil", np.ceil, "rounded up", exact=True)
_unary("cos", np.cos, "cosine")
_unary("cosh", np.cosh, "hyperbolic cosine")
_unary("erf", erf, "error function")
_unary("exp", np.exp, "e to the power x")
_unary(
    "exp2",
    lambda x: np.exp2(x.astype(np.float64)) if x.dtype.kind in "iu" else np.exp2(x),
    "2 to the power x",
)
_unary("floor", np.floor, "rounded down", exact=True)
_unary("round", np.rint, "rounded, halves to even", exact=True)
_unary("sign", np.sign, "-1, 0 or 1", exact=True)
_unary("sin", np.sin, "sine")
_unary("sinh", np.sinh, "hyperbolic sine")
_unary("sqrt", np.sqrt, "square root")
_unary("square", np.square, "x * x")
_unary("tan", np.tan, "tangent")
_unary("tanh", np.tanh, "hyperbolic tangent")
op("logical_not")(lambda x: np.logical_not(x))


@op("inverse")
def inverse(x: Array, epsilon: Any = 1e-4) -> Array:
    """`1 / (x + epsilon)`."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.reciprocal(x + np.float32(real(epsilon))))


@op("log")
def log(x: Array, epsilon: Any = 1e-45) -> Array:
    """`log(x + epsilon)`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(x + np.float32(real(epsilon))))


@op("rsqrt")
def rsqrt(x: Array, epsilon: Any = 1e-12) -> Array:
    """`1 / sqrt(x + epsilon)`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.float32(1) / np.sqrt(x + np.float32(real(epsilon))))


@op("threshold", exact=True)
def threshold(x: Array, alpha: Any) -> Array:
    """`max(x, alpha)`."""
    return np.asarray(np.maximum(x, x.dtype.type(real(alpha))))


@op("clip", exact=True)
def clip(x: Array, alpha: Any, beta: Any) -> Array:
    """Between alpha and beta."""
    return np.asarray(np.minimum(np.maximum(x, np.float32(real(alpha))), np.float32(real(beta))))


@op("cast", view=True)
def cast(x: Array, dtype: str) -> Array:
    """To another type: reals to whole numbers toward zero, saturated; anything but 0 is true."""
    if dtype not in HELD:
        raise OpError(f"dtype is {dtype!r}: known are {', '.join(HELD)}")
    x, wanted = np.asarray(x), HELD[dtype]
    if x.dtype.kind == "f" and wanted.kind in "iu":
        limits = np.iinfo(wanted)
        whole = np.nan_to_num(np.trunc(x.astype(np.float64)), nan=0.0, posinf=limits.max, neginf=limits.min)
        return np.asarray(np.clip(whole, limits.min, limits.max).astype(wanted))
    return x.astype(wanted, copy=False)


@op("select", exact=True)
def select(cond: Array, a: Array, b: Array) -> Array:
    """a where cond, else b."""
    room(np.broadcast_shapes(np.shape(cond), np.shape(a), np.shape(b)))
    return np.asarray(np.where(cond, a, b))


@op("quantize")
def quantize(
    input: Array, scale: Array, output_dtype: str, zero_point: Array | None = None, axis: Any = None
) -> Array:
    """`clip(round(input / scale) + zero_point)`."""
    if output_dtype not in ("int8", "uint8"):
        raise OpError(f"output_dtype is {output_dtype!r}: known are int8, uint8")
    limits = np.iinfo(output_dtype)
    steps = np.rint(input / _along(scale, input, axis))
    if zero_point is not None:
        steps = steps + _along(zero_point, input, axis).astype(np.float32)
    return np.asarray(np.clip(steps, limits.min, limits.max).astype(output_dtype))


@op("dequantize")
def dequantize(input: Array, scale: Array, zero_point: Array | None = None, axis: Any = None) -> Array:
    """`scale (input - zero_point)`."""
    numbers = input.astype(np.float32)
    if zero_point is not None:
        numbers -= _along(zero_point, input, axis).astype(np.float32)
    return np.asarray(numbers * _along(scale, input, axis))


def _along(values: Array, x: Array, axis: Any) -> Array:
    """One value, or one for each place along an axis of x."""
    values = np.asarray(values)
    if values.ndim == 0:
        return values
    if axis is None or values.ndim != 1 or values.size not in (1, x.shape[axis_of(axis, x.ndim)]):
        raise OpError(f"values of {values.shape} along axis {axis} of a tensor of {x.shape}")
    return as_channels(values, x.ndim, axis_of(axis, x.ndim))

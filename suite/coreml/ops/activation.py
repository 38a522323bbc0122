"""Activations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from suite.coreml.ops.elementwise import erf
from suite.coreml.ops.registry import OpError, as_channels, axis_of, op, real
from suite.spec import Array


@op("relu", exact=True, inplace=True)
def relu(x: Array, out: Array | None = None) -> Array:
    """`max(x, 0)`."""
    return np.asarray(np.maximum(x, np.float32(0), out=out))


@op("relu6", exact=True, inplace=True)
def relu6(x: Array, out: Array | None = None) -> Array:
    """`min(max(x, 0), 6)`."""
    answer = np.asarray(np.maximum(x, np.float32(0), out=out))
    return np.minimum(answer, np.float32(6), out=answer)


@op("clamped_relu")
def clamped_relu(x: Array, alpha: Any, beta: Any) -> Array:
    """Leaky below 0, and at most beta."""
    alpha, beta = np.float32(real(alpha)), np.float32(real(beta))
    return np.asarray(np.minimum(np.where(x > 0, x, x * alpha), beta))


@op("leaky_relu")
def leaky_relu(x: Array, alpha: Any) -> Array:
    """`x` above 0, `alpha x` below."""
    return np.asarray(np.where(x < 0, x * np.float32(real(alpha)), x))


@op("prelu")
def prelu(x: Array, alpha: Array) -> Array:
    """Leaky, with a slope a channel."""
    if x.ndim < 2 or np.size(alpha) not in (1, x.shape[1]):
        raise OpError(f"slopes of {np.shape(alpha)} for a tensor of {x.shape}")
    slopes = as_channels(np.reshape(alpha, -1), x.ndim)
    return np.asarray(np.where(x < 0, x * slopes, x))


@op("elu")
def elu(x: Array, alpha: Any = 1.0) -> Array:
    """`x` above 0, `alpha (exp(x) - 1)` below."""
    return np.asarray(np.where(x > 0, x, np.float32(real(alpha)) * np.expm1(np.minimum(x, np.float32(0)))))


@op("gelu")
def gelu(x: Array, mode: str = "EXACT") -> Array:
    """Gaussian error linear unit, exact or by one of two approximations."""
    if mode == "EXACT":
        answer = erf(x * np.float32(1 / math.sqrt(2)))
        answer += np.float32(1)
        answer *= x
        answer *= np.float32(0.5)
        return answer
    if mode == "TANH_APPROXIMATION":
        inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x)
        return np.asarray(np.float32(0.5) * x * (np.float32(1) + np.tanh(inner)))
    if mode == "SIGMOID_APPROXIMATION":
        return np.asarray(x * sigmoid(np.float32(1.702) * x))
    raise OpError(f"mode is {mode!r}: known are EXACT, TANH_APPROXIMATION, SIGMOID_APPROXIMATION")


@op("sigmoid")
def sigmoid(x: Array) -> Array:
    """`1 / (1 + exp(-x))`."""
    answer = np.negative(x)
    with np.errstate(over="ignore"):  # exp to infinity makes a sigmoid of 0, as it should
        np.exp(answer, out=answer)
    answer += np.float32(1)
    return np.asarray(np.reciprocal(answer, out=answer))


@op("silu")
def silu(x: Array) -> Array:
    """`x sigmoid(x)`."""
    answer = np.negative(x)
    with np.errstate(over="ignore"):
        np.exp(answer, out=answer)
    answer += np.float32(1)
    return np.asarray(np.divide(x, answer, out=answer))


@op("sigmoid_hard")
def sigmoid_hard(x: Array, alpha: Any = 0.2, beta: Any = 0.5) -> Array:
    """`alpha x + beta` between 0 and 1."""
    answer = x * np.float32(real(alpha)) + np.float32(real(beta))
    return np.asarray(np.clip(answer, np.float32(0), np.float32(1)))


@op("linear_activation")
def linear_activation(x: Array, alpha: Any, beta: Any = 0.0) -> Array:
    """`alpha x + beta`."""
    return np.asarray(x * np.float32(real(alpha)) + np.float32(real(beta)))


@op("scaled_tanh")
def scaled_tanh(x: Array, alpha: Any = 1.0, beta: Any = 1.0) -> Array:
    """`alpha tanh(beta x)`."""
    return np.asarray(np.float32(real(alpha)) * np.tanh(x * np.float32(real(beta))))


@op("softplus")
def softplus(x: Array) -> Array:
    """`log(1 + exp(x))`."""
    return np.asarray(np.logaddexp(np.float32(0), x))


@op("softplus_parametric")
def softplus_parametric(x: Array, alpha: Array, beta: Array) -> Array:
    """`alpha log(1 + exp(beta x))`, by channel."""
    if x.ndim < 3 or np.shape(alpha) != (x.shape[1],) or np.shape(beta) != (x.shape[1],):
        raise OpError(f"parameters of {np.shape(alpha)} and {np.shape(beta)} for a tensor of {x.shape}")
    return np.asarray(as_channels(alpha, x.ndim) * np.logaddexp(np.float32(0), x * as_channels(beta, x.ndim)))


@op("softsign")
def softsign(x: Array) -> Array:
    """`x / (1 + |x|)`."""
    return np.asarray(x / (np.float32(1) + np.abs(x)))


@op("thresholded_relu", exact=True)
def thresholded_relu(x: Array, alpha: Any = 1.0) -> Array:
    """`x` from alpha on, else 0."""
    return np.asarray(np.where(x >= np.float32(real(alpha)), x, np.float32(0)))


@op("softmax")
def softmax(x: Array, axis: Any = -1) -> Array:
    """Shares of the exponentials along an axis."""
    number = axis_of(axis, x.ndim)
    answer = x - x.max(axis=number, keepdims=True)
    np.exp(answer, out=answer)
    answer /= answer.sum(axis=number, keepdims=True)
    return np.asarray(answer)

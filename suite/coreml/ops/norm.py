"""Normalisations."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.coreml.ops.registry import OpError, as_channels, axis_of, integer, integers, op, real
from suite.spec import Array


@op("batch_norm", inplace=True, packs=("mean", "variance", "gamma", "beta", "epsilon"))
def batch_norm(
    x: Array,
    mean: Array,
    variance: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: Any = 1e-5,
    out: Array | None = None,
    memo: dict[str, Any] | None = None,
) -> Array:
    """`gamma (x - mean) / sqrt(variance + epsilon) + beta`, by channel."""
    memo = {} if memo is None else memo
    if "scale" not in memo:
        if x.ndim < 2 or mean.shape != (x.shape[1],) or variance.shape != mean.shape:
            raise OpError(f"means of {mean.shape} for a tensor of {x.shape}")
        if any(one is not None and one.shape != mean.shape for one in (gamma, beta)):
            raise OpError(f"a scale or shift that is not one for each of {mean.shape[0]} channels")
        scale = 1.0 / np.sqrt(variance.astype(np.float64) + real(epsilon))
        if gamma is not None:
            scale = scale * gamma
        shift = -mean * scale
        if beta is not None:
            shift = shift + beta
        memo["scale"] = as_channels(scale.astype(np.float32), x.ndim)
        memo["shift"] = as_channels(shift.astype(np.float32), x.ndim)
    answer = np.multiply(x, memo["scale"], out=out)
    answer += memo["shift"]
    return answer


@op("instance_norm")
def instance_norm(
    x: Array, gamma: Array | None = None, beta: Array | None = None, epsilon: Any = 1e-5
) -> Array:
    """Each channel of each sample to mean 0 and variance 1."""
    if x.ndim < 3:
        raise OpError(f"instance_norm of a tensor of rank {x.ndim}")
    answer = _normalised(x, tuple(range(2, x.ndim)), real(epsilon))
    if gamma is not None:
        answer *= as_channels(gamma, x.ndim)
    if beta is not None:
        answer += as_channels(beta, x.ndim)
    return answer


@op("layer_norm")
def layer_norm(
    x: Array,
    axes: Array | None = None,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: Any = 1e-5,
) -> Array:
    """The named axes together to mean 0 and variance 1."""
    chosen = sorted(axis_of(axis, x.ndim) for axis in (range(x.ndim) if axes is None else integers(axes)))
    answer = _normalised(x, tuple(chosen), real(epsilon))
    shape = [x.shape[i] if i in chosen else 1 for i in range(x.ndim)]
    if gamma is not None:
        answer *= gamma.reshape(shape)
    if beta is not None:
        answer += beta.reshape(shape)
    return answer


def _normalised(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    centred = x - x.mean(axis=axes, keepdims=True, dtype=np.float64).astype(np.float32)
    variance = np.square(centred).mean(axis=axes, keepdims=True, dtype=np.float64).astype(np.float32)
    answer: Array = centred / np.sqrt(variance + np.float32(epsilon))
    return answer


@op("l2_norm")
def l2_norm(x: Array, epsilon: Any = 1e-6) -> Array:
    """Divided by the root of the sum of squares over the last three axes."""
    if x.ndim < 3:
        raise OpError(f"l2_norm of a tensor of rank {x.ndim}")
    total = np.square(x).sum(axis=(-3, -2, -1), keepdims=True)
    answer: Array = x / np.sqrt(total + np.float32(real(epsilon)))
    return answer


@op("local_response_norm")
def local_response_norm(x: Array, size: Any, alpha: Any = 1e-4, beta: Any = 0.75, k: Any = 1.0) -> Array:
    """Divided by a power of the energy of the neighbouring channels, the third axis from the end."""
    size = integer(size)
    if x.ndim < 3 or size < 1:
        raise OpError(f"local_response_norm of size {size} on a tensor of rank {x.ndim}")
    channels = x.shape[-3]
    if size % 2 == 0 and channels > 1:
        raise OpError(f"an even size of {size}: on which side there is one more is not known")
    running = np.cumsum(np.square(x), axis=-3, dtype=np.float64)
    running = np.concatenate([np.zeros_like(running[..., :1, :, :]), running], axis=-3)
    places = np.arange(channels)
    low = np.maximum(places - size // 2, 0)
    high = np.minimum(places + size // 2 + 1, channels)
    energy = (running[..., high, :, :] - running[..., low, :, :]).astype(np.float32)
    base = np.float32(real(k)) + np.float32(real(alpha)) / np.float32(size) * energy
    answer: Array = x / np.power(base, np.float32(real(beta)))
    return answer

"""Pooling, one spatial axis after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from suite.coreml.ops.budget import spend
from suite.coreml.ops.registry import OpError, op, room
from suite.coreml.ops.windows import (
    Pads,
    channels_first,
    channels_last,
    output_sizes,
    padded,
    pads,
    per_axis,
)
from suite.spec import Array

Combine = Callable[..., Any]


@op("max_pool", exact=True)
def max_pool(
    x: Array,
    kernel_sizes: Array,
    pad_type: str,
    strides: Array | None = None,
    pad: Array | None = None,
    ceil_mode: Any = False,
) -> Array:
    """The largest value in each window; padding never wins."""
    return _pool(x, np.maximum, -np.inf, kernel_sizes, pad_type, strides, pad, ceil_mode)[0]


@op("avg_pool")
def avg_pool(
    x: Array,
    kernel_sizes: Array,
    pad_type: str,
    strides: Array | None = None,
    pad: Array | None = None,
    exclude_padding_from_average: Any = False,
    ceil_mode: Any = False,
) -> Array:
    """The mean of each window; padding counts as zeros, or not at all."""
    total, geometry = _pool(x, np.add, 0.0, kernel_sizes, pad_type, strides, pad, ceil_mode)
    total /= geometry.counts(bool(exclude_padding_from_average))
    return total


@op("l2_pool")
def l2_pool(
    x: Array,
    kernel_sizes: Array,
    pad_type: str,
    strides: Array | None = None,
    pad: Array | None = None,
    ceil_mode: Any = False,
) -> Array:
    """The root of the sum of squares in each window."""
    total, _ = _pool(np.square(x), np.add, 0.0, kernel_sizes, pad_type, strides, pad, ceil_mode)
    return np.sqrt(total, out=total)


class _Geometry:
    """Where the windows of one pooling lie."""

    def __init__(
        self, sizes: tuple[int, ...], kernel: list[int], strides: list[int], padding: Pads, ceil: bool
    ) -> None:
        self.sizes, self.kernel, self.strides, self.padding = sizes, kernel, strides, padding
        ones = [1] * len(sizes)
        if ceil:
            rounded = [
                (before, after + stride - 1) for (before, after), stride in zip(padding, strides, strict=True)
            ]
            self.out = output_sizes(sizes, kernel, strides, ones, rounded)
            for i, (before, after) in enumerate(padding):
                # A window must start inside of the input or the padding before it.
                if (before or after) and (self.out[i] - 1) * strides[i] >= sizes[i] + before:
                    self.out[i] -= 1
                if (self.out[i] - 1) * strides[i] >= sizes[i] + before:
                    raise OpError(
                        f"windows of {kernel} at steps of {strides}, rounded up, over an input of {sizes}: "
                        "the last holds nothing"
                    )
        else:
            self.out = output_sizes(sizes, kernel, strides, ones, padding)
        self.extended: Pads = [
            (before, max(0, (count - 1) * stride + width - size - before))
            for before, count, stride, width, size in zip(
                (pair[0] for pair in padding), self.out, strides, kernel, sizes, strict=True
            )
        ]

    def counts(self, inside_only: bool) -> Array:
        """By how many elements the sum of each window is divided, to broadcast over (n, c, *out)."""
        answer = np.ones((1, 1), np.float32)
        for i, size in enumerate(self.sizes):
            before, after = (0, 0) if inside_only else self.padding[i]
            start = np.arange(self.out[i]) * self.strides[i] - self.padding[i][0]
            low = np.maximum(start, -before)
            # What ceil_mode adds beyond the padding never counts.
            high = np.minimum(start + self.kernel[i], size + after)
            answer = answer[..., None] * np.maximum(high - low, 1).astype(np.float32)
        return answer


def _pool(
    x: Array,
    combine: Combine,
    neutral: float,
    kernel_sizes: Array,
    pad_type: str,
    strides: Array | None,
    pad: Array | None,
    ceil_mode: Any,
) -> tuple[Array, _Geometry]:
    spatial = x.ndim - 2
    if not 1 <= spatial <= 3:
        raise OpError(f"pooling of a tensor of rank {x.ndim}")
    kernel, steps = per_axis(kernel_sizes, spatial, 1), per_axis(strides, spatial, 1)
    padding = pads(pad_type, pad, x.shape[2:], kernel, steps, [1] * spatial)
    geometry = _Geometry(x.shape[2:], kernel, steps, padding, bool(ceil_mode))
    room((x.shape[0], *geometry.out, x.shape[1]))
    source = padded(channels_last(x), geometry.extended, neutral)
    for i in range(spatial):
        source = _along(source, 1 + i, combine, kernel[i], steps[i], geometry.out[i])
    return channels_first(source), geometry


def _along(source: Array, axis: int, combine: Combine, width: int, stride: int, count: int) -> Array:
    """Combine `width` neighbours along one axis."""

    def piece(offset: int) -> Array:
        index = [slice(None)] * source.ndim
        index[axis] = slice(offset, offset + (count - 1) * stride + 1, stride)
        return source[tuple(index)]

    spend(width, source.size / source.shape[axis], count, calls=width)
    answer = np.ascontiguousarray(piece(0))
    if answer.base is not None or answer is source:
        answer = answer.copy()
    for offset in range(1, width):
        combine(answer, piece(offset), out=answer)
    return answer

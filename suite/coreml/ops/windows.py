"""Windows that slide over the spatial axes: padding, output sizes, and the views of each offset."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from suite.coreml.ops.registry import OpError, integers, room
from suite.spec import Array

Pads = list[tuple[int, int]]


def per_axis(values: object, count: int, default: int) -> list[int]:
    """One positive integer a spatial axis."""
    found = [default] * count if values is None else integers(values)
    if len(found) != count or any(value < 1 for value in found):
        raise OpError(f"{found} where {count} positive numbers were expected")
    return found


def pads(
    pad_type: str,
    pad: object,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> Pads:
    """Elements before and after each spatial axis."""
    kind = str(pad_type).lower()
    if kind == "valid":
        return [(0, 0)] * len(sizes)
    if kind == "custom":
        given = integers([] if pad is None else pad)
        if len(given) != 2 * len(sizes) or any(value < 0 for value in given):
            raise OpError(f"pad is {given}, expected {2 * len(sizes)} numbers from 0")
        return [(given[2 * i], given[2 * i + 1]) for i in range(len(sizes))]
    if kind not in ("same", "same_lower"):
        raise OpError(f"pad_type is {pad_type!r}: known are valid, same, same_lower, custom")
    found: Pads = []
    for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        reach = (width - 1) * dilation + 1
        total = max(0, (-(-size // stride) - 1) * stride + reach - size)
        less, more = total // 2, total - total // 2
        found.append((less, more) if kind == "same" else (more, less))
    return found


def output_sizes(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: Pads,
) -> list[int]:
    """How often the window fits on each axis."""
    found = [
        (size + before + after - (width - 1) * dilation - 1) // stride + 1
        for size, width, stride, dilation, (before, after) in zip(
            sizes, kernel, strides, dilations, padding, strict=True
        )
    ]
    if any(size < 1 for size in found):
        raise OpError(f"a window of {list(kernel)} does not fit into {list(sizes)} with padding {padding}")
    return found


def channels_last(x: Array) -> Array:
    """(n, c, *spatial) as contiguous (n, *spatial, c); a copy only where memory is otherwise."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def channels_first(x: Array) -> Array:
    """(n, *spatial, c) seen as (n, c, *spatial)."""
    return np.moveaxis(x, -1, 1)


def padded(x: Array, padding: Pads, value: float = 0.0) -> Array:
    """A channels-last tensor with its spatial axes extended by a value."""
    if not any(before or after for before, after in padding):
        return x
    sizes = [size + sum(pair) for size, pair in zip(x.shape[1:-1], padding, strict=True)]
    answer = np.empty(room((x.shape[0], *sizes, x.shape[-1])), x.dtype)
    inner: list[slice] = [slice(None)]
    for size, (before, after) in zip(sizes, padding, strict=True):
        # The margins of this axis, within the axes before it that are already without theirs.
        answer[(*inner, slice(0, before))] = value
        answer[(*inner, slice(size - after, size))] = value
        inner.append(slice(before, size - after))
    answer[tuple(inner)] = x
    return answer


def taps(
    kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], out: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each position in the kernel, with the spatial slices of what it is multiplied by."""
    for position in itertools.product(*(range(width) for width in kernel)):
        yield (
            position,
            tuple(
                slice(at * dilation, at * dilation + (size - 1) * stride + 1, stride)
                for at, dilation, stride, size in zip(position, dilations, strides, out, strict=True)
            ),
        )

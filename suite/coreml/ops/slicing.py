"""Slices."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.coreml.ops.registry import OpError, integers, op
from suite.spec import Array


def _slices(
    x: Array,
    begin: Array,
    end: Array,
    stride: Array | None,
    begin_mask: Array | None,
    end_mask: Array | None,
    squeeze_mask: Array | None,
) -> tuple[Any, ...]:
    starts, ends = integers(begin), integers(end)
    steps = [1] * x.ndim if stride is None else integers(stride)
    free = [False] * x.ndim
    masks = [
        free if mask is None else [bool(one) for one in np.reshape(mask, -1)]
        for mask in (begin_mask, end_mask, squeeze_mask)
    ]
    lengths = {len(starts), len(ends), len(steps), *(len(mask) for mask in masks)}
    if lengths != {x.ndim} or 0 in steps:
        raise OpError(f"a slice from {starts} to {ends} by {steps} of a tensor of {x.shape}")
    index: list[Any] = []
    for i in range(x.ndim):
        from_start, to_end, single = (mask[i] for mask in masks)
        if single:
            place = 0 if from_start else starts[i]
            if not -x.shape[i] <= place < x.shape[i]:
                raise OpError(f"element {place} of {x.shape[i]}")
            index.append(place)
        else:
            index.append(slice(None if from_start else starts[i], None if to_end else ends[i], steps[i]))
    return tuple(index)


@op("slice_by_index", exact=True, view=True)
def slice_by_index(
    x: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    """`x[begin:end:stride]`, by axis; masks leave an end free or take one element."""
    return np.asarray(x[_slices(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)])


@op("slice_by_size", exact=True, view=True)
def slice_by_size(x: Array, begin: Array, size: Array) -> Array:
    """`size` elements from `begin` on, by axis; -1 takes the rest."""
    starts, sizes = integers(begin), integers(size)
    if len(starts) != x.ndim or len(sizes) != x.ndim:
        raise OpError(f"a slice of {sizes} from {starts} of a tensor of {x.shape}")
    index = []
    for start, count, have in zip(starts, sizes, x.shape, strict=True):
        first = start + have if start < 0 else start
        last = have if count == -1 else first + count
        if not 0 <= first <= last <= have:
            raise OpError(f"{count} elements from {start} of {have}")
        index.append(slice(first, last))
    return x[tuple(index)]


@op("slice_update", exact=True)
def slice_update(
    x: Array,
    update: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    """A copy of x whose slice is the update."""
    answer = np.array(x)
    index = _slices(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    if answer[index].shape != update.shape:
        raise OpError(f"an update of {update.shape} for a slice of {answer[index].shape}")
    answer[index] = update
    return answer

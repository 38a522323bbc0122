"""Gathering, scattering, and places of values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from suite.coreml.ops.budget import ELEMENT_WORK, spend
from suite.coreml.ops.registry import OpError, axis_of, integer, op, real, room
from suite.spec import Array


def _checked(indices: Array, size: int, validate: Any) -> Array:
    """Places from 0; no answer is better than any for those beyond the axis.

    Negative ones count from the end in programs of before iOS17, which do not
    say whether to `validate`. Later they are beyond: Core ML refuses them, or
    answers anything where it is told not to look.
    """
    places = np.asarray(indices).astype(np.int64)
    least = -size if validate is None else 0
    if places.size and (places.min() < least or places.max() >= size):
        unseen = validate is not None and not validate
        why = ", which validate_indices lets pass: what Core ML answers is undefined" if unseen else ""
        raise OpError(f"places {places.min()}..{places.max()} in an axis of {size}{why}")
    return np.where(places < 0, places + size, places)


@op("gather", exact=True)
def gather(
    x: Array, indices: Array, axis: Any = 0, batch_dims: Any = 0, validate_indices: Any = None
) -> Array:
    """Slices along an axis by their places."""
    number, batch = axis_of(axis, x.ndim), integer(batch_dims)
    places = _checked(indices, x.shape[number], validate_indices)
    if not 0 <= batch <= min(number, places.ndim) or x.shape[:batch] != places.shape[:batch]:
        raise OpError(f"{batch} batch axes of {x.shape} and {places.shape}")
    room((*x.shape[:number], *places.shape[batch:], *x.shape[number + 1 :]))
    if not batch:
        return np.take(x, places, axis=number)
    answer = [np.take(x[at], places[at], axis=number - batch) for at in np.ndindex(*x.shape[:batch])]
    return np.reshape(answer, (*x.shape[:batch], *answer[0].shape)) if answer else np.empty((0,), x.dtype)


@op("gather_along_axis", exact=True)
def gather_along_axis(x: Array, indices: Array, axis: Any = 0, validate_indices: Any = None) -> Array:
    """One element along an axis for each place."""
    number = axis_of(axis, x.ndim)
    places = _checked(indices, x.shape[number], validate_indices)
    _same_but(x.shape, places.shape, number)
    return np.take_along_axis(x, places, axis=number)


@op("gather_nd", exact=True)
def gather_nd(x: Array, indices: Array, batch_dims: Any = 0, validate_indices: Any = None) -> Array:
    """Slices by places in the first axes, which the last axis of `indices` holds."""
    batch = integer(batch_dims)
    index = _nd(x, indices, validate_indices, batch)
    return np.asarray(x[index])


def _nd(x: Array, indices: Array, validate: Any, batch: int = 0) -> tuple[Array, ...]:
    """The index of NumPy that the last axis of `indices` stands for."""
    indices = np.asarray(indices)
    depth = indices.shape[-1] if indices.ndim else 0
    if not 0 <= batch < max(1, indices.ndim) or batch + depth > x.ndim or depth < 1:
        raise OpError(f"places of {indices.shape} in a tensor of {x.shape}")
    if x.shape[:batch] != indices.shape[:batch]:
        raise OpError(f"{batch} batch axes of {x.shape} and {indices.shape}")
    room((*indices.shape[:-1], *x.shape[batch + depth :]))
    places = [_checked(indices[..., i], x.shape[batch + i], validate) for i in range(depth)]
    rows = [
        np.arange(x.shape[i]).reshape([-1 if j == i else 1 for j in range(indices.ndim - 1)])
        for i in range(batch)
    ]
    return (*rows, *places)


_MODES: dict[str, Callable[..., Any]] = {
    "add": np.add.at,
    "sub": np.subtract.at,
    "mul": np.multiply.at,
    "div": np.divide.at,
    "max": np.maximum.at,
    "min": np.minimum.at,
}


def _scattered(data: Array, index: tuple[Any, ...], updates: Array, mode: str) -> Array:
    answer = np.array(data)
    if mode == "update":
        answer[index] = updates
    elif mode == "div" and answer.dtype.kind in "iu":
        raise OpError("whole numbers cannot be scattered by division")
    elif mode in _MODES:
        _MODES[mode](answer, index, updates)
    else:
        raise OpError(f"mode is {mode!r}: known are update, {', '.join(_MODES)}")
    return answer


@op("scatter")
def scatter(
    data: Array,
    indices: Array,
    updates: Array,
    axis: Any = 0,
    mode: str = "add",
    validate_indices: Any = None,
) -> Array:
    """Slices along an axis combined with updates."""
    number = axis_of(axis, data.ndim)
    places = _checked(indices, data.shape[number], validate_indices)
    expected = data.shape[:number] + places.shape + data.shape[number + 1 :]
    if updates.shape != expected:
        raise OpError(f"updates of {updates.shape}, expected {expected}")
    return _scattered(data, (*[slice(None)] * number, places), updates, mode)


@op("scatter_along_axis")
def scatter_along_axis(
    data: Array,
    indices: Array,
    updates: Array,
    axis: Any = 0,
    mode: str = "add",
    validate_indices: Any = None,
) -> Array:
    """One element along an axis for each place combined with an update."""
    number = axis_of(axis, data.ndim)
    places = _checked(indices, data.shape[number], validate_indices)
    _same_but(data.shape, places.shape, number)
    if updates.shape != places.shape:
        raise OpError(f"updates of {updates.shape}, expected {places.shape}")
    grid = list(np.ogrid[tuple(slice(0, size) for size in places.shape)])
    grid[number] = places
    return _scattered(data, tuple(grid), updates, mode)


@op("scatter_nd")
def scatter_nd(
    data: Array, indices: Array, updates: Array, mode: str = "add", validate_indices: Any = None
) -> Array:
    """Slices by places in the first axes combined with updates."""
    index = _nd(data, indices, validate_indices)
    expected = (*np.shape(indices)[:-1], *data.shape[np.shape(indices)[-1] :])
    if updates.shape != expected:
        raise OpError(f"updates of {updates.shape}, expected {expected}")
    return _scattered(data, index, updates, mode)


def _same_but(one: tuple[int, ...], other: tuple[int, ...], axis: int) -> None:
    if len(one) != len(other) or any(
        a != b for i, (a, b) in enumerate(zip(one, other, strict=True)) if i != axis
    ):
        raise OpError(f"{one} and {other} differ in more than axis {axis}")


@op("non_zero")
def non_zero(x: Array) -> Array:
    """The places of what is not 0, a row each."""
    room((x.size, x.ndim), 8)
    return np.argwhere(x).astype(np.int32)


@op("one_hot")
def one_hot(
    indices: Array, one_hot_vector_size: Any, axis: Any = -1, on_value: Any = None, off_value: Any = None
) -> Array:
    """A new axis that is `on` at the place and `off` elsewhere; no place is on for one beyond it."""
    on = np.asarray(np.int32(1) if on_value is None else on_value)
    off = np.asarray(on.dtype.type(0) if off_value is None else off_value)
    if on.ndim or off.ndim:
        raise OpError("an on or off value that is a tensor")
    size, number = integer(one_hot_vector_size), axis_of(axis, np.ndim(indices) + 1)
    room((*np.shape(indices), max(size, 0)))
    hot = np.expand_dims(indices, number) == np.arange(max(size, 0)).reshape(
        [-1 if i == number else 1 for i in range(np.ndim(indices) + 1)]
    )
    return np.where(hot, on, off).astype(on.dtype)


@op("non_maximum_suppression")
def non_maximum_suppression(
    boxes: Array,
    scores: Array,
    iou_threshold: Any,
    max_boxes: Any,
    score_threshold: Any = None,
    per_class_suppression: Any = False,
) -> Any:
    """Boxes (centre x, centre y, width, height) by score, but for those that overlap a better one.

    Where no score is above the threshold, the best box is kept. From iOS17 on
    there is no threshold, the boxes are the last axis, and their number is
    not answered.
    """
    last = score_threshold is None
    if last:
        boxes, scores = (np.swapaxes(one, 1, -1) if one.ndim == 3 else one for one in (boxes, scores))
    if boxes.ndim != 3 or scores.ndim != 3 or boxes.shape[:2] != scores.shape[:2] or boxes.shape[2] != 4:
        raise OpError(f"boxes of {boxes.shape} with scores of {scores.shape}")
    n, given, classes = scores.shape
    count = integer(max_boxes)
    room((n, max(count, 0), classes + 5))
    if count < 1 or not given or not classes:
        raise OpError(f"at most {count} of {given} boxes with {classes} scores")
    spend(n, given, ELEMENT_WORK * min(count, given), calls=8 * n * given)
    kept_boxes = np.zeros((n, count, 4), np.float32)
    kept_scores = np.zeros((n, count, classes), np.float32)
    places, totals = np.full((n, count), -1, np.int32), np.zeros(n, np.int32)
    overlap, least = real(iou_threshold), -np.inf if last else real(score_threshold)
    for i in range(n):
        kept = _suppress(boxes[i], scores[i], overlap, least, count, bool(per_class_suppression))
        totals[i] = len(kept)
        kept_boxes[i, : len(kept)], kept_scores[i, : len(kept)] = boxes[i][kept], scores[i][kept]
        places[i, : len(kept)] = kept
    if last:
        return kept_boxes.swapaxes(1, 2), kept_scores.swapaxes(1, 2), places
    return kept_boxes, kept_scores, places, totals


def _suppress(
    boxes: Array, scores: Array, overlap: float, least: float, count: int, by_class: bool
) -> list[int]:
    best, label = scores.max(axis=1), scores.argmax(axis=1)
    half = boxes[:, 2:] / 2
    low, high = boxes[:, :2] - half, boxes[:, :2] + half
    area = np.prod(np.maximum(high - low, 0), axis=1)
    order = np.argsort(-best, kind="stable")
    kept: list[int] = []
    for place in order:
        if not best[place] > least or len(kept) == count:
            break
        rivals = [other for other in kept if not by_class or label[other] == label[place]]
        shared = np.prod(
            np.maximum(np.minimum(high[rivals], high[place]) - np.maximum(low[rivals], low[place]), 0), axis=1
        )
        union = area[rivals] + area[place] - shared
        if not np.any(shared > overlap * union):
            kept.append(int(place))
    return kept or [int(order[0])]

"""Reductions, sorting and running sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from suite.coreml.ops.elementwise import HELD
from suite.coreml.ops.registry import OpError, axis_of, integer, integers, op
from suite.spec import Array

Axes = tuple[int, ...]


def _reduction(
    name: str, function: Callable[[Array, Axes, bool], Any], doc: str, *, exact: bool = False
) -> None:
    def run(x: Array, axes: Array | None = None, keep_dims: Any = False) -> Array:
        chosen = tuple(
            sorted({axis_of(axis, x.ndim) for axis in (range(x.ndim) if axes is None else integers(axes))})
        )
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            answer = np.asarray(function(x, chosen, bool(keep_dims)))
        return answer if answer.dtype == x.dtype else answer.astype(x.dtype)

    run.__doc__ = doc
    op(name, exact=exact)(run)


def _sum(x: Array, axes: Axes, keep: bool) -> Array:
    """In float64: along a plane of channels-last memory NumPy adds one value after the other."""
    return np.asarray(x.sum(axis=axes, keepdims=keep, dtype=_accumulator(x)))


def _mean(x: Array, axes: Axes, keep: bool) -> Array:
    return np.asarray(x.mean(axis=axes, keepdims=keep, dtype=_accumulator(x)))


def _accumulator(x: Array) -> Any:
    return np.float64 if x.dtype == np.float32 else None


def _log_sum_exp(x: Array, axes: Axes, keep: bool) -> Array:
    top = x.max(axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    total = np.log(np.exp(x - top).sum(axis=axes, keepdims=True)) + top
    return np.asarray(total if keep else total.squeeze(axes))


_reduction("reduce_sum", _sum, "the sum")
_reduction("reduce_mean", _mean, "the mean")
_reduction("reduce_max", lambda x, a, k: x.max(axis=a, keepdims=k), "the largest", exact=True)
_reduction("reduce_min", lambda x, a, k: x.min(axis=a, keepdims=k), "the smallest", exact=True)
_reduction("reduce_prod", lambda x, a, k: x.prod(axis=a, keepdims=k), "the product")
_reduction("reduce_l1_norm", lambda x, a, k: _sum(np.abs(x), a, k), "the sum of magnitudes")
_reduction(
    "reduce_l2_norm",
    lambda x, a, k: np.sqrt(_sum(np.square(x), a, k)),
    "the root of the sum of squares",
)
_reduction("reduce_sum_square", lambda x, a, k: _sum(np.square(x), a, k), "the sum of squares")
_reduction("reduce_log_sum", lambda x, a, k: np.log(_sum(x, a, k)), "the logarithm of the sum")
_reduction("reduce_log_sum_exp", _log_sum_exp, "the logarithm of the sum of exponentials")


def _index(name: str, function: Callable[..., Any], doc: str) -> None:
    def run(x: Array, axis: Any = -1, keep_dims: Any = False, output_dtype: str = "int32") -> Array:
        if output_dtype not in ("int32", "uint16"):
            raise OpError(f"output_dtype is {output_dtype!r}: known are int32, uint16")
        found = function(x, axis=axis_of(axis, x.ndim), keepdims=bool(keep_dims))
        return np.asarray(found).astype(HELD[output_dtype])

    run.__doc__ = doc
    op(name)(run)


_index("reduce_argmax", np.argmax, "the place of the largest, the first of equals")
_index("reduce_argmin", np.argmin, "the place of the smallest, the first of equals")


def _order(x: Array, axis: int, ascending: bool) -> Array:
    """Places in order of value; equals stay in order of place."""
    if ascending:
        return np.argsort(x, axis=axis, kind="stable")
    turned = np.flip(x, axis=axis)
    return np.flip(x.shape[axis] - 1 - np.argsort(turned, axis=axis, kind="stable"), axis=axis)


@op("argsort")
def argsort(x: Array, axis: Any = -1, ascending: Any = False) -> Array:
    """Places in order of value."""
    return _order(x, axis_of(axis, x.ndim), bool(ascending)).astype(np.int32)


@op("topk", exact=True)
def topk(
    x: Array,
    k: Any = 1,
    axis: Any = -1,
    ascending: Any = False,
    sort: Any = True,
    return_indices: Any = True,
    output_indices_dtype: str = "int32",
) -> Any:
    """The k largest along an axis, and their places; always sorted."""
    number = axis_of(axis, x.ndim)
    k = x.shape[number] if integer(k) == -1 else integer(k)
    if not 0 < k <= x.shape[number]:
        raise OpError(f"the top {k} of {x.shape[number]}")
    if output_indices_dtype not in HELD:
        raise OpError(f"output_indices_dtype is {output_indices_dtype!r}")
    places = np.take(_order(x, number, bool(ascending)), np.arange(k), axis=number)
    values = np.take_along_axis(x, places, axis=number)
    return (values, places.astype(HELD[output_indices_dtype])) if return_indices else values


@op("cumsum")
def cumsum(x: Array, axis: Any = 0, exclusive: Any = False, reverse: Any = False) -> Array:
    """Running sums along an axis; exclusive ones are of what comes before."""
    number = axis_of(axis, x.ndim)
    answer = np.moveaxis(np.flip(x, number) if reverse else x, number, 0)
    if exclusive:
        answer = np.concatenate([np.zeros_like(answer[:1]), answer[:-1]])
    answer = np.moveaxis(np.cumsum(answer, axis=0, dtype=x.dtype), 0, number)
    return np.asarray(np.flip(answer, number) if reverse else answer)

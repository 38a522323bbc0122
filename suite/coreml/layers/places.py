"""Layers that take or put elements by place: gather, scatter, sort, choose."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.coreml.layers.registry import Layer, layer, operator, whole_numbers

_MODES = ("update", "add", "sub", "mul", "div", "max", "min")


@layer("gather")
def _gather(p: Any) -> Layer:
    return lambda x, places: operator("gather")(x, whole_numbers(places), p.axis)


@layer("gatherND")
def _gather_nd(p: Any) -> Layer:
    return lambda x, places: operator("gather_nd")(x, whole_numbers(places))


@layer("gatherAlongAxis")
def _gather_along_axis(p: Any) -> Layer:
    return lambda x, places: operator("gather_along_axis")(x, whole_numbers(places), p.axis)


@layer("scatter")
def _scatter(p: Any) -> Layer:
    return lambda x, places, updates: operator("scatter")(
        x, whole_numbers(places), updates, p.axis, _MODES[p.mode]
    )


@layer("scatterND")
def _scatter_nd(p: Any) -> Layer:
    return lambda x, places, updates: operator("scatter_nd")(
        x, whole_numbers(places), updates, _MODES[p.mode]
    )


@layer("scatterAlongAxis")
def _scatter_along_axis(p: Any) -> Layer:
    return lambda x, places, updates: operator("scatter_along_axis")(
        x, whole_numbers(places), updates, p.axis, _MODES[p.mode]
    )


@layer("whereBroadcastable")
def _where(p: Any) -> Layer:
    return lambda chosen, a, b: operator("select")(chosen != 0, a, b)


@layer("oneHot")
def _one_hot(p: Any) -> Layer:
    return lambda x: operator("one_hot")(
        whole_numbers(x), int(p.oneHotVectorSize), p.axis, np.float32(p.onValue), np.float32(p.offValue)
    )


@layer("topK")
def _top_k(p: Any) -> Layer:
    return lambda x: operator("topk")(x, int(p.K), p.axis, p.useBottomK)


@layer("argSort")
def _arg_sort(p: Any) -> Layer:
    return lambda x: operator("argsort")(x, p.axis, not p.descending)


@layer("argMax")
def _arg_max(p: Any) -> Layer:
    return lambda x: operator("reduce_argmax")(x, p.axis, not p.removeDim)


@layer("argMin")
def _arg_min(p: Any) -> Layer:
    return lambda x: operator("reduce_argmin")(x, p.axis, not p.removeDim)


@layer("cumSum")
def _cum_sum(p: Any) -> Layer:
    return lambda x: operator("cumsum")(x, p.axis, p.excludeFinalSum, p.reverse)

"""Layers that move, copy or leave out elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.coreml.layers.registry import Layer, as_images, layer, operator, whole_numbers
from suite.coreml.ops.registry import OpError, integers, room
from suite.spec import Array


@layer("transpose", "permute")
def _transpose(p: Any) -> Layer:
    axes = integers(p.axes if p.DESCRIPTOR.name == "TransposeLayerParams" else p.axis)
    return lambda x: operator("transpose")(x, axes)


@layer("reshapeStatic", "rankPreservingReshape")
def _reshape(p: Any) -> Layer:
    shape = integers(p.targetShape)
    return lambda x: operator("reshape")(x, shape)


@layer("reshapeDynamic")
def _reshape_dynamic(p: Any) -> Layer:
    return lambda x, shape: operator("reshape")(x, whole_numbers(shape))


@layer("reshapeLike")
def _reshape_like(p: Any) -> Layer:
    return lambda x, like: operator("reshape")(x, like.shape)


@layer("expandDims")
def _expand_dims(p: Any) -> Layer:
    return lambda x: operator("expand_dims")(x, integers(p.axes))


@layer("squeeze")
def _squeeze(p: Any) -> Layer:
    return lambda x: operator("squeeze")(x, None if p.squeezeAll else integers(p.axes))


@layer("flattenTo2D")
def _flatten_to_2d(p: Any) -> Layer:
    return lambda x: operator("flatten2d")(x, p.axis)


@layer("flatten")
def _flatten(p: Any) -> Layer:
    def run(x: Array) -> Array:
        if x.ndim < 3:
            raise OpError(f"an image of rank {x.ndim}")
        moved = np.moveaxis(x, -3, -1) if p.mode else x
        return moved.reshape(*x.shape[:-3], -1, 1, 1)

    return run


@layer("concatND", "concat")
def _concat(p: Any) -> Layer:
    legacy = p.DESCRIPTOR.name == "ConcatLayerParams"
    if legacy:
        axis, interleave = (-5 if p.sequenceConcat else -3), False
    else:
        axis, interleave = p.axis, p.interleave
    return lambda *values: operator("concat")(list(values), axis, interleave)


@layer("stack")
def _stack(p: Any) -> Layer:
    return lambda *values: operator("stack")(list(values), p.axis)


@layer("splitND")
def _split_nd(p: Any) -> Layer:
    return lambda x: operator("split")(x, p.axis, int(p.numSplits) or None, integers(p.splitSizes) or None)


@layer("split")
def _split(p: Any) -> Layer:
    return lambda x: operator("split")(x, -3, int(p.nOutputs))


@layer("tile")
def _tile(p: Any) -> Layer:
    def run(x: Array, *reps: Array) -> Array:
        answer: Array = operator("tile")(x, whole_numbers(reps[0]) if reps else integers(p.reps))
        return answer

    return run


@layer("sequenceRepeat")
def _repeat(p: Any) -> Layer:
    def run(x: Array) -> Array:
        if x.ndim < 5:
            raise OpError(f"a sequence of rank {x.ndim}")
        times = [int(p.nRepetitions) or 1 if axis == x.ndim - 5 else 1 for axis in range(x.ndim)]
        answer: Array = operator("tile")(x, times)
        return answer

    return run


@layer("broadcastToStatic")
def _broadcast(p: Any) -> Layer:
    shape = integers(p.targetShape)
    return lambda x: np.array(np.broadcast_to(x, room(shape)))


@layer("broadcastToLike")
def _broadcast_like(p: Any) -> Layer:
    return lambda x, like: np.array(np.broadcast_to(x, room(like.shape)))


@layer("broadcastToDynamic")
def _broadcast_by_values(p: Any) -> Layer:
    return lambda x, shape: np.array(np.broadcast_to(x, room(whole_numbers(shape))))


@layer("rangeStatic")
def _range(p: Any) -> Layer:
    return lambda: operator("range_1d")(
        np.float32(p.startValue), np.float32(p.endValue), np.float32(p.stepSizeValue)
    )


@layer("rangeDynamic")
def _range_by_values(p: Any) -> Layer:
    def run(end: Array, *more: Array) -> Array:
        given = [np.float32(p.startValue), np.float32(p.stepSizeValue)]
        given[: len(more)] = [one.reshape(-1)[0] for one in more]
        answer: Array = operator("range_1d")(given[0], end.reshape(-1)[0], given[1])
        return answer

    return run


@layer("fillStatic")
def _fill(p: Any) -> Layer:
    return lambda: operator("fill")(integers(p.targetShape), float(p.value))


@layer("fillLike")
def _fill_like(p: Any) -> Layer:
    return lambda x: operator("fill")(x.shape, float(p.value))


@layer("fillDynamic")
def _fill_dynamic(p: Any) -> Layer:
    return lambda shape: operator("fill")(whole_numbers(shape), float(p.value))


@layer("sliceStatic")
def _slice_static(p: Any) -> Layer:
    squeeze = [bool(one) for one in p.squeezeMasks] or None
    return lambda x: operator("slice_by_index")(
        x,
        integers(p.beginIds),
        integers(p.endIds),
        integers(p.strides),
        [bool(one) for one in p.beginMasks],
        [bool(one) for one in p.endMasks],
        squeeze,
    )


@layer("sliceDynamic")
def _slice_by_values(p: Any) -> Layer:
    def run(x: Array, begin: Array, *more: Array) -> Array:
        def given(place: int, held: Any) -> list[int]:
            return whole_numbers(more[place]).tolist() if len(more) > place else integers(held)[: x.ndim]

        def mask(place: int, held: Any) -> list[bool]:
            return [bool(one) for one in given(place, held)] or [False] * x.ndim

        answer: Array = operator("slice_by_index")(
            x,
            whole_numbers(begin).tolist(),
            given(0, p.endIds),
            given(1, p.strides),
            mask(2, p.beginMasks),
            mask(3, p.endMasks),
            mask(4, p.squeezeMasks),
        )
        return answer

    return run


@layer("slice")
def _slice(p: Any) -> Layer:
    axis, start, end, step = -3 + p.axis, int(p.startIndex), int(p.endIndex), int(p.stride) or 1

    def run(x: Array) -> Array:
        if x.ndim < 3:
            raise OpError(f"an image of rank {x.ndim}")
        index: list[Any] = [slice(None)] * x.ndim
        # The end is the first that is left out; -1 is the last, and is taken.
        index[axis] = slice(start, None if end == -1 else end + 1 if end < 0 else end, step)
        return np.asarray(x[tuple(index)])

    return run


@layer("sliceBySize")
def _slice_by_size(p: Any) -> Layer:
    def run(x: Array, begin: Array) -> Array:
        start = int(whole_numbers(begin).reshape(-1)[0])
        axis = p.axis % x.ndim
        begins = [start if i == axis else 0 for i in range(x.ndim)]
        sizes = [int(p.size) if i == axis else -1 for i in range(x.ndim)]
        answer: Array = operator("slice_by_size")(x, begins, sizes)
        return answer

    return run


@layer("reverse")
def _reverse(p: Any) -> Layer:
    return lambda x: operator("reverse")(x, [i for i, turned in enumerate(p.reverseDim) if turned])


@layer("reverseSeq")
def _reverse_steps(p: Any) -> Layer:
    return lambda x, lengths: operator("reverse_sequence")(
        x, whole_numbers(lengths), p.sequenceAxis, p.batchAxis
    )


@layer("lowerTriangular")
def _lower(p: Any) -> Layer:
    return lambda x: np.tril(x, int(p.k))


@layer("upperTriangular")
def _upper(p: Any) -> Layer:
    return lambda x: np.triu(x, int(p.k))


@layer("slidingWindows")
def _sliding_windows(p: Any) -> Layer:
    return lambda x: operator("sliding_windows")(x, p.axis, int(p.windowSize), int(p.step) or 1)


@layer("reorganizeData")
def _reorganize(p: Any) -> Layer:
    name = ("space_to_depth", "depth_to_space", "pixel_shuffle")[p.mode]
    return as_images(lambda x: operator(name)(x, int(p.blockSize)))


@layer("matrixBandPart")
def _band(p: Any) -> Layer:
    return lambda x: operator("band_part")(x, p.numLower, p.numUpper)

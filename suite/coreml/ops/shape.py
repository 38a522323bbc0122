"""Shapes: reshaping, moving, joining, repeating, padding and rearranging."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from suite.coreml.ops.registry import OpError, axis_of, integer, integers, op, real, room
from suite.spec import Array

MOST_STEPS = 1 << 28  # of a range


@op("identity", exact=True, view=True)
def identity(x: Any) -> Any:
    """The same."""
    return x


@op("transpose", exact=True, view=True)
def transpose(x: Array, perm: Array) -> Array:
    """The axes in another order."""
    order = [axis_of(axis, x.ndim) for axis in integers(perm)]
    if sorted(order) != list(range(x.ndim)):
        raise OpError(f"perm is {order} for a tensor of rank {x.ndim}")
    return x.transpose(order)


@op("reshape", exact=True, view=True)
def reshape(x: Array, shape: Array) -> Array:
    """Another shape of as many elements: 0 keeps a size, counted from the right; -1 is what is left."""
    wanted = integers(shape)
    for i, size in enumerate(wanted):
        if size == 0:
            from_right = len(wanted) - i
            wanted[i] = x.shape[-from_right] if from_right <= x.ndim else 1
    known = math.prod(size for size in wanted if size != -1)
    fits = known and x.size % known == 0 if wanted.count(-1) == 1 else known == x.size
    if not fits or wanted.count(-1) > 1 or any(size < -1 for size in wanted):
        raise OpError(f"{x.shape} cannot take the shape {integers(shape)}")
    return x.reshape(wanted)


@op("reshape_like", exact=True, view=True)
def reshape_like(
    x: Array, ref_tensors: list[Array], begins: list[Any], ends: list[Any], end_masks: list[Any]
) -> Array:
    """The shape that parts of other tensors' shapes make up."""
    wanted: list[int] = []
    if not len(ref_tensors) == len(begins) == len(ends) == len(end_masks):
        raise OpError("ref_tensors, begins, ends and end_masks differ in length")
    for other, begin, end, masked in zip(ref_tensors, begins, ends, end_masks, strict=True):
        wanted += other.shape[int(begin) :] if masked else other.shape[int(begin) : int(end)]
    if math.prod(wanted) != x.size:
        raise OpError(f"{x.shape} cannot take the shape {wanted}")
    return x.reshape(wanted)


@op("expand_dims", exact=True, view=True)
def expand_dims(x: Array, axes: Array) -> Array:
    """New axes of size 1."""
    rank = np.ndim(x) + len(integers(axes))
    places = {axis_of(axis, rank) for axis in integers(axes)}
    if len(places) != rank - np.ndim(x):
        raise OpError(f"axes are {integers(axes)} for a tensor of rank {np.ndim(x)}")
    return np.expand_dims(x, tuple(places))


@op("squeeze", exact=True, view=True)
def squeeze(x: Array, axes: Array | None = None) -> Array:
    """Without axes of size 1; a named axis of another size stays."""
    if axes is None:
        return np.asarray(x).squeeze()
    places = {axis_of(axis, x.ndim) for axis in integers(axes)}
    return np.asarray(x).squeeze(tuple(place for place in places if x.shape[place] == 1))


@op("flatten2d", exact=True, view=True)
def flatten2d(x: Array, axis: Any = 1) -> Array:
    """Two axes: those before, and those from an axis on."""
    number = integer(axis)
    if not -x.ndim <= number <= x.ndim:
        raise OpError(f"axis {number} of a tensor of rank {x.ndim}")
    return x.reshape(math.prod(x.shape[:number]), math.prod(x.shape[number:]))


@op("shape")
def shape(x: Array) -> Array:
    """The sizes of the axes."""
    return np.array(x.shape, np.int32)


@op("concat", exact=True)
def concat(values: list[Array], axis: Any, interleave: Any = False) -> Array:
    """One tensor after the other along an axis, or element by element."""
    if not values:
        raise OpError("no tensors to join")
    parts = [np.asarray(value) for value in values]
    if parts[0].ndim == 0:
        return np.stack(parts)
    number = axis_of(axis, parts[0].ndim)
    for part in parts[1:]:
        alike = part.ndim == parts[0].ndim and all(
            a == b or (i == number and not interleave)
            for i, (a, b) in enumerate(zip(part.shape, parts[0].shape, strict=False))
        )
        if not alike or part.dtype != parts[0].dtype:
            raise OpError(f"{parts[0].dtype} {parts[0].shape} and {part.dtype} {part.shape} cannot be joined")
    room(
        sum(part.shape[i] for part in parts) if i == number else size for i, size in enumerate(parts[0].shape)
    )
    if not interleave:
        return np.asarray(np.concatenate(parts, number))
    sizes = list(parts[0].shape)
    sizes[number] *= len(parts)
    return np.asarray(np.stack(parts, number + 1).reshape(sizes))


@op("stack", exact=True)
def stack(values: list[Array], axis: Any) -> Array:
    """Tensors of one shape along a new axis."""
    if not values or len({np.shape(value) for value in values}) > 1:
        raise OpError(f"{len(values)} tensors of unlike shapes cannot be stacked")
    room((len(values), *np.shape(values[0])))
    return np.stack(values, axis_of(axis, np.ndim(values[0]) + 1))


@op("split", exact=True, view=True)
def split(x: Array, axis: Any, num_splits: Any = None, split_sizes: Array | None = None) -> Any:
    """Parts of a tensor along an axis."""
    number = axis_of(axis, x.ndim)
    if split_sizes is not None:
        sizes = integers(split_sizes)
    elif num_splits is not None and 0 < integer(num_splits) <= x.shape[number]:
        sizes = [x.shape[number] // integer(num_splits)] * integer(num_splits)
    else:
        raise OpError(f"{num_splits} parts of {x.shape[number]}")
    if sum(sizes) != x.shape[number] or any(size < 0 for size in sizes):
        raise OpError(f"parts of {sizes} do not make up {x.shape[number]}")
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis=number))


@op("tile", exact=True)
def tile(x: Array, reps: Array) -> Array:
    """The tensor repeated along each axis."""
    times = integers(reps)
    if len(times) != np.ndim(x) or any(count < 1 for count in times):
        raise OpError(f"reps is {times} for a tensor of rank {np.ndim(x)}")
    room(size * count for size, count in zip(x.shape, times, strict=True))
    return np.tile(x, times)


@op("pad", exact=True)
def pad(x: Array, pad: Array, mode: str = "constant", constant_val: Any = 0.0) -> Array:
    """The last axes extended by a value, the edge, or a reflection without the edge."""
    given = integers(pad)
    if len(given) % 2 or len(given) > 2 * x.ndim or any(value < 0 for value in given):
        raise OpError(f"pad is {given} for a tensor of rank {x.ndim}")
    pairs = [(0, 0)] * (x.ndim - len(given) // 2) + list(zip(given[::2], given[1::2], strict=True))
    room(size + before + after for size, (before, after) in zip(x.shape, pairs, strict=True))
    if mode == "constant":
        return _constant_padded(x, pairs, constant_val)
    if mode == "reflect":
        if any(max(pair) > size - 1 for pair, size in zip(pairs, x.shape, strict=True) if any(pair)):
            raise OpError(f"a reflection of {pairs} of a tensor of {x.shape}")
        return np.pad(x, pairs, "reflect")
    if mode == "replicate":
        if 0 in x.shape:
            raise OpError(f"the edge of a tensor of {x.shape}")
        return np.pad(x, pairs, "edge")
    raise OpError(f"mode is {mode!r}: known are constant, reflect, replicate")


def _constant_padded(x: Array, pairs: list[tuple[int, int]], value: Any) -> Array:
    """As np.pad, and in the same order of memory."""
    order = np.argsort([-stride for stride in x.strides], kind="stable")
    sizes = [size + before + after for size, (before, after) in zip(x.shape, pairs, strict=True)]
    answer = np.empty([sizes[i] for i in order], x.dtype).transpose(np.argsort(order))
    answer[...] = np.asarray(value).astype(x.dtype)
    answer[tuple(slice(before, before + size) for size, (before, _) in zip(x.shape, pairs, strict=True))] = x
    return answer


@op("fill", exact=True)
def fill(shape: Array, value: Any = 0.0) -> Array:
    """A tensor of one value."""
    return np.full(room(integers(shape)), value, _held(value))


@op("fill_like", exact=True)
def fill_like(ref_tensor: Array, value: Any = 0.0) -> Array:
    """A tensor of one value, of another tensor's shape."""
    return np.full(np.shape(ref_tensor), value, _held(value))


def _held(value: Any) -> Any:
    return np.dtype(np.float32) if isinstance(value, float) else np.asarray(value).dtype


@op("range_1d")
def range_1d(start: Any, end: Any, step: Any) -> Array:
    """Steps from start to before end."""
    dtype = np.asarray(start).dtype
    first, last, each = (real(value) for value in (start, end, step))
    if (
        not each
        or not all(map(math.isfinite, (first, last, each)))
        or abs((last - first) / each) > MOST_STEPS
    ):
        raise OpError(f"a range from {first:g} to {last:g} by {each:g}")
    count = max(0, math.ceil((last - first) / each))
    return (first + each * np.arange(count)).astype(dtype)


@op("band_part", exact=True)
def band_part(x: Array, lower: Any = -1, upper: Any = -1) -> Array:
    """Zero but for a band about the diagonal; -1 keeps all on that side."""
    if x.ndim < 2:
        raise OpError(f"a band of a tensor of rank {x.ndim}")
    below = np.arange(x.shape[-2])[:, None] - np.arange(x.shape[-1])
    down, up = integer(lower), integer(upper)
    kept = ((down < 0) | (below <= down)) & ((up < 0) | (-below <= up))
    return np.where(kept, x, np.zeros((), x.dtype))


@op("reverse", exact=True, view=True)
def reverse(x: Array, axes: Array | None = None) -> Array:
    """The order along some axes turned round."""
    chosen = range(x.ndim) if axes is None else integers(axes)
    return np.flip(x, tuple({axis_of(axis, x.ndim) for axis in chosen}))


@op("reverse_sequence", exact=True)
def reverse_sequence(x: Array, lengths: Array, seq_axis: Any = 0, batch_axis: Any = 0) -> Array:
    """The first elements of each sequence turned round, as many as its length says."""
    along, batch = axis_of(seq_axis, x.ndim), axis_of(batch_axis, x.ndim)
    counts = integers(lengths)
    if len(counts) != x.shape[batch] or any(not 0 <= count <= x.shape[along] for count in counts):
        raise OpError(f"lengths are {counts} for a tensor of {x.shape}")
    answer = np.array(x)
    for i, count in enumerate(counts):
        index: list[Any] = [slice(None)] * x.ndim
        index[batch] = slice(i, i + 1)
        index[along] = slice(0, count)
        answer[tuple(index)] = np.flip(x[tuple(index)], along)
    return answer


def _blocks(x: Array, block: Any) -> tuple[int, int, int, int, int]:
    if x.ndim != 4 or integer(block) < 1:
        raise OpError(f"blocks of {integer(block)} in a tensor of rank {x.ndim}")
    n, c, h, w = x.shape
    return n, c, h, w, integer(block)


@op("depth_to_space", exact=True, view=True)
def depth_to_space(x: Array, block_size: Any) -> Array:
    """Channels to pixels; the block's place is the outer part of the channel, as in TensorFlow."""
    n, c, h, w, b = _blocks(x, block_size)
    if c % (b * b):
        raise OpError(f"{c} channels in blocks of {b}")
    moved = x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
    return moved.reshape(n, c // (b * b), h * b, w * b)


@op("space_to_depth", exact=True, view=True)
def space_to_depth(x: Array, block_size: Any) -> Array:
    """Pixels to channels, the reverse of depth_to_space."""
    n, c, h, w, b = _blocks(x, block_size)
    if h % b or w % b:
        raise OpError(f"{h}x{w} pixels in blocks of {b}")
    moved = x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
    return moved.reshape(n, c * b * b, h // b, w // b)


@op("pixel_shuffle", exact=True, view=True)
def pixel_shuffle(x: Array, upscale_factor: Any) -> Array:
    """Channels to pixels; the block's place is the inner part of the channel, as in PyTorch."""
    n, c, h, w, b = _blocks(x, upscale_factor)
    if c % (b * b):
        raise OpError(f"{c} channels in blocks of {b}")
    moved = x.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return moved.reshape(n, c // (b * b), h * b, w * b)


@op("pixel_unshuffle", exact=True, view=True)
def pixel_unshuffle(x: Array, downscale_factor: Any) -> Array:
    """Pixels to channels, the reverse of pixel_shuffle."""
    n, c, h, w, b = _blocks(x, downscale_factor)
    if h % b or w % b:
        raise OpError(f"{h}x{w} pixels in blocks of {b}")
    moved = x.reshape(n, c, h // b, b, w // b, b).transpose(0, 1, 3, 5, 2, 4)
    return moved.reshape(n, c * b * b, h // b, w // b)


@op("space_to_batch", exact=True, view=True)
def space_to_batch(x: Array, block_shape: Array, paddings: Array) -> Array:
    """Pixels to samples, after zero padding."""
    (bh, bw), ((top, bottom), (left, right)) = _two(block_shape), _two_by_two(paddings)
    x = pad(x, np.array([top, bottom, left, right]))
    n, c, h, w = _rank4(x)
    if bh < 1 or bw < 1 or h % bh or w % bw:
        raise OpError(f"{h}x{w} pixels in blocks of {bh}x{bw}")
    moved = x.reshape(n, c, h // bh, bh, w // bw, bw).transpose(3, 5, 0, 1, 2, 4)
    return moved.reshape(n * bh * bw, c, h // bh, w // bw)


@op("batch_to_space", exact=True, view=True)
def batch_to_space(x: Array, block_shape: Array, crops: Array) -> Array:
    """Samples to pixels, then cropped."""
    (bh, bw), ((top, bottom), (left, right)) = _two(block_shape), _two_by_two(crops)
    n, c, h, w = _rank4(x)
    if bh < 1 or bw < 1 or n % (bh * bw) or min(top, bottom, left, right) < 0:
        raise OpError(f"{n} samples in blocks of {bh}x{bw}")
    moved = x.reshape(bh, bw, n // (bh * bw), c, h, w).transpose(2, 3, 4, 0, 5, 1)
    whole = moved.reshape(n // (bh * bw), c, h * bh, w * bw)
    return whole[:, :, top : h * bh - bottom, left : w * bw - right]


def _rank4(x: Array) -> tuple[int, int, int, int]:
    if x.ndim != 4:
        raise OpError(f"a tensor of rank {x.ndim}, expected 4")
    n, c, h, w = x.shape
    return n, c, h, w


def _two(values: Array) -> tuple[int, int]:
    found = integers(values)
    if len(found) != 2:
        raise OpError(f"{found}, expected two numbers")
    return found[0], found[1]


def _two_by_two(values: Array) -> tuple[tuple[int, int], tuple[int, int]]:
    found = integers(values)
    if len(found) != 4:
        raise OpError(f"{found}, expected two pairs")
    return (found[0], found[1]), (found[2], found[3])


@op("sliding_windows", exact=True)
def sliding_windows(x: Array, axis: Any, size: Any, stride: Any = 1) -> Array:
    """Every window along an axis, as a new axis after it."""
    number, width, step = axis_of(axis, x.ndim), integer(size), integer(stride)
    if not 0 < width <= x.shape[number] or step < 1:
        raise OpError(f"windows of {width} by {step} in {x.shape[number]}")
    views = np.lib.stride_tricks.sliding_window_view(x, width, number)
    index: list[Any] = [slice(None)] * x.ndim
    index[number] = slice(None, None, step)
    chosen = views[tuple(index)]
    room((*chosen.shape,))
    return np.ascontiguousarray(np.moveaxis(chosen, -1, number + 1))


@op("crop", exact=True, view=True)
def crop(x: Array, crop_height: Array, crop_width: Array) -> Array:
    """Without some rows and columns."""
    (top, bottom), (left, right) = _two(crop_height), _two(crop_width)
    if x.ndim < 3 or min(top, bottom, left, right) < 0:
        raise OpError(f"a crop of {(top, bottom, left, right)} of a tensor of {x.shape}")
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]

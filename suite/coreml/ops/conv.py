"""Convolutions, in one, two and three spatial dimensions.

Each is a sum over the positions of the kernel: a matrix product of a shifted
input with that position's weights, added up by BLAS in place. No window is
ever copied out.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from suite.coreml.ops.budget import spend
from suite.coreml.ops.registry import OpError, integer, integers, op, room
from suite.coreml.ops.windows import (
    channels_first,
    channels_last,
    output_sizes,
    padded,
    pads,
    per_axis,
    taps,
)
from suite.spec import Array

_BLOCK_BYTES = 1 << 18  # of what is worked on at a time: it stays in the cache
_FEW = 256  # values of a window, up to which windows are put together
_SMALL_WEIGHTS = 1 << 16  # elements: BLAS packs them anew for every block of rows


@op("conv", packs=("weight",))
def conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    dilations: Array | None = None,
    groups: Any = 1,
    memo: dict[str, Any] | None = None,
) -> Array:
    """x (n, c_in, *spatial), weight (c_out, c_in / groups, *kernel) -> (n, c_out, *spatial)."""
    spatial = x.ndim - 2
    if not 1 <= spatial <= 3 or weight.ndim != x.ndim:
        raise OpError(f"a convolution of {x.shape} with {weight.shape}")
    groups = integer(groups)
    if groups < 1 or weight.shape[1] * groups != x.shape[1] or weight.shape[0] % groups:
        raise OpError(f"{x.shape[1]} channels in {groups} groups do not fit weights of {weight.shape}")
    if 0 in weight.shape:
        raise OpError(f"weights of {weight.shape}")
    kernel = weight.shape[2:]
    steps, spread = per_axis(strides, spatial, 1), per_axis(dilations, spatial, 1)
    padding = pads(pad_type, pad, x.shape[2:], kernel, steps, spread)
    out = output_sizes(x.shape[2:], kernel, steps, spread, padding)
    room((x.shape[0], *out, weight.shape[0]))
    alone = groups == x.shape[1] == weight.shape[0]  # each channel by itself, all of them in one call
    spend(x.shape[0], *out, weight.size, calls=math.prod(kernel) * (1 if alone else groups))
    source = padded(channels_last(x), padding)
    memo = {} if memo is None else memo
    if alone and groups > 1:
        answer = _depthwise(source, weight, steps, spread, out, memo)
    elif groups > 1:
        answer = _grouped(source, weight, groups, steps, spread, out, memo)
    else:
        return channels_first(_dense(source, weight, bias, steps, spread, out, memo))
    if bias is not None:
        answer += bias
    return channels_first(answer)


def _dense(
    source: Array,
    weight: Array,
    bias: Array | None,
    strides: list[int],
    dilations: list[int],
    out: list[int],
    memo: dict[str, Any],
) -> Array:
    """Channels-last dense convolution."""
    kernel = weight.shape[2:]
    if "taps" not in memo:
        moved = np.moveaxis(weight, (0, 1), (-1, -2))
        memo["taps"] = np.ascontiguousarray(moved.reshape(-1, *moved.shape[-2:]), np.float32)
    parts = memo["taps"]  # (positions, c_in, c_out)
    if source.shape[-1] * math.prod(kernel) <= _FEW and len(parts) > 1:
        return _gathered(source, parts, bias, kernel, strides, dilations, out)
    if all(stride == 1 for stride in strides) and len(parts) > 1:
        return _shifted(source, parts, bias, kernel, dilations, out)
    answer = np.empty((source.shape[0], *out, weight.shape[0]), np.float32)
    rows = answer.reshape(-1, weight.shape[0])
    for number, (_, slices) in enumerate(taps(kernel, strides, dilations, out)):
        piece = source[(slice(None), *slices)].reshape(-1, source.shape[-1])
        if len(parts) == 1:
            _product(piece, parts[0], bias, rows)
        else:
            _accumulate(piece, parts[number], rows, first=number == 0)
    if bias is not None and len(parts) > 1:
        answer += bias
    return answer


def _product(left: Array, right: Array, bias: Array | None, out: Array) -> None:
    """left @ right + bias; of few weights in blocks of rows, so that the bias meets them in the cache."""
    left, count = np.ascontiguousarray(left, np.float32), len(left)
    step = count if right.size > _SMALL_WEIGHTS else max(1, _BLOCK_BYTES // (2 * right.shape[1]))
    for start in range(0, count, step):
        rows = out[start : start + step]
        np.dot(left[start : start + step], right, out=rows)
        if bias is not None:
            rows += bias


def _gathered(
    source: Array,
    parts: Array,
    bias: Array | None,
    kernel: tuple[int, ...],
    strides: list[int],
    dilations: list[int],
    out: list[int],
) -> Array:
    """Few channels: the windows are put together first, so that one product has enough to do."""
    answer = np.empty((source.shape[0], *out, parts.shape[-1]), np.float32)
    weights = parts.reshape(-1, parts.shape[-1])
    step = source.strides
    view = np.lib.stride_tricks.as_strided(
        source,
        (source.shape[0], *out, *kernel, source.shape[-1]),
        (
            step[0],
            *(size * stride for size, stride in zip(step[1:-1], strides, strict=True)),
            *(size * dilation for size, dilation in zip(step[1:-1], dilations, strict=True)),
            step[-1],
        ),
        writeable=False,
    )
    width = math.prod(out[1:]) * weights.shape[0]
    lines = max(1, 4 * _BLOCK_BYTES // max(1, 4 * width))
    for n in range(source.shape[0]):
        for start in range(0, out[0], lines):
            block = view[n, start : start + lines].reshape(-1, weights.shape[0])
            place = answer[n, start : start + lines].reshape(-1, weights.shape[1])
            np.dot(block, weights, out=place)
            if bias is not None:
                place += bias
    return answer


def _shifted(
    source: Array,
    parts: Array,
    bias: Array | None,
    kernel: tuple[int, ...],
    dilations: list[int],
    out: list[int],
) -> Array:
    """Stride 1: every shift of the padded input is a run of its rows.

    The answer has the padded width, whose surplus is cut off afterwards.
    """
    n, *sizes, channels = source.shape
    wide = np.empty((n, *out[:1], *sizes[1:], parts.shape[-1]), np.float32)
    steps = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    used = math.prod((out[0], *sizes[1:])) - sum(
        (size - fit) * step for size, fit, step in zip(sizes[1:], out[1:], steps[1:], strict=True)
    )
    for image in range(n):
        flat = source[image].reshape(-1, channels)
        rows = wide[image].reshape(-1, parts.shape[-1])[:used]
        for number, position in enumerate(itertools.product(*(range(width) for width in kernel))):
            start = sum(
                at * dilation * step for at, dilation, step in zip(position, dilations, steps, strict=True)
            )
            _accumulate(flat[start : start + used], parts[number], rows, first=number == 0)
    answer = wide[(slice(None), *(slice(0, size) for size in out))]
    if bias is None:
        return np.ascontiguousarray(answer)
    return np.add(answer, bias, out=np.empty(answer.shape, np.float32))


def _accumulate(left: Array, right: Array, total: Array, *, first: bool) -> None:
    """total (+)= left @ right, all of them contiguous float32; BLAS sees the transposed problem."""
    from scipy.linalg.blas import sgemm  # not everyone needs what takes a fifth of a second to import

    left = np.ascontiguousarray(left, np.float32)
    if first:
        np.dot(left, right, out=total)
        return
    sgemm(1.0, right.T, left.T, 1.0, total.T, 0, 0, 1)


def _grouped(
    source: Array,
    weight: Array,
    groups: int,
    strides: list[int],
    dilations: list[int],
    out: list[int],
    memo: dict[str, Any],
) -> Array:
    inside, outside = weight.shape[1], weight.shape[0] // groups
    answer = np.empty((source.shape[0], *out, weight.shape[0]), np.float32)
    for group in range(groups):
        piece = np.ascontiguousarray(source[..., group * inside : (group + 1) * inside])
        own = slice(group * outside, (group + 1) * outside)
        answer[..., own] = _dense(
            piece, weight[own], None, strides, dilations, out, memo.setdefault(f"group {group}", {})
        )
    return answer


def _depthwise(
    source: Array,
    weight: Array,
    strides: list[int],
    dilations: list[int],
    out: list[int],
    memo: dict[str, Any],
) -> Array:
    """One filter a channel: multiply and add long rows, a few at a time."""
    channels = weight.shape[0]
    kernel = weight.shape[2:]
    if len(kernel) == 1:  # as an image of one row
        return _depthwise(
            source[:, None], weight[:, :, None], [1, *strides], [1, *dilations], [1, *out], memo
        )[:, 0]
    key = f"rows of {out[-1]}"
    if key not in memo:  # weights side by side as often as a row has pixels
        room((*kernel, channels, out[-1]))
        flat = weight.reshape(channels, -1).T.astype(np.float32)
        memo[key] = np.ascontiguousarray(np.tile(flat, (1, out[-1])))
    rows = memo[key]
    # A row of the answer needs runs of pixels: one plane for each remainder of the column by the stride.
    stride = strides[-1]
    planes = (
        [source]
        if stride == 1
        else [
            np.ascontiguousarray(source[..., remainder::stride, :])
            for remainder in range(min(stride, source.shape[-2]))
        ]
    )
    answer = np.empty((source.shape[0], *out, channels), np.float32)
    shape = (*answer.shape[:-2], out[-1] * channels)
    flat_answer = answer.reshape(shape)
    lines = max(1, _BLOCK_BYTES // (4 * math.prod(shape[2:])))
    scratch = np.empty((1, min(lines, out[0]), *shape[2:]), np.float32)
    positions = list(itertools.product(*(range(width) for width in kernel)))
    for image, start in itertools.product(range(shape[0]), range(0, out[0], lines)):
        height = min(lines, out[0] - start)
        total = flat_answer[image : image + 1, start : start + height]
        product = scratch[:, :height]
        for number, position in enumerate(positions):
            offset, remainder = divmod(position[-1] * dilations[-1], stride)
            plane = planes[remainder]
            plane = plane.reshape(*plane.shape[:-2], -1)
            index = [
                slice(at * dilation, at * dilation + (size - 1) * step + 1, step)
                for at, dilation, step, size in zip(
                    position[:-1], dilations[:-1], strides[:-1], out[:-1], strict=True
                )
            ]
            first = position[0] * dilations[0] + start * strides[0]
            index[0] = slice(first, first + (height - 1) * strides[0] + 1, strides[0])
            piece = plane[
                (slice(image, image + 1), *index, slice(offset * channels, (offset + out[-1]) * channels))
            ]
            if number == 0:
                np.multiply(piece, rows[0], out=total)
            else:
                np.multiply(piece, rows[number], out=product)
                total += product
    return answer


@op("conv_quantized")
def conv_quantized(
    x: Array,
    weight: Array,
    quantization_type: str,
    quant_scale: Array,
    quant_bias: Array,
    bias: Array | None = None,
    nbits: Any = 8,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    dilations: Array | None = None,
    groups: Any = 1,
) -> Array:
    """A convolution whose weights are `quantised * scale + bias`, by output channel or all alike."""
    if quantization_type != "linear":
        raise OpError(f"quantization_type is {quantization_type!r}: only linear is known")
    shape = (-1,) + (1,) * (weight.ndim - 1)
    real = weight.astype(np.float32) * np.reshape(quant_scale, shape) + np.reshape(quant_bias, shape)
    answer: Array = conv(x, real, bias, strides, pad_type, pad, dilations, groups)
    return answer


@op("conv_transpose", packs=("weight",))
def conv_transpose(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    pad: Array | None = None,
    output_shape: Array | None = None,
    pad_type: str = "valid",
    strides: Array | None = None,
    dilations: Array | None = None,
    groups: Any = 1,
    memo: dict[str, Any] | None = None,
) -> Array:
    """x (n, c_in, *spatial), weight (c_in, c_out / groups, *kernel) -> (n, c_out, *spatial)."""
    spatial, groups = x.ndim - 2, integer(groups)
    if not 1 <= spatial <= 3 or weight.ndim != x.ndim or weight.shape[0] != x.shape[1] or 0 in weight.shape:
        raise OpError(f"a transposed convolution of {x.shape} with {weight.shape}")
    if groups < 1 or x.shape[1] % groups:
        raise OpError(f"{x.shape[1]} channels in {groups} groups")
    kernel, channels = weight.shape[2:], weight.shape[1] * groups
    steps, spread = per_axis(strides, spatial, 1), per_axis(dilations, spatial, 1)
    full = [
        (size - 1) * step + (width - 1) * dilation + 1
        for size, step, width, dilation in zip(x.shape[2:], steps, kernel, spread, strict=True)
    ]
    before, sizes = _cut(x.shape, full, str(pad_type).lower(), pad, output_shape, steps, channels)
    room((x.shape[0], *full, channels))
    room((x.shape[0], *sizes, channels))
    spend(x.shape[0], *x.shape[2:], weight.size, calls=math.prod(kernel) * groups)
    source = channels_last(x)
    total = np.zeros((x.shape[0], *full, channels), np.float32)
    inside, outside = x.shape[1] // groups, weight.shape[1]
    for group in range(groups):
        piece = np.ascontiguousarray(source[..., group * inside : (group + 1) * inside])
        flat = piece.reshape(-1, inside)
        own = weight[group * inside : (group + 1) * inside]
        for number, (_, slices) in enumerate(taps(kernel, steps, spread, x.shape[2:])):
            part = np.dot(flat, np.ascontiguousarray(own.reshape(inside, outside, -1)[..., number]))
            index: tuple[Any, ...] = (slice(None), *slices, slice(group * outside, (group + 1) * outside))
            place = total[index]
            place += part.reshape(place.shape)
    answer = np.zeros((x.shape[0], *sizes, channels), np.float32)
    kept = [min(size, have - start) for size, have, start in zip(sizes, full, before, strict=True)]
    if all(size > 0 for size in kept):
        inner = tuple(slice(0, size) for size in kept)
        taken = tuple(slice(start, start + size) for start, size in zip(before, kept, strict=True))
        answer[(slice(None), *inner)] = total[(slice(None), *taken)]
    if bias is not None:
        answer += bias
    return channels_first(answer)


def _cut(
    shape: tuple[int, ...],
    full: list[int],
    pad_type: str,
    pad: Array | None,
    output_shape: Array | None,
    strides: list[int],
    channels: int,
) -> tuple[list[int], list[int]]:
    """Where the answer starts in the full sum, and its sizes."""
    wanted = None if output_shape is None else integers(output_shape)
    if wanted is not None:
        if len(wanted) != len(shape) or wanted[:2] != [shape[0], channels]:
            raise OpError(f"output_shape is {wanted} for {channels} channels and an input of {shape}")
        wanted = wanted[2:]
    if pad_type == "custom":
        given = [0] * (2 * len(full)) if pad is None else integers(pad)
        if len(given) != 2 * len(full) or any(value < 0 for value in given):
            raise OpError(f"pad is {given}, expected {2 * len(full)} numbers from 0")
        before = given[::2]
        sizes = [size - a - b for size, a, b in zip(full, given[::2], given[1::2], strict=True)]
    elif pad_type == "valid":
        before, sizes = [0] * len(full), list(full)
    elif pad_type in ("same", "same_lower"):
        sizes = [size * stride for size, stride in zip(shape[2:], strides, strict=True)]
        surplus = [max(0, have - size) for have, size in zip(full, wanted or sizes, strict=True)]
        before = [more // 2 if pad_type == "same" else more - more // 2 for more in surplus]
    else:
        raise OpError(f"pad_type is {pad_type!r}: known are valid, same, same_lower, custom")
    sizes = wanted or sizes
    if any(size < 1 for size in sizes):
        raise OpError(f"nothing is left of {full} after cutting {pad_type}")
    return before, sizes

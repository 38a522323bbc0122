"""Constants that are stored compressed: what they unpack to, bit for bit as coremltools unpacks them.

Scales are float16 in a float16 program; as in coremltools (optimize/_utils.py),
8-bit values are dequantised in float32 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from suite.coreml.halves import to_half
from suite.coreml.ops.registry import OpError, axis_of, integers, op, room
from suite.spec import Array

_AT_A_TIME = 1 << 20  # elements


@op("constexpr_affine_dequantize")
def constexpr_affine_dequantize(quantized_data: Array, zero_point: Array, scale: Array, axis: Any) -> Array:
    """`scale (quantized_data - zero_point)`, by one axis or all alike."""
    number = axis_of(axis, quantized_data.ndim)
    real = quantized_data.astype(np.float32)
    real -= _lined_up(zero_point, quantized_data, number).astype(np.float32)
    real *= _lined_up(scale, quantized_data, number)
    return real


def _lined_up(values: Array, data: Array, axis: int) -> Array:
    values = np.asarray(values)
    if values.ndim == 0:
        return values
    if values.ndim != 1 or values.shape[0] not in (1, data.shape[axis]):
        raise OpError(f"{values.shape} values along axis {axis} of {data.shape}")
    return values.reshape([-1 if i == axis else 1 for i in range(data.ndim)])


@op("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(
    data: Array, scale: Array, offset: Array | None = None, half: bool = False
) -> Array:
    """`scale (data - offset)`, each of them for a block of the data."""
    real = data.astype(np.float32, order="C")
    if offset is not None:
        _by_block(np.subtract, real, np.asarray(offset, np.float32))
        if half:  # coremltools subtracts in the type of the scale
            flat = real.reshape(-1)
            for part in _parts(flat.size):
                flat[part] = to_half(flat[part])
    _by_block(np.multiply, real, scale)
    return real


def _by_block(function: np.ufunc, data: Array, values: Array) -> None:
    """Into `data`: it and the value of each block; nothing is repeated to the size of the data."""
    blocks = _blocks(values, data.shape)
    pairs = zip(blocks, data.shape, strict=True)
    split = data.reshape([size for have, whole in pairs for size in (have, whole // have)])  # a view
    function(split, np.reshape(values, [size for have in blocks for size in (have, 1)]), out=split)


def _blocks(values: Array, shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many blocks lie along each axis."""
    have = np.shape(values)
    if len(have) != len(shape) or any(not n or size % n for n, size in zip(have, shape, strict=False)):
        raise OpError(f"blocks of {have} in data of {shape}")
    return have


def spread(values: Array, shape: tuple[int, ...]) -> Array:
    """Blocks' values, repeated to the shape of the data."""
    values = np.asarray(values)
    for axis, (size, have) in enumerate(zip(shape, _blocks(values, shape), strict=True)):
        if 1 < have < size:
            values = np.repeat(values, size // have, axis)
    return values


def unpack(raw: Array, bits: int, count: int) -> Array:
    """Numbers of some bits each, packed from the least significant bit on."""
    if raw.size * 8 < bits * count:
        raise OpError(f"{raw.size} bytes for {count} numbers of {bits} bits")
    if bits == 8:
        return raw[:count].view(np.uint8)
    answer = np.empty(count, np.uint8)
    for part in _parts(count):  # each begins at a whole byte
        packed = raw[part.start * bits // 8 : math.ceil(part.stop * bits / 8)].view(np.uint8)
        size = part.stop - part.start
        planes = np.unpackbits(packed, count=bits * size, bitorder="little").reshape(size, bits)
        np.sum(planes << np.arange(bits, dtype=np.uint8), axis=1, dtype=np.uint8, out=answer[part])
    return answer


def _parts(count: int, weight: int = 1) -> Iterator[slice]:
    """So many elements in turn: what is needed beside the answer stays small, whatever the size of that."""
    step = max(1, _AT_A_TIME // max(1, weight))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


@op("constexpr_lut_to_dense", exact=True)
def constexpr_lut_to_dense(
    indices: Array, lut: Array, shape: Array | None = None, vector_axis: Any = None
) -> Array:
    """Values of a table by their places: packed and with a shape (iOS16), or block by block (iOS18)."""
    if shape is None:
        return _blockwise_lut(indices, lut, vector_axis)
    sizes = room(integers(shape))
    bits = int(math.log2(lut.size)) if lut.size else 0
    if lut.ndim != 1 or not 1 <= bits <= 8 or 1 << bits != lut.size:
        raise OpError(f"a table of {lut.shape}")
    places = unpack(indices.reshape(-1), bits, math.prod(sizes))
    answer = np.empty(places.size, lut.dtype)
    for part in _parts(places.size):
        answer[part] = lut[places[part]]
    return answer.reshape(sizes)


def _blockwise_lut(indices: Array, lut: Array, vector_axis: Any) -> Array:
    """`lut` is (*blocks, entries, vector); a vector of values replaces each place along `vector_axis`."""
    if lut.ndim != indices.ndim + 2 or 0 in lut.shape or not indices.ndim:
        raise OpError(f"a table of {lut.shape} for places of {indices.shape}")
    entries, width = lut.shape[-2:]
    if indices.size and int(indices.max()) >= entries:
        raise OpError(f"place {int(indices.max())} in a table of {entries}")
    if width > 1 and vector_axis is None:
        raise OpError("vectors of values without vector_axis")
    axis = axis_of(vector_axis, indices.ndim) if width > 1 else 0
    before, after = indices.shape[: axis + 1], indices.shape[axis + 1 :]
    answer = np.empty(room((*before[:-1], before[-1] * width, *after)), lut.dtype)
    found = np.moveaxis(answer.reshape(*before, width, *after), axis + 1, -1)  # a view: (*indices, vector)
    first, *others = (
        np.arange(size).reshape([-1 if j == i else 1 for j in range(indices.ndim)]) // _block(size, have)
        for i, (size, have) in enumerate(zip(indices.shape, lut.shape[:-2], strict=True))
    )
    for part in _parts(len(indices), width * indices.size // max(1, len(indices))):
        found[part] = lut[(first[part], *others, indices[part])]
    return answer


def _block(size: int, have: int) -> int:
    if size % have:
        raise OpError(f"{have} tables for {size} elements")
    return max(1, size // have)


@op("constexpr_sparse_to_dense", exact=True)
def constexpr_sparse_to_dense(nonzero_data: Array, mask: Array, shape: Array | None = None) -> Array:
    """Values where the mask says, 0 elsewhere; the mask is packed (iOS16) or a tensor (iOS18)."""
    if shape is not None:
        sizes = room(integers(shape))
        mask = unpack(mask.reshape(-1), 1, math.prod(sizes)).reshape(sizes)
    return _dense(nonzero_data, mask != 0)


def _dense(values: Array, there: Array) -> Array:
    if values.ndim != 1 or int(np.count_nonzero(there)) != values.size:
        raise OpError(f"{values.shape} values for {int(np.count_nonzero(there))} places")
    answer = np.zeros(there.shape, values.dtype)
    answer[there] = values
    return answer


@op("constexpr_lut_to_sparse", exact=True)
def constexpr_lut_to_sparse(
    indices_mask: Array, indices_nonzero_data: Array, lut: Array, vector_axis: Any = None
) -> Any:
    """The mask, widened by the vectors, and the values at its places."""
    dense = _blockwise_lut(_dense(indices_nonzero_data, indices_mask != 0), lut, vector_axis)
    mask = indices_mask
    if lut.shape[-1] > 1:
        mask = np.repeat(mask, lut.shape[-1], axis_of(vector_axis, mask.ndim))
    return mask, dense[mask != 0].reshape(-1)


@op("constexpr_sparse_blockwise_shift_scale")
def constexpr_sparse_blockwise_shift_scale(
    data_mask: Array, nonzero_data: Array, scale: Array, offset: Array | None = None, half: bool = False
) -> Any:
    """The mask, and the values at its places dequantised."""
    dense = _dense(nonzero_data, data_mask != 0)
    real = constexpr_blockwise_shift_scale(dense, scale, offset, half)
    return data_mask, real[data_mask != 0].reshape(-1)


@op("constexpr_cast", exact=True)
def constexpr_cast(source_val: Array, output_dtype: str) -> Array:
    """float16 as float32."""
    if output_dtype != "fp32":
        raise OpError(f"output_dtype is {output_dtype!r}: only fp32 is known")
    return source_val.astype(np.float32)

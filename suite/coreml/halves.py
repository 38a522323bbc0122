"""float16 values held in float32: rounding as the hardware does, many times as fast as NumPy's casts.

NumPy 1 takes some 8 ns a value to cast to float16 and back, and 500 for a
subnormal one.

A value keeps eleven bits when a power of two is added and taken off again
whose own last place is the wanted one: the addition rounds, ties to even.
"""

from __future__ import annotations

import numpy as np

from suite.spec import Array

_BLOCK = 1 << 16  # values at a time: what they need stays in the cache
_SIGN = np.uint32(0x80000000)
_EXPONENT = np.uint32(0x7F800000)
_LARGE = np.float32(2.0**15)  # beyond it some round to infinity
_LEAST = np.float32(2.0**-14)  # below it the last place stays that of a subnormal
_TO_ROUNDER = np.float32(1.5 * 2.0**13)
_OVERFLOWS = np.float32(65520)


def to_half(values: Array) -> Array:
    """The nearest float16 of each, ties to even, as float32; a new array in the same order of memory."""
    if values.dtype == np.float16:
        return values.astype(np.float32)
    source = np.asarray(values, np.float32)
    order = np.argsort([-stride for stride in source.strides], kind="stable")
    flat = source.transpose(order).reshape(-1)
    if source.ndim == 0 or source.size == 0:
        return _cast(source)
    if not np.may_share_memory(flat, source):  # values with gaps between them, or some held once for many
        source = np.array(values, np.float32, order="C")
        order, flat = np.arange(source.ndim), source.reshape(-1)
    answer = np.empty_like(source)  # in the same order of memory
    rounded = answer.transpose(order).reshape(-1)
    if not np.may_share_memory(rounded, answer):
        return _cast(source)
    scratch = np.empty(min(_BLOCK, flat.size), np.uint32)
    for start in range(0, flat.size, _BLOCK):
        _round(flat[start : start + _BLOCK], rounded[start : start + _BLOCK], scratch)
    return answer


def _cast(values: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(values.astype(np.float16).astype(np.float32))


def _round(values: Array, answer: Array, scratch: Array) -> None:
    """From `values` to `answer`, contiguous float32 and not the same memory."""
    bits, scratch = values.view(np.uint32), scratch[: values.size]
    rounder = np.bitwise_and(bits, _EXPONENT, out=scratch).view(np.float32)  # a power of two
    large = not rounder.max() < _LARGE
    with np.errstate(invalid="ignore", over="ignore"):
        np.maximum(rounder, _LEAST, out=rounder)
        rounder *= _TO_ROUNDER
        np.add(values, rounder, out=answer)
        answer -= rounder
    np.bitwise_and(bits, _SIGN, out=scratch)
    answer_bits = answer.view(np.uint32)
    answer_bits |= scratch  # of what became 0
    if large:
        _correct(values, answer)


def _correct(values: Array, answer: Array) -> None:
    """What overflows is infinite, what is infinite or no number stays."""
    special = ~(np.abs(values) < _OVERFLOWS)
    kept = values[special]
    if kept.size:
        answer[special] = np.where(np.isnan(kept), kept, np.copysign(np.float32(np.inf), kept))

"""Matrix products and attention."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from suite.coreml.ops.activation import softmax
from suite.coreml.ops.budget import ELEMENT_WORK, spend
from suite.coreml.ops.registry import OpError, op, room
from suite.spec import Array


@op("linear", packs=("weight",))
def linear(x: Array, weight: Array, bias: Array | None = None, memo: dict[str, Any] | None = None) -> Array:
    """`x @ weight.T + bias`; weight is (out, in)."""
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise OpError(f"a product of {x.shape} with weights of {weight.shape}")
    room((*x.shape[:-1], weight.shape[0]))
    spend(*x.shape, weight.shape[0])
    answer = np.asarray(np.matmul(*_alike(x, weight.T)))
    if bias is not None:
        answer += bias
    return answer


def _alike(x: Array, y: Array) -> tuple[Array, Array]:
    """Whole numbers as float32 beside real ones, as programs from iOS17 on may mix them."""
    if x.dtype.kind == y.dtype.kind:
        return x, y
    return x.astype(np.float32, copy=False), y.astype(np.float32, copy=False)


@op("matmul")
def matmul(x: Array, y: Array, transpose_x: Any = False, transpose_y: Any = False) -> Array:
    """Matrix product over the last two axes, the others broadcast."""
    if transpose_x and x.ndim > 1:
        x = np.swapaxes(x, -1, -2)
    if transpose_y and y.ndim > 1:
        y = np.swapaxes(y, -1, -2)
    if x.ndim > 1 and y.ndim > 1:
        room((*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-1]))
        spend(*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), *x.shape[-2:], y.shape[-1])
    return np.asarray(np.matmul(*_alike(x, y)))


_EQUATION = re.compile(r"[a-z]{1,8},[a-z]{1,8}->[a-z]{0,8}")


@op("einsum")
def einsum(values: list[Array], equation: str) -> Array:
    """The sum of products that the equation names, of two tensors; sizes of 1 broadcast."""
    written = equation.replace(" ", "")
    if len(values) != 2 or not _EQUATION.fullmatch(written):
        raise OpError(f"the equation {equation!r} of {len(values)} tensors: it takes two")
    terms, answer = written.split("->")
    sizes: dict[str, int] = {}
    for term, value in zip(terms.split(","), values, strict=True):
        if len(term) != value.ndim:
            raise OpError(f"the term {term!r} for a tensor of {value.shape}")
        for letter, size in zip(term, value.shape, strict=True):
            if sizes.setdefault(letter, size) != size and 1 not in (size, sizes[letter]):
                raise OpError(f"the axis {letter!r} has {sizes[letter]} and {size} elements")
            sizes[letter] = max(sizes[letter], size)
    if not set(answer) <= set(sizes):
        raise OpError(f"the equation {equation!r} answers an axis that it does not have")
    room(sizes[letter] for letter in answer)
    spend(*sizes.values())
    wide = [
        np.broadcast_to(value, [sizes[letter] for letter in term])
        for term, value in zip(terms.split(","), values, strict=True)
    ]
    return np.asarray(np.einsum(written, *wide, optimize=True))


@op("scaled_dot_product_attention")
def scaled_dot_product_attention(
    query: Array, key: Array, value: Array, attn_mask: Array | None = None
) -> Array:
    """`softmax(query key' / sqrt(width) + mask) value`; a mask of booleans says what takes part."""
    room((*query.shape[:-1], key.shape[-2]))
    spend(*query.shape[:-1], key.shape[-2], query.shape[-1] + value.shape[-1] + ELEMENT_WORK)
    scores = np.matmul(query, np.swapaxes(key, -1, -2)) / np.float32(math.sqrt(query.shape[-1]))
    if attn_mask is not None:
        room(np.broadcast_shapes(scores.shape, attn_mask.shape))
        if attn_mask.dtype == np.bool_:
            scores = np.where(attn_mask, scores, np.float32(-np.inf))
        else:
            scores = scores + attn_mask
    answer: Array = matmul(softmax(scores), value)
    return answer

"""Lists of tensors, which loops fill."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.coreml.ops.budget import ELEMENT_WORK, spend
from suite.coreml.ops.elementwise import HELD
from suite.coreml.ops.registry import OpError, integer, integers, op, room
from suite.spec import Array

LONGEST = 1 << 20


def _element(ls: list[Array], index: Any) -> int:
    place = integer(index)
    if not 0 <= place < len(ls):
        raise OpError(f"element {place} of a list of {len(ls)}")
    return place


@op("make_list")
def make_list(
    elem_shape: Any, init_length: Any = 1, dynamic_length: Any = True, dtype: str = "fp32"
) -> list[Array]:
    """A list of zeros; an element's free sizes, which are named by strings, are 0."""
    sizes = [0 if isinstance(size, str) else integer(size) for size in _flat(elem_shape)]
    if not 0 <= integer(init_length) <= LONGEST or dtype not in HELD:
        raise OpError(f"a list of {integer(init_length)} tensors of {dtype}")
    room((integer(init_length), *sizes))
    return [np.zeros(sizes, HELD[dtype])] * integer(init_length)


def _flat(values: Any) -> list[Any]:
    if isinstance(values, str):
        return [values]
    return list(values) if isinstance(values, list) else integers(values)


@op("list_length")
def list_length(ls: list[Array]) -> Array:
    """How many."""
    return np.array(len(ls), np.int32)


@op("list_write", view=True)
def list_write(ls: list[Array], index: Any, value: Array) -> list[Array]:
    """The list with another element; one beyond its end makes it longer."""
    return _put(ls, [integer(index)], [value])


@op("list_read", view=True)
def list_read(ls: list[Array], index: Any) -> Array:
    """One element."""
    return ls[_element(ls, index)]


@op("list_gather")
def list_gather(ls: list[Array], indices: Array) -> Array:
    """Elements, stacked."""
    chosen = [ls[_element(ls, index)] for index in integers(indices)]
    if not chosen or len({one.shape for one in chosen}) > 1:
        raise OpError(f"{len(chosen)} elements of unlike shapes cannot be stacked")
    room((len(chosen), *chosen[0].shape))
    return np.stack(chosen)


@op("list_scatter", view=True)
def list_scatter(ls: list[Array], indices: Array, value: Array) -> list[Array]:
    """The list with other elements."""
    places = integers(indices)
    if len(places) != len(value):
        raise OpError(f"{len(value)} values for {len(places)} places")
    return _put(ls, places, list(value))


def _put(ls: list[Array], places: list[int], values: list[Array]) -> list[Array]:
    longest = max([len(ls) - 1, *places])
    if min([0, *places]) < 0 or longest >= LONGEST:
        raise OpError(f"elements {min([0, *places])} to {longest} of a list")
    spend(longest, ELEMENT_WORK)
    answer = list(ls)
    for place, value in zip(places, values, strict=True):
        if place >= len(answer):  # the same zeros for all: an element is replaced, never changed
            answer += [np.zeros(value.shape, value.dtype)] * (place + 1 - len(answer))
        answer[place] = value
    return answer

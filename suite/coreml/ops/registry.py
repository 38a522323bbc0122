"""What an operator is to the evaluator: a function, found by the name that MIL gives it.

An operator is a function of its MIL parameters by their MIL names: tensors are
NumPy arrays, constants too, strings are str, tuples are lists, and what a
program leaves out keeps the function's default. float16 tensors are *held* as
float32 arrays of float16 values: an operator computes in float32, and the plan
rounds what is declared float16. Tensors are logically as MIL has them
(n, channels, *spatial); convolutions answer them channels-last in memory,
which NumPy's elementwise functions keep.

A function raises OpError where its arguments make no sense; the plan says
where in the program that was.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.coreml.ops.budget import take
from suite.spec import Array

LARGEST_BYTES = 2 << 30  # of one tensor; a phone has no room for more


class OpError(ValueError):
    """The arguments of one operator make no sense."""


@dataclass(frozen=True, slots=True)
class Op:
    """An operator as it was registered.

    `exact`: answers only values that it was given, so that float16 needs no
    rounding. `view`: the answer may share memory with an argument. `inplace`:
    takes `out`, which may be the memory of its first tensor. `packs`: names of
    constants from which it prepares something once; it takes `memo`, a dict
    that lives as long as the plan, where all of them are constant.
    """

    name: str
    run: Callable[..., Any]
    required: frozenset[str]
    known: frozenset[str]
    exact: bool
    view: bool
    inplace: bool
    packs: tuple[str, ...]
    half: bool  # takes `half`: whether its answer is declared float16


_OPS: dict[str, Op] = {}
_INTERNAL = ("out", "memo", "half")


def op(
    *names: str, exact: bool = False, view: bool = False, inplace: bool = False, packs: tuple[str, ...] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as the operator of these names."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function).parameters
        parameters = {name: parameter for name, parameter in signature.items() if name not in _INTERNAL}
        required = frozenset(
            name for name, parameter in parameters.items() if parameter.default is parameter.empty
        )
        half = "half" in signature
        for name in names:
            if name in _OPS:
                raise ValueError(f"the operator {name} is registered twice")
            _OPS[name] = Op(
                name, function, required, frozenset(parameters), exact, view, inplace, packs, half
            )
        return function

    return register


def get(name: str) -> Op | None:
    """The operator of this name, or None."""
    return _OPS.get(name)


def names() -> tuple[str, ...]:
    """Of every operator that is known."""
    return tuple(sorted(_OPS))


def room(shape: Iterable[int], itemsize: int = 4) -> tuple[int, ...]:
    """The shape, where a tensor of it can be held beside the others; OpError for absurd sizes."""
    sizes = tuple(int(size) for size in shape)
    if len(sizes) > 32 or any(size < 0 for size in sizes):
        raise OpError(f"{sizes} is no shape")
    count = math.prod(sizes) * itemsize
    if count > LARGEST_BYTES:
        raise OpError(f"a tensor of {'x'.join(map(str, sizes))} would take more than {LARGEST_BYTES} bytes")
    take(count)
    return sizes


def axis_of(axis: Any, rank: int) -> int:
    """A valid axis, from 0."""
    number = integer(axis)
    if not -rank <= number < rank:
        raise OpError(f"axis {number} of a tensor of rank {rank}")
    return number % rank if rank else 0


def integer(value: Any) -> int:
    """One number as Python's integer."""
    return int(_single(value))


def real(value: Any) -> float:
    """One number as Python's float."""
    return float(_single(value))


def _single(value: Any) -> Any:
    if np.ndim(value):
        raise OpError(f"one number was expected, not a tensor of {np.ndim(value)} dimensions")
    return value


def integers(values: Any) -> list[int]:
    """A vector, or one number, as Python's integers."""
    return [int(value) for value in np.asarray(values).reshape(-1)]


def channel_shape(rank: int, axis: int = 1) -> tuple[int, ...]:
    """The shape that lines a vector up with one axis of a tensor."""
    return tuple(-1 if i == axis else 1 for i in range(rank))


def as_channels(vector: Array, rank: int, axis: int = 1) -> Array:
    """A vector lined up with one axis of a tensor."""
    return vector.reshape(channel_shape(rank, axis))

"""How a layer of a neural network is found by its kind, and told in terms of ML programs' operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from suite.coreml import ops
from suite.coreml.ops.registry import OpError
from suite.spec import Array

Layer = Callable[..., Any]
_MAKERS: dict[str, Callable[[Any], Layer]] = {}


def layer(*names: str) -> Callable[[Callable[[Any], Layer]], Callable[[Any], Layer]]:
    """Register a maker, which takes a layer's parameters and answers a function of its inputs."""

    def register(maker: Callable[[Any], Layer]) -> Callable[[Any], Layer]:
        for name in names:
            if name in _MAKERS:
                raise ValueError(f"the layer {name} is registered twice")
            _MAKERS[name] = maker
        return maker

    return register


def make(kind: str, parameters: Any) -> Layer | None:
    """The function of a layer, or None where the kind is not known."""
    maker = _MAKERS.get(kind)
    return None if maker is None else maker(parameters)


def kinds() -> tuple[str, ...]:
    """Of every layer that is known."""
    return tuple(sorted(_MAKERS))


def operator(name: str) -> Callable[..., Any]:
    """An operator of ML programs as a function."""
    found = ops.get(name)
    assert found is not None
    return found.run


def as_images(function: Layer) -> Layer:
    """More axes before the last three are so many samples."""

    def run(x: Array, *more: Array) -> Array:
        if x.ndim < 3:
            raise OpError(f"an image of rank {x.ndim}")
        answer: Array = function(x.reshape(-1, *x.shape[-3:]), *more)
        return answer.reshape(*x.shape[:-3], *answer.shape[1:]) if x.ndim != 4 else answer

    return run


def whole_numbers(x: Array) -> Array:
    """Places, which layers hand on as float32."""
    return np.asarray(np.rint(x)).astype(np.int64)

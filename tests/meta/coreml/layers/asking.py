"""What the tests of layers share: a case is drawn, built by coremltools, executed, and held to TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.spec import Array
from tests.meta.coreml.ops.asking import Ask, near

Given = tuple[str, dict[str, Any]]  # a method of coremltools' builder, and its arguments
Answer = Callable[..., list[Array]]


@dataclass
class Case:
    """One network of few layers, and what it must answer."""

    layers: list[Given]
    feed: dict[str, Array]
    expected: dict[str, Any]
    tolerance: float = 2e-5


Draw = Callable[["Random", Ask], Case]


class Random(np.random.Generator):
    """Draws shapes, parameters and numbers."""

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))

    def normal_values(self, *shape: int) -> Array:
        return self.standard_normal(shape).astype(np.float32)

    def size(self, low: int, high: int) -> int:
        """Both ends may be drawn."""
        return int(self.integers(low, high + 1))

    def one_of(self, *values: Any) -> Any:
        return values[self.integers(len(values))]


def one(method: str, x: Array, expected: Any, tolerance: float = 2e-5, /, **arguments: Any) -> Case:
    """A single layer from x to y."""
    layer = (method, {"name": "layer", "input_name": "x", "output_name": "y", **arguments})
    return Case([layer], {"x": x}, {"y": expected}, tolerance)


def several(method: str, feed: dict[str, Array], expected: Any, /, **arguments: Any) -> Case:
    """A single layer from all of the feed, in its order, to y."""
    layer = (method, {"name": "layer", "input_names": list(feed), "output_name": "y", **arguments})
    return Case([layer], feed, {"y": expected})


def check(case: Case, answer: Answer) -> None:
    """Build, execute, compare. What a layer answers is float32, and never a scalar at the file's edge."""
    found = answer(case.layers, case.feed, *case.expected)
    for actual, expected in zip(found, case.expected.values(), strict=True):
        near(actual, np.asarray(expected, np.float32), case.tolerance)


def last(x: Array) -> Array:
    """(n, c, *spatial) as TensorFlow has it, channels last."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def first(x: Any) -> Array:
    """Back again."""
    return np.moveaxis(np.asarray(x), -1, 1)

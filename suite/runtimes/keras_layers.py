"""A Keras model taken apart: each layer computed from what an artifact feeds to it. Runs where TensorFlow is.

Layers within a nested model are named with it, `backbone/conv1`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.errors import CaseError
from suite.record import Stage
from suite.spec import Array

SAME = 1e-3  # relative power of the difference below which two tensors are one: -30 dB
_CALL_NUMBER = re.compile(r"_\d+$")


@dataclass(frozen=True, slots=True)
class Layer:
    """One answer of one layer, in the order of execution."""

    name: str  # unique; the layer's own, with ":1" and so on for its further answers or calls
    kind: str  # "Conv2D"; "InputLayer"
    shape: tuple[int, ...]  # without the batch axis; -1 where free
    inputs: tuple[str, ...]  # names of the answers that it takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One tensor of an artifact, (n, ...), that stands for a layer's answer."""

    layer: str
    values: Array
    low: float | None = None  # what the tensor can hold, where that is to be forgiven
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Of one comparison; adding two gives that of both sets of samples.

    `fits` is false where the shapes differ or the artifact's values are no numbers.
    """

    count: int = 0
    reference: float = 0.0
    reference_squared: float = 0.0
    error_squared: float = 0.0
    fits: bool = True

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            count=self.count + other.count,
            reference=self.reference + other.reference,
            reference_squared=self.reference_squared + other.reference_squared,
            error_squared=self.error_squared + other.error_squared,
            fits=self.fits and other.fits,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Of one tensor: against the layer fed with the artifact's own tensors, and against the original's."""

    own: Sums
    whole: Sums


@dataclass(frozen=True, slots=True)
class _Step:
    operation: Any
    arguments: Any
    inputs: tuple[tuple[int, str], ...]  # the symbolic tensor, the name of its value
    outputs: tuple[str, ...]


class Layers:
    """The layers of one model, in the order of execution."""

    def __init__(self, model: Any) -> None:
        self._steps: list[_Step] = []
        self._found: dict[str, Layer] = {}
        graph = _graph(model)
        if graph is None:
            raise CaseError(
                "the original is no graph of layers (a subclassed model): it cannot be taken apart",
                stage=Stage.COMPARE,
            )
        self.inputs = [
            self._name(tensor._keras_history.operation.name, "InputLayer", tensor, ())
            for tensor in graph.inputs
        ]
        self.outputs = self._add(graph, "", self.inputs)
        self.all: tuple[Layer, ...] = tuple(self._found.values())

    def compare(self, feed: Sequence[Array], given: Sequence[Given]) -> list[Difference]:
        """Hold every tensor to the layer that it stands for, fed with the artifact's tensors where there are.

        `feed`: (n, ...) by input, in order. Answers in the order of `given`.
        """
        by_layer: dict[str, list[int]] = {}
        for number, one in enumerate(given):
            by_layer.setdefault(one.layer, []).append(number)
        found: dict[int, Difference] = {}
        whole: dict[str, Any] = {}
        own: dict[str, Any] = {}

        def see(name: str, computed: Any) -> None:
            own[name] = computed
            for number in by_layer.get(name, ()):
                one = given[number]
                found[number] = Difference(
                    own=sums(np.asarray(computed), one), whole=sums(np.asarray(whole[name]), one)
                )
                if found[number].own.fits:
                    own[name] = _like(one.values, computed)

        for name, values in zip(self.inputs, feed, strict=True):
            whole[name] = _tensor(values)
            see(name, whole[name])
        for step in self._steps:
            for name, value in zip(step.outputs, _run(step, whole), strict=True):
                whole[name] = value
            for name, value in zip(step.outputs, _run(step, own), strict=True):
                see(name, value)
        return [found[number] for number in range(len(given))]

    def match(self, feed: Sequence[Array], tensors: Mapping[int, Array]) -> dict[int, str]:
        """Which layer's answer each tensor of a good artifact is, by its values; the first where several are.

        A tensor that is no layer's is left out.
        """
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for number, values in tensors.items():
            by_shape.setdefault(values.shape, []).append(number)
        best: dict[int, tuple[float, str]] = {}
        for name, value in self._values(feed):
            expected = np.asarray(value)
            for number in by_shape.get(expected.shape, ()):
                error = _relative_error(expected, tensors[number])
                # Twice as near, or it is the same tensor once more: a layer that passes on what it takes.
                if error < SAME and error < best.get(number, (2 * SAME, ""))[0] / 2:
                    best[number] = error, name
        return {number: name for number, (_, name) in best.items()}

    def _values(self, feed: Sequence[Array]) -> Any:
        values: dict[str, Any] = dict(zip(self.inputs, map(_tensor, feed), strict=True))
        yield from list(values.items())
        for step in self._steps:
            answers = dict(zip(step.outputs, _run(step, values), strict=True))
            values.update(answers)
            yield from answers.items()

    def _add(self, graph: Any, prefix: str, inputs: Sequence[str]) -> list[str]:
        """Append the steps of a graph, those of nested ones among them; names of its answers."""
        names = {id(tensor): name for tensor, name in zip(graph.inputs, inputs, strict=True)}
        by_depth = graph._nodes_by_depth
        for node in (node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]):
            if node.is_input or any(id(tensor) not in names for tensor in node.input_tensors):
                continue
            taken = tuple((id(tensor), names[id(tensor)]) for tensor in node.input_tensors)
            inner = _graph(node.operation)
            if inner is not None and len(inner.inputs) == len(taken):
                made = self._add(inner, f"{prefix}{node.operation.name}/", [name for _, name in taken])
            else:
                sources = tuple(name for _, name in taken)
                kind = type(node.operation).__name__
                own = prefix + node.operation.name
                made = [self._name(own, kind, tensor, sources) for tensor in node.outputs]
                self._steps.append(_Step(node.operation, node.arguments, taken, tuple(made)))
            names |= {id(tensor): name for tensor, name in zip(node.outputs, made, strict=True)}
        return [names[id(tensor)] for tensor in graph.outputs]

    def _name(self, own: str, kind: str, tensor: Any, inputs: tuple[str, ...]) -> str:
        name, number = own, 0
        while name in self._found:
            number += 1
            name = f"{own}:{number}"
        shape = tuple(-1 if size is None else int(size) for size in tensor.shape[1:])
        self._found[name] = Layer(name, kind, shape, inputs)
        return name


def _graph(model: Any) -> Any:
    """The graph of layers that a model is, None where it is none."""
    functional = getattr(model, "_functional", None) or model  # a Sequential holds one
    return functional if hasattr(functional, "_nodes_by_depth") else None


def _run(step: _Step, values: Mapping[str, Any]) -> list[Any]:
    import tensorflow as tf

    args, kwargs = step.arguments.fill_in({symbol: values[name] for symbol, name in step.inputs})
    return list(tf.nest.flatten(step.operation(*args, **kwargs)))


def _tensor(values: Array) -> Any:
    import tensorflow as tf

    return tf.constant(np.ascontiguousarray(values))


def _like(values: Array, computed: Any) -> Any:
    import tensorflow as tf

    return tf.cast(np.ascontiguousarray(values), computed.dtype)


def sums(computed: Array, given: Given) -> Sums:
    """One tensor against what it should be, once that is brought into the range the tensor can hold."""
    expected = np.asarray(computed, np.float64)
    actual = given.values
    if actual.shape != expected.shape or not np.isfinite(actual).all():
        return Sums(count=expected.size, fits=False)
    if given.low is not None:
        expected = np.clip(expected, given.low, given.high)
    return Sums(
        count=expected.size,
        reference=float(expected.sum()),
        reference_squared=float(np.square(expected).sum()),
        error_squared=float(np.square(expected - actual).sum()),
    )


def _relative_error(expected: Array, actual: Array) -> float:
    power = float(np.square(expected, dtype=np.float64).sum())
    error = float(np.square(np.asarray(expected, np.float64) - actual).sum())
    return error / power if power > 0 else float("inf")


def named(tensor: str, layers: Sequence[Layer]) -> str | None:
    """The layer whose name a converter kept in a tensor's; the last that was fused into it.

    TFLite: `model_1/relu1_1/Relu;model_1/bn1_1/...`, the last first. Core ML:
    `model_1_relu1_1_Relu_cast_fp16`. Keras numbers the calls of a layer.
    """
    known = {layer.name.rpartition("/")[2]: layer.name for layer in layers}
    for part in tensor.split(";"):
        for word in reversed(part.split("/")[:-1]):
            found = known.get(word) or known.get(_CALL_NUMBER.sub("", word))
            if found is not None:
                return found
    if "/" in tensor:
        return None
    within = [name for name in known if f"_{name}_" in f"_{tensor}_"]
    return known[max(within, key=len)] if within else None

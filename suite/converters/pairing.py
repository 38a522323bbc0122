"""Which constant and which activation of two files correspond: by position, as in one export."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from suite.converters.flatbuffer import Flatbuffer
from suite.converters.holding import Wrong
from suite.converters.rounding import Step
from suite.spec import Array

_PASSES = ("QUANTIZE", "DEQUANTIZE")
_INT4 = 17  # two values a byte, the lower half first
_MORE_TYPES = {3: np.uint8, 6: np.bool_, 10: np.float64, _INT4: np.int8}
# What a quantised operator says beside its task.
_OF_QUANTISATION = frozenset({"asymmetricQuantizeInputs", "potScaleInt16", "quantizedBiasType", "quantSpec"})


@dataclass(frozen=True, slots=True)
class Pair:
    """One float32 constant and its counterpart, an input of the same operator."""

    layer: str
    operator: str
    place: int  # among the operator's inputs
    expected: Array
    index: int  # in the artifact
    inputs: tuple[int, ...]  # of the artifact's operator
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pairing:
    """What corresponds in the two files."""

    constants: list[Pair] = field(default_factory=list)
    activations: list[tuple[str, int, int]] = field(default_factory=list)  # layer, float32's, artifact's


class Layout:
    """The operators of a file without those that only change the type of numbers."""

    def __init__(self, path: Path) -> None:
        self.model = Flatbuffer(path.read_bytes())
        self._sources: dict[int, int] = {}
        self.operators: list[Any] = []
        for operator in self.model.graph.operators:
            if self.model.name(operator) in _PASSES:
                self._sources[int(operator.outputs[0])] = self.source(int(operator.inputs[0]))
            else:
                self.operators.append(operator)
        self.inputs = [int(index) for index in self.model.graph.inputs]

    def answers(self) -> list[int]:
        """The tensors that the outputs are, or are another type of."""
        return [self.source(int(index)) for index in self.model.graph.outputs]

    def source(self, index: int) -> int:
        """The tensor of which this one is another type."""
        return self._sources.get(index, index)

    def constant(self, index: int) -> Array | None:
        """The values of a constant through changes of its type; None for what is computed."""
        return self.values(self.source(index)) if index >= 0 else None

    def values(self, index: int) -> Array | None:
        """The values of a constant as they stand in the file."""
        tensor = self.model.tensor(index)
        data = self.model.model.buffers[tensor.buffer].data
        if data is None or not len(data) or tensor.type not in _MORE_TYPES:
            return self.model.values(index)
        if tensor.type == _INT4:
            packed = np.frombuffer(bytes(data), np.int8)
            halves = np.stack([np.left_shift(packed, 4) >> 4, packed >> 4], axis=1)
            return np.asarray(halves.ravel()[: int(np.prod(tensor.shape))].reshape(tensor.shape))
        return np.frombuffer(bytes(data), _MORE_TYPES[tensor.type]).reshape(tensor.shape)

    def step(self, index: int) -> Step | None:
        """How an 8 or 16 bit tensor stands for reals; None for one of another type or with many scales."""
        tensor = self.model.tensor(index)
        scales = self.model.scales(index)
        if tensor.type not in (7, 9) or scales.size != 1:
            return None
        points = tensor.quantization.zeroPoint
        return Step(float(scales[0]), int(points[0]) if points is not None and len(points) else 0)


def match(reference: Layout, artifact: Layout) -> Pairing:
    """Pair the operators of two files by position; Wrong where kind, options or wiring differ."""
    ours, theirs = reference.operators, artifact.operators
    names = [[layout.model.name(op) for op in layout.operators] for layout in (reference, artifact)]
    for place, (expected, found) in enumerate(zip(*names, strict=False)):
        if found != expected:
            raise Wrong(f"operator {place} is {found}, expected {expected} as in the float32 conversion")
    if len(ours) != len(theirs):
        raise Wrong(f"the graph has {len(theirs)} operators, expected {len(ours)} as the float32 conversion")
    pairing, known = Pairing(), dict(zip(reference.inputs, artifact.inputs, strict=False))
    for name, one, other in zip(names[0], ours, theirs, strict=True):
        layer = _layer(reference, one)
        _same_options(layer, name, one, other)
        _pair_inputs(pairing, known, (reference, artifact), layer, one, other)
        if len(one.outputs) != len(other.outputs):
            raise Wrong(f"{layer} ({name}) has {len(other.outputs)} outputs, expected {len(one.outputs)}")
        for expected, found in zip(one.outputs, other.outputs, strict=True):
            known[int(expected)] = int(found)
            pairing.activations.append((layer, int(expected), int(found)))
    expected_answers, answers = (layout.answers() for layout in (reference, artifact))
    if [known.get(index) for index in expected_answers] != answers:
        raise Wrong("the outputs are those of other layers than in the float32 conversion")
    return pairing


def _layer(layout: Layout, operator: Any) -> str:
    name = layout.model.tensor(int(operator.outputs[0])).name
    return str(name.decode(errors="replace")).split(";")[0] if name else "an unnamed layer"


def _same_options(layer: str, name: str, one: Any, other: Any) -> None:
    expected, found = (vars(op.builtinOptions) if op.builtinOptions else {} for op in (one, other))
    for key in sorted((expected.keys() & found.keys()) - _OF_QUANTISATION):
        if not np.array_equal(expected[key], found[key]):
            raise Wrong(
                f"{layer} ({name}) has {key} {found[key]}, "
                f"expected {expected[key]} as in the float32 conversion"
            )


def _pair_inputs(
    pairing: Pairing, known: dict[int, int], both: tuple[Layout, Layout], layer: str, one: Any, other: Any
) -> None:
    """Pair what two operators read: constants with constants, answers with answers of the same layers."""
    reference, artifact = both
    name = reference.model.name(one)
    expected, found = ([int(index) for index in op.inputs if index >= 0] for op in (one, other))
    outputs = tuple(int(index) for index in other.outputs)
    if len(expected) != len(found):
        raise Wrong(f"{layer} ({name}) has {len(found)} inputs, expected {len(expected)}")
    for place, (ours, theirs) in enumerate(zip(expected, found, strict=True)):
        values, origin = reference.constant(ours), artifact.source(theirs)
        if values is not None:
            pairing.constants.append(Pair(layer, name, place, values, origin, tuple(found), outputs))
        elif known.get(reference.source(ours)) != origin:
            raise Wrong(f"{layer} ({name}) reads another layer's answer than in the float32 conversion")
        elif reference.source(ours) in reference.inputs:
            pairing.activations.append((f"the input of {layer}", ours, theirs))

"""Which constants of two ML programs correspond: those of operators that compute the same of the same.

Both are followed from their answers back to their inputs, so that neither names
nor the order of operators matter. Changes of type are left out: that is all
that a float16 program has beside those of the float32 one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from suite.converters.holding import Wrong
from suite.coreml.plan import Branch, Source, Step
from suite.coreml.program import Program
from suite.coreml.saved import Saved
from suite.spec import Array

# What newer systems' operators say beside their task, and the value that means what older ones do.
_SINCE = {
    "batch_dims": 0,
    "output_dtype": "int32",
    "output_indices_dtype": "int32",
    "return_indices": True,
    "sort": True,
    "validate_indices": False,
}


@dataclass(frozen=True, slots=True)
class Pair:
    """One constant of real numbers and its counterpart, an argument of the same operator."""

    layer: str
    operator: str
    argument: str
    expected: Array
    found: Array  # unpacked
    packed: Step | None  # the operation that unpacks it

    @property
    def place(self) -> str:
        """For messages."""
        return f"the {self.argument} of {self.layer} ({self.operator})"


class Layout:
    """The operators of a program, found by what they answer."""

    def __init__(self, saved: Saved) -> None:
        program = Program(saved)
        self.constants: Mapping[str, Any] = program.constants
        self.inputs, self.outputs = tuple(program.inputs), program.block.outputs
        self._makers: dict[str, tuple[Step, int]] = {}
        for step in program.block.steps:
            if isinstance(step, Branch):
                raise Wrong(f"{step.place} is decided as it runs")
            for place, (name, _) in enumerate(step.outputs):
                self._makers[name] = step, place
        self._packed = {id(program.constants[name]): step for name, step in program.packed.items()}

    def source(self, name: str) -> str:
        """The value of which this one is another type."""
        while name in self._makers and self._makers[name][0].kind == "cast":
            source = self._makers[name][0].sources["x"]
            assert isinstance(source, str)
            name = source
        return name

    def maker(self, name: str) -> tuple[Step, int] | None:
        """The operator that answers a value, and the place of the value among its answers."""
        return self._makers.get(name)

    def packed(self, value: Any) -> Step | None:
        """The operation that a constant was unpacked by."""
        return self._packed.get(id(value))


@dataclass(slots=True)
class _Matching:
    """Two layouts, and what is known of them so far."""

    reference: Layout
    artifact: Layout
    known: dict[str, str]  # a value of the one -> of the other
    pairs: list[Pair] = field(default_factory=list)
    operators: int = 0
    waiting: list[tuple[str, str, str]] = field(default_factory=list)  # values, and who reads them

    def run(self) -> None:
        """Follow both from their answers."""
        while self.waiting:
            ours, theirs, reader = self.waiting.pop()
            ours, theirs = self.reference.source(ours), self.artifact.source(theirs)
            if ours not in self.known:
                self._step(ours, theirs, reader)
            if self.known[ours] != theirs:
                raise Wrong(f"{reader} reads another layer's answer than in the float32 conversion")

    def _step(self, ours: str, theirs: str, reader: str) -> None:
        one, other = self.reference.maker(ours), self.artifact.maker(theirs)
        if one is None or other is None or one[1] != other[1] or len(one[0].outputs) != len(other[0].outputs):
            raise Wrong(f"{reader} reads another layer's answer than in the float32 conversion")
        expected, found = one[0], other[0]
        layer = expected.outputs[0][0]
        if expected.kind != found.kind:
            raise Wrong(f"{layer} is {found.kind}, expected {expected.kind} as in the float32 conversion")
        self.operators += 1
        for (name, _), (counterpart, _) in zip(expected.outputs, found.outputs, strict=True):
            self.known[name] = counterpart
        for argument in sorted({*_arguments(expected), *_arguments(found)}):
            self._argument(layer, argument, expected, found)

    def _argument(self, layer: str, argument: str, expected: Step, found: Step) -> None:
        place = f"{layer} ({expected.kind})"
        if argument in expected.sources or argument in found.sources:
            ours, theirs = (_names(step.sources.get(argument, [])) for step in (expected, found))
            if len(ours) != len(theirs):
                raise Wrong(f"{place} has {len(theirs)} values as its {argument}, expected {len(ours)}")
            for one, other in zip(ours, theirs, strict=True):
                constants = one in self.reference.constants, other in self.artifact.constants
                if all(constants):
                    values = self.reference.constants[one], self.artifact.constants[other]
                    self._constants(layer, argument, expected.kind, *values)
                elif any(constants):
                    raise Wrong(f"the {argument} of {place} is a constant in one of the two only")
                else:
                    self.waiting.append((one, other, place))
            return
        if argument not in expected.constants or argument not in found.constants:
            held = {**expected.constants, **found.constants}[argument]
            if argument not in _SINCE or not _same(held, _SINCE[argument]):
                raise Wrong(f"{place} has the argument {argument} in one of the two only")
            return
        self._constants(
            layer, argument, expected.kind, expected.constants[argument], found.constants[argument]
        )

    def _constants(self, layer: str, argument: str, kind: str, expected: Any, found: Any) -> None:
        if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
            for one, other in zip(expected, found, strict=True):
                self._constants(layer, argument, kind, one, other)
            return
        if _real(expected) and _real(found):
            packed = self.artifact.packed(found)
            self.pairs.append(Pair(layer, kind, argument, np.asarray(expected), np.asarray(found), packed))
        elif not _same(expected, found):
            raise Wrong(f"{layer} ({kind}) has {argument} {_words(found)}, expected {_words(expected)}")


def match(reference: Layout, artifact: Layout) -> tuple[list[Pair], int]:
    """The constants of real numbers that correspond, and how many operators do.

    Raises Wrong where kind, wiring or whole numbers and words differ.
    """
    sizes = [len(one.inputs) for one in (reference, artifact)]
    answers = [len(one.outputs) for one in (reference, artifact)]
    if sizes[0] != sizes[1] or answers[0] != answers[1]:
        raise Wrong(
            f"it takes {sizes[1]} values and answers {answers[1]}, expected {sizes[0]} and {answers[0]}"
        )
    matching = _Matching(reference, artifact, dict(zip(reference.inputs, artifact.inputs, strict=True)))
    matching.waiting = [
        (one, other, f"the output {one}")
        for one, other in zip(reference.outputs, artifact.outputs, strict=True)
    ]
    matching.run()
    return matching.pairs, matching.operators


def _arguments(step: Step) -> Iterator[str]:
    yield from step.constants
    yield from step.sources


def _names(source: Source) -> list[str]:
    return [source] if isinstance(source, str) else source


def _real(value: Any) -> bool:
    return not isinstance(value, (str, list)) and np.asarray(value).dtype.kind == "f"


def _same(expected: Any, found: Any) -> bool:
    """Whether whole numbers, truth values or words are alike, whatever their width."""
    return bool(np.array_equal(np.asarray(expected), np.asarray(found)))


def _words(value: Any) -> str:
    words = str(np.asarray(value).tolist())
    return words if len(words) <= 60 else f"{words[:60]} ..."

"""The steps that the converter may give each activation, by what calibration saw of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from suite.converters.flatbuffer import Flatbuffer
from suite.converters.pairing import Layout
from suite.converters.rounding import WEIGHTS, Step, fixed_steps, groups, step_of
from suite.spec import Array

HALF = 0.5 * (1 + 1e-3)  # a step, and what float32 arithmetic adds
SAME = 1e-3  # relative: two steps that were computed in different ways
FAR = 4.0  # a range made elsewhere may be so much wider or narrower than what our samples reach


class Expected:
    """The steps that the converter may give each activation."""

    def __init__(self, model: Flatbuffer, ranges: Array, bits: int) -> None:
        self._ranges, self._bits = ranges, bits
        self._groups, self._fixed = groups(model), fixed_steps(model, bits)
        self._taken_over = dict(_taken_over(model))

    def covered(self, index: int, step: Step) -> bool:
        """Whether all that calibration saw can be told apart, to half a step at both ends.

        Of tensors that share a step, all that was seen of one of them: what
        pooling or another branch leaves out may be clipped before.
        """
        lowest, highest = _limits(self._bits)
        for low, high in self._ranges[list(self._groups.get(index, {index}))]:
            below = (lowest - step.zero_point) * step.scale - min(low, 0.0)
            above = max(high, 0.0) - (highest - step.zero_point) * step.scale
            if max(below, above) <= HALF * step.scale:
                return True
        return False

    def candidates(self, index: int) -> Iterator[Step]:
        """By its own range, by those of all tensors that it shares its step with, and by theirs together."""
        members = self._groups.get(index, frozenset({index}))
        fixed = [self._fixed[member] for member in members if member in self._fixed]
        yield from fixed
        known = [member for member in sorted(members) if np.isfinite(self._ranges[member]).all()]
        for low, high in dict.fromkeys(tuple(map(float, self._ranges[member])) for member in known):
            yield step_of(low, high, self._bits)
        for together in (known, [index, self._taken_over.get(index, index)]):
            if together and np.isfinite(self._ranges[together]).all():
                low, high = self._ranges[together, 0].min(), self._ranges[together, 1].max()
                yield step_of(float(low), float(high), self._bits)


def wrong_range(artifact: Layout, expected: Expected, one: tuple[str, int, int], converted: bool) -> str:
    """What is wrong with the step of one activation; empty if nothing."""
    layer, index, found_index = one
    found = artifact.step(found_index)
    if found is None:
        return ""  # it is computed in float, which the record's operators by precision tell
    candidates = list(expected.candidates(index))
    if not candidates:
        return ""
    widest = max(step.scale for step in candidates)
    if any(_alike(found, step, converted) for step in candidates):
        return ""
    if converted and found.scale <= FAR * widest and expected.covered(index, found):
        return ""  # by a tensor that was calibrated together with this one
    nearest = min(candidates, key=lambda step: abs(np.log(step.scale / max(found.scale, 1e-30))))
    return (
        f"{layer} has scale {found.scale:.4g} and zero point {found.zero_point}, calibration says "
        f"{nearest.scale:.4g} and {nearest.zero_point}"
    )


def _alike(found: Step, step: Step, converted: bool) -> bool:
    if not found.scale > 0:
        return False
    if not converted:
        return 1 / FAR <= found.scale / step.scale <= FAR
    return abs(found.scale / step.scale - 1) <= SAME and abs(found.zero_point - step.zero_point) <= 0


def _limits(bits: int) -> tuple[int, int]:
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _taken_over(model: Flatbuffer) -> Iterator[tuple[int, int]]:
    """Activations whose memory the answer of an elementwise operator may take over, with that answer.

    The converter's calibration then sees both under one tensor, as of the later
    operand of a residual sum.
    """
    for operator in model.graph.operators:
        answer = int(operator.outputs[0])
        for index in operator.inputs if model.name(operator) not in WEIGHTS else ():
            if index >= 0 and np.array_equal(model.tensor(index).shape, model.tensor(answer).shape):
                yield int(index), answer

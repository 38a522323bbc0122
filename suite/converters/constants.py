"""Static checks of a quantised .tflite file: each of its numbers held to the float32 conversion's.

Both files come from one export, so that operators and constants correspond one
by one. What the official converter does is then known to the digit: weights
symmetric in 127 steps a channel, biases in steps of input times weights,
activations in 255 steps of what calibration saw (LiteRT's 8-bit quantisation
specification). An error that hides below the noise of int8 stands out here.

A file that was made elsewhere may be quantised by other rules: other
converters choose other steps, training with quantisation other weights. It is
held within one step of the float32 weights. Where most of a file lies outside
of that, it was made differently, not wrongly, and the check says that it does
not apply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from suite.converters.flatbuffer import Flatbuffer
from suite.converters.rounding import BIAS, CHANNEL_AXIS, WEIGHTS, Step, fixed_steps, groups, step_of
from suite.record import StaticCheck, Status
from suite.spec import Array

HALF = 0.5 * (1 + 1e-3)  # a step, and what float32 arithmetic adds
SAME = 1e-3  # relative: two steps that were computed in different ways
FAR = 4.0  # a range made elsewhere may be so much wider or narrower than what our samples reach
MOST = 0.25  # the share of a file that may be faulty; beyond it was made differently
_SHOWN = 3
_PASSES = ("QUANTIZE", "DEQUANTIZE")
_INT4 = 17  # two values a byte, the lower half first
_MORE_TYPES = {3: np.uint8, 6: np.bool_, 10: np.float64, _INT4: np.int8}
# What a quantised operator says beside its task.
_OF_QUANTISATION = frozenset({"asymmetricQuantizeInputs", "potScaleInt16", "quantizedBiasType", "quantSpec"})


class Wrong(Exception):
    """What was found, and what was expected."""


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


def check(
    path: Path, float32: Path, variant: str, ranges: Array | None, *, converted: bool
) -> dict[str, StaticCheck]:
    """Every check by name.

    `float32` is the conversion of the same model; `ranges`, (its tensors, 2),
    what its activations reach on the calibration samples, None for a variant
    without calibration. `converted`: by this suite, from one export with it.
    """
    reference, artifact = _reference(float32), Layout(path)
    try:
        pairing = match(reference, artifact)
    except Wrong as wrong:
        if converted:
            return {"graph": StaticCheck(status=Status.FAILED, message=str(wrong))}
        reason = f"not applicable: {wrong}, so that its constants have no counterparts"
        return {"graph": StaticCheck(status=Status.SKIPPED, message=reason)}
    words = f"{len(reference.operators)} operators, wired and configured as in the float32 conversion"
    found = {"graph": StaticCheck(status=Status.PASSED, message=words)}
    biases = [pair for pair in pairing.constants if pair.place == BIAS.get(pair.operator)]
    others = [pair for pair in pairing.constants if pair.place != BIAS.get(pair.operator)]

    def judge(name: str, items: Sequence[Any], problem: Callable[[Any], str]) -> None:
        found[name] = _judged(items, problem, name, converted)

    judge("weights", others, lambda pair: _weights(artifact, pair, converted))
    judge("biases", biases, lambda pair: _bias(artifact, pair, converted))
    if ranges is not None:
        expected = Expected(reference.model, ranges, 16 if variant == "int16x8" else 8)
        judge(
            "activation ranges", pairing.activations, lambda one: _range(artifact, expected, one, converted)
        )
    return found


@lru_cache(maxsize=1)
def _reference(path: Path) -> Layout:
    """The float32 conversion, an entry of the cache, which many artifacts are held to one after another."""
    return Layout(path)


def _judged(items: Sequence[Any], problem: Callable[[Any], str], what: str, converted: bool) -> StaticCheck:
    """The problems with some items, in one outcome."""
    problems = [words for item in items if (words := problem(item))]
    if not problems:
        return StaticCheck(status=Status.PASSED, message=f"{len(items)} {what} as in the float32 conversion")
    more = f"; and {len(problems) - _SHOWN} more" if problems[_SHOWN:] else ""
    told = "; ".join(problems[:_SHOWN]) + more
    if not converted and len(problems) > MOST * len(items):
        reason = f"not applicable: {len(problems)} of {len(items)} {what} are chosen by other rules: {told}"
        return StaticCheck(status=Status.SKIPPED, message=reason)
    advice = "Convert again from the original; altered or stale files look so"
    return StaticCheck(status=Status.FAILED, message=f"{told}. {advice}")


# --- what corresponds -----------------------------------------------------------


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


# --- numbers --------------------------------------------------------------------


def _weights(artifact: Layout, pair: Pair, converted: bool) -> str:
    """What is wrong with one constant that is no bias; empty if nothing."""
    found = artifact.values(pair.index)
    where = f"{pair.layer} ({pair.operator})"
    if found is None or found.shape != pair.expected.shape:
        shape = "no constant" if found is None else found.shape
        return f"{where} has {shape} where {pair.expected.shape} was expected"
    if found.dtype.kind != "i" or pair.expected.dtype.kind != "f":
        return _plain(where, pair.expected, found, converted)
    scales, points, axis = _quantisation(artifact.model, pair.index)
    if not scales.size or not (scales > 0).all():
        return f"the integers of {where} have no scale"
    broadcast = [1] * found.ndim
    if scales.size > 1:
        if axis >= found.ndim or scales.size != found.shape[axis]:
            return f"{where} has {scales.size} scales for {found.shape}"
        broadcast[axis] = -1
    steps, offsets = (values.reshape(broadcast) if values.size > 1 else values for values in (scales, points))
    off = np.abs((found.astype(np.float64) - offsets) * steps - pair.expected) / steps
    if not converted:
        off = np.where(np.abs(found.astype(np.int64)) >= 127, 0, off)  # clipped on purpose
    limit = HALF if converted else 1.0
    if (worst := float(off.max(initial=0))) > limit:
        return f"a weight of {where} is {worst:.3g} steps from the float32 one, expected {limit:.1f} at most"
    return _steps(artifact, pair, scales, axis) if converted else ""


def _plain(where: str, expected: Array, found: Array, converted: bool) -> str:
    """A constant that is not quantised: equal, or as close as its type can be."""
    if found.dtype == np.float16:
        expected = np.clip(expected, -65504, 65504).astype(np.float16)
    if np.array_equal(found, expected):
        return ""
    if not converted and found.dtype.kind == "f" and np.allclose(found, expected, rtol=2e-3, atol=1e-6):
        return ""
    count = int((found != expected).sum())
    return f"{count} of {found.size} values of {where} differ from the float32 conversion's as {found.dtype}"


def _steps(artifact: Layout, pair: Pair, scales: Array, axis: int) -> str:
    """Whether the steps of a constant are those that the converter chooses."""
    where, values = f"{pair.layer} ({pair.operator})", np.abs(pair.expected.astype(np.float64))
    if pair.place != WEIGHTS.get(pair.operator):
        return ""  # an operand: its range holds zero, which half a step already says
    if scales.size == 1 and pair.expected.shape[CHANNEL_AXIS[pair.operator]] > 1:
        if pair.operator != "FULLY_CONNECTED":
            return f"{where} has one scale for all channels, expected one each"
        expected = np.array([values.max()]) / 127
    else:
        others = tuple(place for place in range(values.ndim) if place != axis)
        expected = values.max(axis=others) / 127
    judged = (expected > 0) & ~_raised(artifact, pair, expected)
    off = np.abs(scales / np.where(expected > 0, expected, 1) - 1) * judged
    if (worst := int(off.argmax())) >= 0 and off[worst] > SAME:
        return (
            f"the scale of channel {worst} of {where} is {scales[worst]:.4g}, "
            f"expected {expected[worst]:.4g}, the largest weight in 127 steps"
        )
    return ""


def _raised(artifact: Layout, pair: Pair, expected: Array) -> Array:
    """Channels whose step the converter makes larger, so that their bias fits an int32."""
    place, fed = BIAS[pair.operator], artifact.step(pair.inputs[0])
    bias = artifact.constant(pair.inputs[place]) if len(pair.inputs) > place else None
    if fed is None or bias is None:
        return np.zeros(expected.shape, bool)
    return np.broadcast_to(np.abs(bias.astype(np.float64)) > 2**29, expected.shape)


def _bias(artifact: Layout, pair: Pair, converted: bool) -> str:
    found, where = artifact.values(pair.index), f"the bias of {pair.layer}"
    if found is None or found.shape != pair.expected.shape:
        return f"{where} has another shape than in the float32 conversion"
    fed = artifact.step(pair.inputs[0])
    if found.dtype.kind != "i" or fed is None:
        return _plain(where, pair.expected, found, converted)
    if not found.any() and not pair.expected.any():
        return ""  # of zeros the step is as good as any; layers may share them
    weights, _, _ = _quantisation(artifact.model, artifact.source(pair.inputs[WEIGHTS[pair.operator]]))
    scales, _, _ = _quantisation(artifact.model, pair.index)
    product = weights.astype(np.float64) * fed.scale
    if scales.size and (scales.shape != product.shape or np.abs(scales / product - 1).max() > SAME):
        return f"the step of {where} is {scales.flat[0]:.4g}, expected {product.flat[0]:.4g}: input by weight"
    wanted = np.clip(pair.expected / product, -(2.0**31), 2.0**31 - 1)
    off = np.abs(found - wanted)
    limit = 1.0 + 1e-5 * np.abs(wanted)
    if not converted:  # others correct the bias for what rounding the weights shifts
        answered = artifact.step(pair.outputs[0])
        limit = np.maximum(limit, 0 if answered is None else answered.scale / product)
    if (off > limit).any():
        worst = int((off / limit).argmax())
        return f"{where} is {found[worst]} steps in channel {worst}, expected {wanted[worst]:.0f}"
    return ""


def _quantisation(model: Flatbuffer, index: int) -> tuple[Array, Array, int]:
    """Scales, zero points and axis of a tensor; nothing where it has none."""
    scales = model.scales(index).astype(np.float64)
    quantization = model.tensor(index).quantization
    points = None if quantization is None else quantization.zeroPoint
    known = np.zeros(scales.shape) if points is None or len(points) != scales.size else np.array(points)
    return scales, known, int(quantization.quantizedDimension) if quantization is not None else 0


# --- activations ----------------------------------------------------------------


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


def _range(artifact: Layout, expected: Expected, one: tuple[str, int, int], converted: bool) -> str:
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

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

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from suite.converters.activations import HALF, SAME, Expected, wrong_range
from suite.converters.flatbuffer import Flatbuffer
from suite.converters.holding import Wrong, judged, unlike, unpaired
from suite.converters.pairing import Layout, Pair, match
from suite.converters.rounding import BIAS, CHANNEL_AXIS, WEIGHTS
from suite.record import StaticCheck, Status
from suite.spec import Array

_REFERENCE = "the float32 conversion"


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
        return {"graph": unpaired(wrong, converted)}
    words = f"{len(reference.operators)} operators, wired and configured as in the float32 conversion"
    found = {"graph": StaticCheck(status=Status.PASSED, message=words)}
    biases = [pair for pair in pairing.constants if pair.place == BIAS.get(pair.operator)]
    others = [pair for pair in pairing.constants if pair.place != BIAS.get(pair.operator)]

    def judge(name: str, items: Sequence[Any], problem: Callable[[Any], str]) -> None:
        found[name] = judged(items, problem, name, converted, _REFERENCE)

    judge("weights", others, lambda pair: _weights(artifact, pair, converted))
    judge("biases", biases, lambda pair: _bias(artifact, pair, converted))
    if ranges is not None:
        expected = Expected(reference.model, ranges, 16 if variant == "int16x8" else 8)
        judge(
            "activation ranges",
            pairing.activations,
            lambda one: wrong_range(artifact, expected, one, converted),
        )
    return found


@lru_cache(maxsize=1)
def _reference(path: Path) -> Layout:
    """The float32 conversion, an entry of the cache, which many artifacts are held to one after another."""
    return Layout(path)


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
    if not (count := int(unlike(expected, found, converted).sum())):
        return ""
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

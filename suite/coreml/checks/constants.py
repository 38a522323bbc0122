"""Every number of an ML program, held to the float32 conversion of the same model.

What compression explains is known: an int8 weight lies within half a step of
the float16 one, and a palette's weight is the entry nearest to it. All else is
the float32 number, or what float16 makes of it. A fault that hides below the
noise of compression, or in a number that few photos reach, stands out here.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from suite.converters.holding import Wrong, judged, unlike, unpaired
from suite.coreml.checks.pairing import Layout, Pair, match
from suite.coreml.checks.subject import Subject
from suite.coreml.halves import to_half
from suite.coreml.ops.constexpr import spread
from suite.coreml.ops.registry import as_channels, axis_of
from suite.coreml.plan import Step
from suite.coreml.saved import open_saved
from suite.errors import CaseError
from suite.record import StaticCheck, Status
from suite.spec import Array

# A step, and what float16 adds: coremltools divides in it, and at 127 steps it counts by sixteenths.
HALF = 0.5 + 1 / 32 + 1e-3
SAME = 2**-10  # relative: two float16 scales that were computed in different ways
# Of a weight's deviation: scikit-learn ends when the centres move by less (tol 1e-2, of the variance).
CENTRE = 0.1
_HALF_ULP = 2.0**-11
_TINY = 2.0**-24  # the smallest float16
_WIDE = ("mlprogram_float32", "neuralnetwork")


def check(subject: Subject, reference: Path) -> dict[str, StaticCheck]:
    """Every check by name; `reference` is the float32 ML program of the same model."""
    if not subject.saved.program:
        return {}
    try:
        ours = _reference(reference)
        pairs, operators = match(ours, Layout(subject.saved))
    except Wrong as wrong:
        return {"graph": unpaired(wrong, subject.converted)}
    except CaseError as error:
        return {"graph": StaticCheck(status=Status.FAILED, message=str(error))}
    words = f"{operators} operators, wired and configured as in the float32 conversion"
    found = {"graph": StaticCheck(status=Status.PASSED, message=words)}
    halves, converted = subject.variant not in _WIDE, subject.converted
    than = "the float32 conversion"
    plain = [pair for pair in pairs if pair.packed is None]
    packed = [pair for pair in pairs if pair.packed is not None]
    found["constants"] = judged(
        plain, lambda pair: _plain(pair, halves, converted), "constants", converted, than
    )
    if packed:
        found["compressed weights"] = _compressed(packed, halves, converted, than)
    return found


def _compressed(pairs: list[Pair], halves: bool, converted: bool, than: str) -> StaticCheck:
    """The outcome of what is packed; of a file made elsewhere, some of it may be held to no rule."""
    ruled = [pair for pair in pairs if converted or _has_rule(pair)]
    kinds = ", ".join(sorted({pair.packed.kind for pair in pairs if pair.packed and not _has_rule(pair)}))
    if not ruled:
        words = f"not applicable: what {kinds} leaves of a weight is free"
        return StaticCheck(status=Status.SKIPPED, message=words)
    outcome = judged(
        ruled, lambda pair: _packed(pair, halves, converted), "compressed weights", converted, than
    )
    free = len(ruled) < len(pairs)
    return replace(outcome, message=f"{outcome.message}; {kinds} is not judged") if free else outcome


def _has_rule(pair: Pair) -> bool:
    return pair.packed is not None and (_step(pair.packed) is not None or _table(pair.packed) is not None)


@lru_cache(maxsize=1)
def _reference(path: Path) -> Layout:
    """An entry of the cache, which many artifacts are held to one after another."""
    return Layout(open_saved(path))


def _plain(pair: Pair, halves: bool, converted: bool) -> str:
    """What is wrong with a constant that is stored as it is; empty if nothing."""
    found = pair.found
    if found.shape != pair.expected.shape:
        return f"{pair.place} has {found.shape}, expected {pair.expected.shape}"
    half = halves and np.array_equal(to_half(found), found)
    if not (count := int(unlike(pair.expected, found, converted, half=half).sum())):
        return ""
    than = f"the float32 conversion's as {'float16' if half else 'float32'}"
    return f"{count} of {found.size} values of {pair.place} differ from {than}"


def _packed(pair: Pair, halves: bool, converted: bool) -> str:
    assert pair.packed is not None
    if pair.found.shape != pair.expected.shape:
        return f"{pair.place} has {pair.found.shape}, expected {pair.expected.shape}"
    with np.errstate(over="ignore"):
        expected = to_half(pair.expected.copy()) if halves else pair.expected
    if (step := _step(pair.packed)) is not None:
        return _quantised(pair, expected, step, converted)
    if (table := _table(pair.packed)) is not None:
        return _palettised(pair, expected, table, converted)
    return f"{pair.place} is packed by {pair.packed.kind}, expected int8 or a palette"


def _step(packed: Step) -> Array | None:
    """What one step of quantised weights is worth, lined up with them; None for another packing."""
    held = packed.constants
    if packed.kind == "constexpr_affine_dequantize":
        data, scale = held["quantized_data"], np.asarray(held["scale"])
        return scale if scale.ndim == 0 else as_channels(scale, data.ndim, axis_of(held["axis"], data.ndim))
    if packed.kind == "constexpr_blockwise_shift_scale":
        return spread(held["scale"], held["data"].shape)
    return None


def _quantised(pair: Pair, expected: Array, step: Array, converted: bool) -> str:
    if not (step > 0).all():
        return f"the integers of {pair.place} have a step that is not positive"
    step = step.astype(np.float64)
    off = np.abs(pair.found - expected.astype(np.float64)) / step
    size = np.abs(expected) / step
    # What was unpacked is float16 again; the largest of a channel may be clipped by what the scale lost.
    limit = (HALF if converted else 1.0) + size * _HALF_ULP
    over = off - limit
    if not converted:
        over = np.where(size >= 127, -1, over)  # clipped on purpose
    if (worst := int(over.argmax())) >= 0 and over.flat[worst] > 0:
        return (
            f"a weight of {pair.place} is {off.flat[worst]:.3g} steps from the float32 one, "
            f"expected {limit.flat[worst]:.2f} at most"
        )
    return _scales(pair, expected, step) if converted else ""


def _scales(pair: Pair, expected: Array, step: Array) -> str:
    """Whether the steps are those that the converter chooses: the largest weight of a channel in 127."""
    strides = np.broadcast_to(step, expected.shape).strides
    shared = tuple(axis for axis, stride in enumerate(strides) if stride == 0)
    if step.size == expected.size or not shared:
        return ""
    wanted = np.abs(expected.astype(np.float64)).max(axis=shared, keepdims=True) / 127
    wanted = np.broadcast_to(wanted, np.broadcast_shapes(wanted.shape, step.shape))
    off = np.abs(step - wanted) > SAME * wanted + _TINY
    off &= wanted > 0
    if not off.any():
        return ""
    worst = int(off.argmax())
    return (
        f"a scale of {pair.place} is {np.broadcast_to(step, off.shape).flat[worst]:.4g}, "
        f"expected {wanted.flat[worst]:.4g}, the largest weight in 127 steps"
    )


def _table(packed: Step) -> Array | None:
    """The values of a palette for all of a weight, in order; None for another packing, or several tables."""
    if packed.kind != "constexpr_lut_to_dense":
        return None
    table = np.asarray(packed.constants["lut"])
    alone = table.ndim == 1 or (table.ndim > 1 and table.shape[-1] == 1 and table.size == table.shape[-2])
    return np.sort(table.reshape(-1).astype(np.float64)) if alone else None


def _palettised(pair: Pair, expected: Array, table: Array, converted: bool) -> str:
    wanted = expected.reshape(-1).astype(np.float64)
    found = pair.found.reshape(-1).astype(np.float64)
    above = np.clip(np.searchsorted(table, wanted), 1, len(table) - 1)
    below, over = table[above - 1], table[above]
    least = np.minimum(np.abs(wanted - below), np.abs(wanted - over))
    # The entries were rounded to float16 after the weights were shared out among them.
    slack = 2 * _HALF_ULP * np.maximum(np.abs(found), np.abs(wanted)) + 2 * _TINY
    if not converted:  # nor is the entry the nearest where it was reckoned in float16
        slack += over - below
    off = np.abs(found - wanted) - least - slack
    if (worst := int(off.argmax())) >= 0 and off[worst] > 0:
        return (
            f"a weight of {pair.place} is {found[worst]:.5g} for {wanted[worst]:.5g}, "
            f"where the palette's nearest entry is {least[worst]:.3g} away"
        )
    return _centres(pair, wanted, found) if converted else ""


def _centres(pair: Pair, wanted: Array, found: Array) -> str:
    """Whether each entry is the mean of what it stands for, as k-means makes it."""
    entries, members = np.unique(found, return_inverse=True)
    means = np.bincount(members, wanted) / np.bincount(members)
    off = np.abs(entries - means) - CENTRE * wanted.std() - 2 * _HALF_ULP * np.abs(entries) - 2 * _TINY
    if (worst := int(off.argmax())) >= 0 and off[worst] > 0:
        return (
            f"an entry of the palette of {pair.place} is {entries[worst]:.5g}, expected about "
            f"{means[worst]:.5g}, the mean of the weights that it stands for"
        )
    return ""

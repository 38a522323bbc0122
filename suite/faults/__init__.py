"""Faults that really happened on the way to a phone, planted one at a time in a good conversion.

A fault is in the file (its weights, its graph, its quantisation, its metadata,
its bytes) or in the app around it (how photos are prepared, how answers are
named). A TFLite file is altered as bytes, a Core ML package as a copy in its folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from suite.card import Norm
from suite.converters.flatbuffer import Absent, Flatbuffer
from suite.faults import (
    answers,
    app,
    batchnorm,
    coreml,
    file,
    graph,
    metadata,
    padding,
    quantisation,
    weights,
)
from suite.faults.sites import Inapplicable
from suite.spec import FloatArray, ImageInput

__all__ = ["FAULTS", "Fault", "Inapplicable", "select"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, by the ways in which it can come; None where it cannot come that way."""

    name: str
    family: str
    what: str  # really happened
    alter: Callable[[bytes], bytes] | None = None  # a TFLite file; raises Inapplicable
    refold: Callable[[bytes, Sequence[Norm]], bytes] | None = None  # likewise, knowing what was folded
    calibrate: Callable[[Any, ImageInput], FloatArray] | None = None  # photos to what is calibrated on
    plant: Callable[[Path], None] | None = None  # into a copy of a Core ML package; raises Inapplicable
    replant: Callable[[Path, Sequence[Norm]], None] | None = None  # likewise, knowing what was folded
    prepare: Callable[[Any, ImageInput], FloatArray] | None = None  # photos to the model's input
    rename: Callable[[tuple[str, ...]], tuple[str, ...]] | None = None  # the app's label file
    stale: bool = False  # the file is another model's

    @property
    def changes_answers(self) -> bool:
        """Whether it can show in a file's answers; else it is in how photos and answers are understood."""
        return self.rename is None and self.family != "metadata"


def _in_flatbuffer(mutate: Callable[..., None]) -> Callable[..., bytes]:
    """From bytes to bytes, with what else the fault must know."""

    def alter(data: bytes, *known: Any) -> bytes:
        model = Flatbuffer(data)
        try:
            mutate(model, *known)
        except Absent as why:
            raise Inapplicable(str(why)) from why
        return model.pack()

    return alter


def _all() -> Iterator[Fault]:
    for prepare in app.PREPROCESSING:
        yield Fault(name=prepare.__name__, family="preprocessing", what=_what(prepare), prepare=prepare)
    for rename in app.LABELS:
        plant = coreml.relabelled(rename)
        yield Fault(name=rename.__name__, family="labels", what=_what(rename), rename=rename, plant=plant)
    packaged = {one.__name__: (family, one) for family, found in coreml.FAMILIES.items() for one in found}
    for fault in _in_tflite():
        _, same = packaged.pop(fault.name, ("", None))
        yield replace(fault, plant=coreml.in_package(same)) if same else fault
    for family, own in packaged.values():
        yield Fault(name=own.__name__, family=family, what=_what(own), plant=coreml.in_package(own))
    for alter in file.FAULTS:
        yield Fault(
            name=alter.__name__,
            family="artifact",
            what=_what(alter),
            alter=alter,
            plant=coreml.in_weights(alter),
        )
    what = "The file under this name is another model's."
    yield Fault(name="stale_file", family="artifact", what=what, stale=True)


def _in_tflite() -> Iterator[Fault]:
    for family, mutations in (
        ("weights", weights.FAULTS),
        ("graph", (*graph.FAULTS, *padding.FAULTS, *answers.FAULTS)),
        ("quantisation", quantisation.FAULTS),
    ):
        for mutate in mutations:
            yield Fault(name=mutate.__name__, family=family, what=_what(mutate), alter=_in_flatbuffer(mutate))
    packaged = {one.__name__: coreml.refolded(one) for one in coreml.REFOLDS}
    for fold in batchnorm.FAULTS:
        name = fold.__name__
        yield Fault(
            name=name,
            family="weights",
            what=_what(fold),
            refold=_in_flatbuffer(fold),
            replant=packaged.get(name),
        )
    for calibrate in quantisation.CALIBRATIONS:
        name, what = calibrate.__name__, _what(calibrate)
        yield Fault(name=name, family="quantisation", what=what, calibrate=calibrate)
    for alter in metadata.FAULTS:
        yield Fault(name=alter.__name__, family="metadata", what=_what(alter), alter=alter)


def _what(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").splitlines()[0]


FAULTS = tuple(_all())


def select(names: tuple[str, ...]) -> tuple[Fault, ...]:
    """The faults of these names; all where none is given."""
    return tuple(fault for fault in FAULTS if not names or fault.name in names)

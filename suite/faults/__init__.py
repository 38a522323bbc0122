"""Faults that really happened on the way to a phone, planted one at a time in a good conversion.

A fault is in the file (its weights, its graph, its quantisation, its bytes) or
in the app around it (how photos are prepared, how answers are named). A TFLite
file is altered as bytes, a Core ML package as a copy in its folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.faults import app, coreml, file, graph, quantisation, weights
from suite.faults.flatbuffer import Flatbuffer, Inapplicable
from suite.spec import FloatArray, ImageInput

__all__ = ["FAULTS", "Fault", "Inapplicable", "select"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, by the ways in which it can come; None where it cannot come that way."""

    name: str
    family: str
    what: str  # really happened
    alter: Callable[[bytes], bytes] | None = None  # a TFLite file; raises Inapplicable
    plant: Callable[[Path], None] | None = None  # into a copy of a Core ML package; raises Inapplicable
    prepare: Callable[[Any, ImageInput], FloatArray] | None = None  # photos to the model's input
    rename: Callable[[tuple[str, ...]], tuple[str, ...]] | None = None  # the app's label file
    stale: bool = False  # the file is another model's


def _in_flatbuffer(mutate: Callable[[Flatbuffer], None]) -> Callable[[bytes], bytes]:
    def alter(data: bytes) -> bytes:
        model = Flatbuffer(data)
        mutate(model)
        return model.pack()

    return alter


def _all() -> Iterator[Fault]:
    for prepare in app.PREPROCESSING:
        yield Fault(name=prepare.__name__, family="preprocessing", what=_what(prepare), prepare=prepare)
    for rename in app.LABELS:
        plant = coreml.relabelled(rename)
        yield Fault(name=rename.__name__, family="labels", what=_what(rename), rename=rename, plant=plant)
    packaged = {one.__name__: (family, one) for family, found in coreml.FAMILIES.items() for one in found}
    for family, mutations in (
        ("weights", weights.FAULTS),
        ("graph", graph.FAULTS),
        ("quantisation", quantisation.FAULTS),
    ):
        for mutate in mutations:
            _, same = packaged.pop(mutate.__name__, ("", None))
            yield Fault(
                name=mutate.__name__,
                family=family,
                what=_what(mutate),
                alter=_in_flatbuffer(mutate),
                plant=coreml.in_package(same) if same else None,
            )
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


def _what(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").splitlines()[0]


FAULTS = tuple(_all())


def select(names: tuple[str, ...]) -> tuple[Fault, ...]:
    """The faults of these names; all where none is given."""
    return tuple(fault for fault in FAULTS if not names or fault.name in names)

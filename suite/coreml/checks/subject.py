"""A saved Core ML model under examination, and what it is held to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from suite.converters.interface import Interface
from suite.coreml.saved import Declared, Saved, declared_type, open_saved
from suite.spec import Array

PHOTO_STEPS = ("__scaled__", "__biased__")  # what coremltools calls an image type's scale and bias


@dataclass(frozen=True)
class Subject:
    """A saved model and what it is held to; `converted` by this suite, or given by someone else.

    `samples`: (n, ...) arrays as the original takes them, by input name.
    """

    path: Path
    variant: str
    interface: Interface
    converted: bool
    samples: Mapping[str, Array] | None = None

    @cached_property
    def saved(self) -> Saved:
        """The model, read once."""
        return open_saved(self.path)

    @cached_property
    def made_by(self) -> Mapping[str, Any]:
        """The operation that makes each value of an ML program."""
        return {output.name: one for one in self.saved.operations() for output in one.outputs}

    def constant(self, operation: Any, argument: str) -> Array | None:
        """A constant argument of an operation; None where it is computed, packed or not given."""
        for binding in operation.inputs[argument].arguments if argument in operation.inputs else ():
            if binding.WhichOneof("binding") == "value":
                return self.saved.array(binding.value)
            maker = self.made_by.get(binding.name)
            if maker is not None and maker.type == "const":
                return self.saved.array(maker.attributes["val"])
        return None

    def maker(self, operation: Any, argument: str = "x") -> Any:
        """The operation whose result is an argument; None for inputs and constants given in place."""
        for binding in operation.inputs[argument].arguments if argument in operation.inputs else ():
            return self.made_by.get(binding.name)
        return None


class Wrong(Exception):
    """What a check found, what it expected, and what to do."""


def made(subject: Subject, name: str) -> Declared | None:
    """The type that the program gives to a result."""
    if subject.saved.program and name in subject.made_by:
        for output in subject.made_by[name].outputs:
            if output.name == name:
                return declared_type(output.type)
    return None


# --- words for messages -----------------------------------------------------------


def shape_words(shape: tuple[int, ...]) -> str:
    """`1 x 3 x 224 x 224`."""
    return " x ".join(map(str, shape)) or "a scalar"


def list_words(names: Any) -> str:
    """Names, separated by commas."""
    return ", ".join(map(str, names)) or "nothing"


def bytes_words(count: int) -> str:
    """Megabytes."""
    return f"{count / 1e6:.2f} MB"

"""Which model, and what is known of it once it was built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from suite.runtimes.base import TensorInfo
from suite.spec import Array


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model in a form that crosses to a worker: a fixture's file or a saved model's."""

    name: str
    path: Path
    saved: bool  # a saved model, not a fixture
    weights: str  # the value of --weights
    seed: int = 0  # of another checkpoint, every weight moved a little; 0: as built


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Enough of a built model to do without TensorFlow afterwards."""

    content: str  # hash of architecture and weights, and of the code of layers that are not Keras'
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    parameters: int
    rescales: bool  # its first layer takes raw pixels and scales them itself
    dependencies: tuple[tuple[str, str], ...]  # files that the build read, with their SHA-256
    packages: tuple[tuple[str, str], ...] = ()  # installed ones that it may have used, with their versions

    @property
    def scores(self) -> int | None:
        """How many scores it answers; None where its answer is no one vector."""
        shape = self.outputs[0].shape if len(self.outputs) == 1 else ()
        return shape[-1] if len(shape) == 2 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """The numbers of one batch normalisation, (channels,) each."""

    gamma: Array
    beta: Array
    mean: Array
    variance: Array
    epsilon: float

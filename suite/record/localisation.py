"""Where a difference comes in, by cause and by layer."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStep:
    """One comparison that isolates one cause: the same samples, all else alike."""

    cause: str  # "conversion", "kernels", "runtime", "delegate", "device"
    before: str  # "original", or a target
    after: str  # a target
    sqnr_db: float | None  # of `after` against `before`; None where it could not be had
    max_abs_diff: float | None
    on_path: bool  # whether this case's own answers come this way
    message: str = ""  # why there is no number
    expected_db: float | None = None  # what rounding alone may leave of it on these samples

    @property
    def deficit_db(self) -> float:
        """How much more error it adds than rounding explains; infinite where it cannot be made."""
        if self.sqnr_db is None:
            return inf
        return (self.expected_db or 0.0) - self.sqnr_db


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerError:
    """One tensor of the artifact held to the layer that it stands for."""

    layer: str  # of the original
    fused: tuple[str, ...]  # layers before it that the artifact computes along with it
    operator: str  # of the artifact, which made the tensor
    own_db: float  # SQNR against the layer fed with the artifact's own tensors: what went wrong here
    floor_db: float  # what the precision alone would leave of it
    sqnr_db: float  # against the original's tensor: what has gone wrong so far
    message: str = ""  # where there is no number to be had: another shape, NaN

    @property
    def deficit_db(self) -> float:
        """How far below the floor it is."""
        return self.floor_db - self.own_db


@dataclass(frozen=True, slots=True, kw_only=True)
class Localisation:
    """Where a difference comes in: which step of the chain, and which layer."""

    cause: str  # the step on the case's path that adds most beyond rounding; empty where none does
    steps: tuple[ChainStep, ...]
    engine: str = ""  # whose tensors were held to the layers
    layers: tuple[LayerError, ...] = ()  # in the order of execution
    suspect: str | None = None  # the first layer that is below its floor by more than the margin
    margin_db: float = 0.0
    message: str = ""  # in a sentence

"""What `device_runner` says, as types.

What does not fit them is no answer, what they have no field for is passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from suite.errors import StagedError
from suite.record import Stage

_MOST = (1 << 63) - 1  # that C counts to
Count = Annotated[int, Meta(ge=0, le=_MOST)]
Positive = Annotated[int, Meta(ge=1, le=_MOST)]
Counts = Annotated[tuple[Count, ...], Meta(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why it could not, where it says so."""

    error: str | None = None
    stage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An input or an output as the phone finds it."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Of every run."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(Ran):
    """Of samples, one inference each."""

    batch_ns: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Used(Ran):
    """Memory of its process; None where the phone does not show it."""

    threads: Positive
    baseline_bytes: Count | None
    baseline_unique_bytes: Count | None
    loaded_bytes: Count | None
    loaded_unique_bytes: Count | None
    first_resident_bytes: Count | None
    first_unique_bytes: Count | None
    peak_bytes: Count | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed(_Used):
    """Of inferences back to back."""

    batch_ns: Counts
    samples_ns: Counts
    warmup_ns: tuple[Count, ...]
    load_ns: Count
    cpu_ns: Count
    wall_ns: Positive
    all_cpu_ns: Count | None  # of all processes meanwhile
    cores: Positive
    resident_bytes: Count | None
    unique_bytes: Count | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """Of a camera in one of its two schemes."""

    threaded: bool
    fps: Positive
    offered: Positive
    taken: tuple[tuple[Count, Count, Count, Count, Count], ...]  # FrameTimes
    shown_ns: tuple[Count, ...]
    wall_ns: Positive
    cpu_ns: Count
    all_cpu_ns: Count | None
    cores: Positive
    resident_bytes: Count | None
    unique_bytes: Count | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown(_Used):
    """Of a camera: in the callback, and with threads."""

    schemes: tuple[Scheme, Scheme]


AnyRan = TypeVar("AnyRan", bound=Ran)
Kind = TypeVar("Kind")


def read(text: str, kind: type[Kind]) -> Kind:
    """What was said, as one of these; ValueError where it is something else."""
    try:
        return msgspec.json.decode(text, type=kind)
    except RecursionError:
        raise ValueError("it is nested without end") from None


def others_ns(seen: Timed | Scheme) -> int | None:
    """CPU time of other processes while the runner measured; None where the phone does not tell."""
    return None if seen.all_cpu_ns is None else max(0, seen.all_cpu_ns - seen.cpu_ns)


def shown(seen: _Used | Scheme, name: str, where: str) -> int:
    """One of its figures of memory; StagedError where the phone does not show it."""
    value = getattr(seen, name)
    if value is None:
        raise StagedError(f"{where} does not show {name} in /proc", stage=Stage.MEASURE)
    return int(value)

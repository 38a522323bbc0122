"""The protocol that every runtime speaks: open an artifact, run it, time it.

A session lives where the inference runs: in this process, in a worker process,
on a phone. Its samples are measured there, one an inference; a round trip a
sample would drown a model of one millisecond.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from suite.record.camera import Stream
from suite.spec import Array

# One sample or many; a path names a .npy file that the session maps instead of receiving.
Feed = Mapping[str, Array | Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """One input or output as the artifact declares it, batch axis included."""

    name: str
    shape: tuple[int, ...]  # -1 where the size is free
    dtype: str  # numpy's name
    scale: float = 0.0  # 0: not quantised
    zero_point: int = 0

    @property
    def quantised(self) -> bool:
        """Whether the values are integers that stand for reals."""
        return self.scale != 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingPolicy:
    """How long to measure: at least `min_runs` and `min_seconds`, not beyond `max_seconds` or `max_runs`.

    A model so slow that `max_seconds` hold fewer than `few_runs`, of which no spread could be told, is
    measured until there are so many, but not beyond `few_max_seconds`.

    Warm-up ends when a block of inferences is less than 5 % quicker than the
    one before it, within its own bounds. The defaults are those of TensorFlow
    Lite's benchmark_model, with a shorter cap; `max_runs`, MLPerf's 1024, keeps
    the raw samples of the quickest models small.
    """

    warmup_min_runs: int = 1
    warmup_max_runs: int = 1024
    warmup_min_seconds: float = 0.5
    warmup_max_seconds: float = 10.0
    min_runs: int = 50
    max_runs: int = 1024
    min_seconds: float = 1.0
    max_seconds: float = 30.0
    few_runs: int = 10
    few_max_seconds: float = 150.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Raw samples of one timed loop, nanoseconds of a monotonic clock."""

    threads: int
    samples_ns: tuple[int, ...]
    load_ns: int
    first_ns: int
    warmup_ns: tuple[int, ...]
    cpu_ns: int | None  # None where not told
    wall_ns: int
    summary_ms: Mapping[str, float] = field(default_factory=dict)  # of a tool that keeps no samples
    others_cpu_ns: int | None = None  # of other processes meanwhile; None where the system does not tell
    cores: int | None = None


# Number, begun (after the first frame was due), preprocess, infer, postprocess, in nanoseconds.
FrameTimes = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraPlan:
    """How long a camera looks: at least `seconds`, as long as `inferences` take, never over `max_seconds`."""

    fps: float
    seconds: float
    inferences: int
    max_seconds: float

    def count(self, inference_seconds: float) -> int:
        """Frames to offer to a model that takes so long."""
        wanted = max(self.seconds, self.inferences * inference_seconds)
        return max(2, round(self.fps * min(wanted, self.max_seconds)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraUse:
    """Both schemes, and the memory of their process: resident and unique bytes at the end of each phase."""

    streams: tuple[Stream, ...]
    baseline_bytes: int
    baseline_unique_bytes: int | None
    peak_bytes: int
    phases: Mapping[str, tuple[int, int | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """Bytes of the process that holds the session; the baseline is before the artifact was opened."""

    baseline_bytes: int
    loaded_bytes: int
    peak_bytes: int
    baseline_unique_bytes: int | None
    unique_bytes: int | None
    phases: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)  # resident, unique
    reasons: Mapping[str, str] = field(default_factory=dict)  # of phases that are not told


@dataclass(frozen=True, slots=True, kw_only=True)
class SustainedUse:
    """Inferences and wall time of each window, and what sensors said at its end."""

    inferences: tuple[int, ...]
    window_ns: tuple[int, ...]
    temperatures: Mapping[str, tuple[float, ...]]
    frequencies_mhz: tuple[float, ...]


class Session(Protocol):
    """An opened artifact. Close it, or use it as a context manager."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    def run(self, feed: Feed) -> dict[str, Array]:
        """One inference: arrays of exactly the declared shapes and dtypes."""
        ...

    def run_many(self, feed: Feed) -> dict[str, Array]:
        """Run (n, ...) samples of reals; answers (n, ...) reals.

        Each sample is one inference at the artifact's own batch of one. Where
        the artifact's tensors are integers, samples are quantised and answers
        dequantised as an app would do, by the artifact's own scale and zero point.
        """
        ...

    def time(self, feed: Feed, policy: TimingPolicy) -> Timing:
        """Time back-to-back inferences on one sample, as `run_many` takes it with n = 1."""
        ...

    def close(self) -> None:
        """Free the artifact; a second call does nothing."""
        ...


def load(value: Array | Path) -> Array:
    """The array itself; mapped, where a file holds it."""
    return np.load(value, mmap_mode="r") if isinstance(value, Path) else np.asarray(value)


def load_feed(feed: Feed) -> dict[str, Array]:
    """Map the arrays that are named by path."""
    return {name: load(value) for name, value in feed.items()}


def quantise(values: Array, tensor: TensorInfo) -> Array:
    """Reals to the tensor's dtype, rounded half away from zero and saturated as TFLite does."""
    if not tensor.quantised:
        return values.astype(tensor.dtype, copy=False)
    limits = np.iinfo(tensor.dtype)
    steps = values / tensor.scale
    rounded = np.trunc(steps + np.copysign(0.5, steps)) + tensor.zero_point
    clipped: Array = np.clip(rounded, limits.min, limits.max).astype(tensor.dtype)
    return clipped


def dequantise(values: Array, tensor: TensorInfo) -> Array:
    """The reals that a quantised tensor stands for; other tensors as they are."""
    if not tensor.quantised:
        return values
    return ((values.astype(np.float32) - np.float32(tensor.zero_point)) * np.float32(tensor.scale)).astype(
        np.float32
    )


def match(feed: Mapping[str, Array], tensors: tuple[TensorInfo, ...]) -> dict[str, Array]:
    """Name the feed's arrays as the artifact does.

    Converters rename (`serving_default_image:0` for `image`): a name matches
    when one holds the other; one input matches one array whatever the names.
    """
    if len(feed) != len(tensors):
        raise ValueError(
            f"found {len(feed)} arrays ({', '.join(feed)}), expected {len(tensors)}: {_names(tensors)}"
        )
    if len(tensors) == 1:
        return {tensors[0].name: next(iter(feed.values()))}
    found: dict[str, Array] = {}
    for tensor in tensors:
        exact = [name for name in feed if name == tensor.name]
        near = exact or [name for name in feed if name in tensor.name or tensor.name in name]
        if len(near) != 1:
            raise ValueError(f"found arrays {', '.join(feed)}, expected one for each of {_names(tensors)}")
        found[tensor.name] = feed[near[0]]
    return found


def _names(tensors: tuple[TensorInfo, ...]) -> str:
    return ", ".join(tensor.name for tensor in tensors)

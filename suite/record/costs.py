"""What an artifact costs where it runs: time, processor, memory; raw samples, the rest is derived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Raw samples of back-to-back inferences; percentiles are derived, not stored."""

    threads: int
    samples_ns: tuple[int, ...]
    load_ns: int
    first_ns: int
    warmup_ns: tuple[int, ...]
    cpu_ns: int | None  # process CPU time over the timed loop; None where not told
    wall_ns: int  # wall time over the timed loop
    others_cpu_ns: int | None = None  # CPU time that other processes took meanwhile; None where not told
    cores: int | None = None  # of the machine, which that time is shared out over
    summary_ms: Mapping[str, float] = field(default_factory=dict)  # of a tool that keeps no samples
    contaminated: str = ""  # why these numbers say nothing: the phone was hot


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Inferences per second, one stream."""

    inferences_per_second: float
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """Share of processor time during the timed loop; 100 % is one core."""

    percent: float
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPhase:
    """Memory at the end of a phase, what the process held before the model subtracted."""

    resident_bytes: int
    unique_bytes: int | None  # what would be freed if the process ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Measured in a fresh process that holds nothing but the runtime, apart from timing."""

    peak_bytes: int  # peak resident set, baseline subtracted
    baseline_bytes: int  # before the model was loaded
    loaded_bytes: int  # resident after loading, baseline subtracted
    unique_bytes: int | None  # unique set size at the end, baseline subtracted
    phases: Mapping[str, MemoryPhase] = field(default_factory=dict)  # load, first, steady
    reasons: Mapping[str, str] = field(default_factory=dict)  # of phases that are not told


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """What a whole phone takes from its battery while it infers back to back, screen and radio included."""

    watts: float  # mean
    joules_per_inference: float
    seconds: float  # that it was measured over
    readings: int
    source: str  # what told


@dataclass(frozen=True, slots=True, kw_only=True)
class Sustained:
    """Throughput over minutes, in windows of equal length; the last may be shorter."""

    threads: int
    window_seconds: float
    inferences: tuple[int, ...]  # completed in each window
    window_ns: tuple[int, ...]  # wall time of each window
    # Temperature in degrees Celsius by sensor, at the end of each window; empty where none can be read.
    temperatures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    frequencies_mhz: tuple[float, ...] = ()  # mean clock of the cores, at the end of each window
    thermal_status: tuple[int, ...] = ()  # of a phone, at the end of each window: 0 does not throttle
    energy: Energy | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)  # of what is not told, by the field's name
    contaminated: str = ""  # why the first minute is none to compare with: the phone was hot already

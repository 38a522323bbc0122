"""What an artifact costs on a phone; one that is hot is waited for, and what was measured hot is marked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from suite import benchmark
from suite.devices import power, readings, vitals
from suite.devices.session import DeviceSession
from suite.devices.vitals import Vitals, Watch
from suite.realtime import PLAN, decided, recorded
from suite.record.camera import RealTime
from suite.record.costs import Energy, Sustained
from suite.runtimes.base import CameraPlan, Feed, TimingPolicy
from suite.spec import Array, ImageInput

_BACK_TO_BACK = TimingPolicy(warmup_min_runs=0, warmup_min_seconds=0, min_runs=1, max_runs=1 << 20)
# Long enough for the last readings of a phone's files to be of inference alone.
_BESIDE = replace(_BACK_TO_BACK, min_seconds=2.0)
T = TypeVar("T")


def speed(session: DeviceSession, sample: Feed, policy: TimingPolicy, cool_seconds: float) -> benchmark.Speed:
    """Time back-to-back inferences, with what the phone says of its heat and clocks."""
    timing, watch = _watched(session, cool_seconds, lambda: session.time(sample, policy))
    thermal, unsaid = watch.record()
    measured = benchmark.speed(timing)
    reasons = {name: why for name, why in measured.reasons.items() if name != "thermal"}
    return replace(
        measured,
        latency=replace(measured.latency, contaminated=watch.contaminated),
        thermal=thermal,
        reasons=reasons if thermal else {**reasons, "thermal": unsaid},
    )


def _watched(session: DeviceSession, cool_seconds: float, run: Callable[[], T]) -> tuple[T, Watch]:
    """Measure on a phone that was let cool, and how it was before and right after."""
    before, waited_seconds = vitals.cooled(session.device, cool_seconds)
    seen = run()
    return seen, Watch(before=before, after=_after(session), waited_seconds=waited_seconds)


def _after(session: DeviceSession) -> Vitals:
    return session.after or vitals.look(session.device)


# --- the GPU and the battery ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumption:
    """What back-to-back inferences take of the GPU and of the battery; `reasons` of what is not told."""

    gpu: Mapping[str, Any] | None = None
    energy: Energy | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)


def consumption(session: DeviceSession, sample: Feed) -> Consumption:
    """A pass of its own beside which the phone's files are read: that would disturb the timed one."""
    seen = vitals.look(session.device)
    files = (*_gpu_files(seen), *power.files(seen))
    energy: Energy | str = power.silence(seen)
    if files:
        timing = session.time(sample, _BESIDE, files)
        rate = benchmark.speed(timing).throughput.inferences_per_second
        energy = power.beside(seen, session.readings, 1 / rate, timing.wall_ns / 1e9)
    gpu = _gpu(seen, session.readings)
    found = {"gpu": gpu, "energy": energy}
    return Consumption(
        gpu=None if isinstance(gpu, str) else gpu,
        energy=None if isinstance(energy, str) else energy,
        reasons={name: why for name, why in found.items() if isinstance(why, str)},
    )


def _gpu_files(seen: Vitals) -> tuple[str, ...]:
    return (seen.gpu_file,) if seen.gpu_file else ()


def _gpu(seen: Vitals, text: str) -> Mapping[str, Any] | str:
    """How busy the GPU was beside a run, or why that is not known."""
    if seen.gpu_file is None:
        return seen.reasons["gpu_file"]
    return readings.gpu_record(seen.gpu_file, text) or f"{seen.gpu_file} said nothing beside the run"


# --- behind a camera ----------------------------------------------------------------------


def realtime(
    session: DeviceSession,
    frames: Sequence[Array],
    image: ImageInput | None,
    cool_seconds: float,
    *,
    plan: CameraPlan = PLAN,
) -> RealTime:
    """Both camera-paced schemes, with the phone's heat; where it tells of its GPU, a second time for that."""
    use, watch = _watched(
        session, cool_seconds, lambda: decided(lambda plan: session.realtime(frames, image, plan), plan)
    )
    thermal, unsaid = watch.record()
    if watch.before.gpu_file:
        session.realtime(frames, image, plan, _gpu_files(watch.before))
    gpu = _gpu(watch.before, session.readings)
    reasons = {**({} if thermal else {"thermal": unsaid}), **({"gpu": gpu} if isinstance(gpu, str) else {})}
    return replace(
        recorded(use, frames[0], session.threads, plan),
        gpu=None if isinstance(gpu, str) else gpu,
        thermal=thermal,
        reasons=reasons,
        contaminated=watch.contaminated,
    )


# --- for minutes ----------------------------------------------------------------------------


def sustained(
    session: DeviceSession,
    sample: Feed,
    cool_seconds: float,
    *,
    minutes: float,
    window_seconds: float = benchmark.SUSTAINED_WINDOW_SECONDS,
) -> Sustained:
    """Throughput over minutes, window by window; between two of them the phone is looked at.

    Each window is a process, so that one that goes wrong does so within its own
    time; loading lies between the windows, and so in none of them.
    """
    first, waited = vitals.cooled(session.device, cool_seconds)
    looks: list[Vitals] = []
    inferences: list[int] = []
    windows: list[int] = []
    start = time.monotonic()
    while (left := start + minutes * 60 - time.monotonic()) > 0:
        timing = session.time(sample, replace(_BACK_TO_BACK, min_seconds=min(window_seconds, left)))
        looks.append(_after(session))
        inferences.append(len(timing.samples_ns) or round(timing.summary_ms.get("n", 0)))
        windows.append(timing.wall_ns)
    energy = power.over([first, *looks], sum(inferences), time.monotonic() - start)
    temperatures, clocks, states = _temperatures(looks), _clocks(looks), _states(looks)
    told = {"temperatures": temperatures, "frequencies_mhz": clocks, "thermal_status": states}
    reasons = {name: _why(looks, name) for name, values in told.items() if not values}
    return Sustained(
        threads=session.threads,
        window_seconds=window_seconds,
        inferences=tuple(inferences),
        window_ns=tuple(windows),
        temperatures=temperatures,
        frequencies_mhz=clocks,
        thermal_status=states,
        energy=None if isinstance(energy, str) else energy,
        reasons={**reasons, "energy": energy} if isinstance(energy, str) else reasons,
        contaminated=Watch(before=first, after=Vitals(), waited_seconds=waited).contaminated,
    )


_FIELDS = {
    "temperatures": ("temperatures_c", "battery_c"),
    "frequencies_mhz": ("clocks_khz",),
    "thermal_status": ("thermal_status",),
}


def _why(looks: Sequence[Vitals], series: str) -> str:
    """Why a series of looks has gaps."""
    reasons = (seen.reasons.get(name, "") for seen in looks for name in _FIELDS[series])
    return "; ".join(dict.fromkeys(filter(None, reasons)))


def _temperatures(looks: Sequence[Vitals]) -> dict[str, tuple[float, ...]]:
    """By sensor, of those that were told each time."""
    rows = [
        {**(seen.temperatures_c or {}), **({} if seen.battery_c is None else {"battery": seen.battery_c})}
        for seen in looks
    ]
    return {name: tuple(row[name] for row in rows) for name in rows[0] if all(name in row for row in rows)}


def _clocks(looks: Sequence[Vitals]) -> tuple[float, ...]:
    """Mean clock of the cores in MHz at each look, each core as often as it is there; () with gaps."""
    means = []
    for seen in looks:
        clocks = [now / 1000 for cores, (now, _) in (seen.clocks_khz or {}).items() for _ in cores.split(",")]
        if not clocks:
            return ()
        means.append(sum(clocks) / len(clocks))
    return tuple(means)


def _states(looks: Sequence[Vitals]) -> tuple[int, ...]:
    """Thermal status at each look; () with gaps."""
    states = tuple(seen.thermal_status for seen in looks if seen.thermal_status is not None)
    return states if len(states) == len(looks) else ()

"""Back-to-back inferences for minutes, and what the machine's sensors say meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from suite.runtimes.base import SustainedUse

_THERMAL = Path("/sys/class/thermal")
_CPU = Path("/sys/devices/system/cpu")


def sustained(invoke: Callable[[], object], seconds: float, window_seconds: float) -> SustainedUse:
    """Count inferences window by window until `seconds` are over; sensors are read between windows."""
    inferences: list[int] = []
    windows: list[int] = []
    warmth: dict[str, list[float]] = {}
    clocks: list[float] = []
    end = time.perf_counter_ns() + int(seconds * 1e9)
    while time.perf_counter_ns() < end:
        count, wall = _window(invoke, min(time.perf_counter_ns() + int(window_seconds * 1e9), end))
        inferences.append(count)
        windows.append(wall)
        for name, degrees in temperatures().items():
            warmth.setdefault(name, []).append(degrees)
        if (mean := frequency_mhz()) is not None:
            clocks.append(mean)
    return SustainedUse(
        inferences=tuple(inferences),
        window_ns=tuple(windows),
        temperatures={name: tuple(values) for name, values in warmth.items() if len(values) == len(windows)},
        frequencies_mhz=tuple(clocks) if len(clocks) == len(windows) else (),
    )


def _window(invoke: Callable[[], object], end: int) -> tuple[int, int]:
    """Inferences until `end` has passed, one at least, and the wall time that they took."""
    start = now = time.perf_counter_ns()
    count = 0
    while count == 0 or now < end:
        invoke()
        count += 1
        now = time.perf_counter_ns()
    return count, now - start


def temperatures(root: Path = _THERMAL) -> dict[str, float]:
    """Degrees Celsius by sensor; empty where the system shows none, as in most virtual machines."""
    found: dict[str, float] = {}
    for zone in sorted(root.glob("thermal_zone*")):
        try:
            name = (zone / "type").read_text().strip()
            degrees = int((zone / "temp").read_text()) / 1000
        except (OSError, ValueError):
            continue
        found[f"{name} ({zone.name})"] = degrees
    return found


def frequency_mhz(root: Path = _CPU) -> float | None:
    """Mean clock of the cores; None where the system does not tell."""
    clocks = []
    for file in root.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"):
        try:
            clocks.append(int(file.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return sum(clocks) / len(clocks) if clocks else None

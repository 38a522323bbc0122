"""How a phone is while it is measured: heat, clocks, GPU. What it does not say is null, with its reason."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from suite.devices.adb import Device
from suite.devices.readings import busy_percent, watts
from suite.record import Stage

HOT_C = 38.0  # battery or skin; throttling begins a few degrees above on most phones
COOL_SECONDS = 300.0  # that a hot phone is waited for
POLL_SECONDS = 5.0
_SKIN = "3"  # TemperatureType of Android's thermal HAL
_DISCHARGING = 3  # BatteryManager.BATTERY_STATUS_DISCHARGING
_NOT_HEAT = ("gpu_file", "charging", "charge_uah", "voltage_mv", "power_folder")
_SECTION = re.compile(r"\n@@ (thermal|battery|clocks|gpu \S+|power \S+)\n(.*?)\n@@ (\d+)\n", re.DOTALL)
_TEMPERATURE = re.compile(r"Temperature\{mValue=(-?[\d.]+), mType=(-?\d+), mName=(.*?), mStatus=(\d+)\}")
# Where GPUs say how busy they are: Adreno's percentage, its busy and total time, Mali's and others'.
GPU_FILES = (
    "/sys/class/kgsl/kgsl-3d0/gpu_busy_percentage",
    "/sys/class/kgsl/kgsl-3d0/gpubusy",
    "/sys/class/misc/mali0/device/utilization",
    "/sys/kernel/gpu/gpu_busy",
)
# Where batteries say what they give now: `current_now` and `voltage_now`, in millionths of amperes and volts.
POWER_FOLDERS = (
    "/sys/class/power_supply/battery",
    "/sys/class/power_supply/bms",
    "/sys/class/power_supply/maxfg",
)


# The shell's own commands where they do: each program more is a millisecond more beside a measurement.
_SCRIPT = """\
say() { echo; echo "@@ $1"; }
say thermal; dumpsys thermalservice 2>&1; say $?
say battery; dumpsys battery 2>&1; say $?
say clocks
for p in /sys/devices/system/cpu/cpufreq/policy*; do
  { read -r cores < $p/related_cpus; read -r now < $p/scaling_cur_freq; read -r most < $p/cpuinfo_max_freq
  } 2>/dev/null && echo "$cores $now $most"
done
say 0
"""
_GPU = """\
say 'gpu {0}'; busy=; {{ read -r busy < {0}; }} 2>&1; [ -n "$busy" ]; seen=$?; echo "$busy"; say $seen
"""
_POWER = """\
say 'power {0}'; ampere=; volt=
{{ read -r ampere < {0}/current_now && read -r volt < {0}/voltage_now; }} 2>&1
[ -n "$volt" ]; seen=$?; echo "$ampere $volt"; say $seen
"""


def script() -> str:
    """What a phone is asked at a look; `parse` reads the answer."""
    return (
        _SCRIPT
        + "".join(_GPU.format(path) for path in GPU_FILES)
        + "".join(_POWER.format(folder) for folder in POWER_FOLDERS)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """One look at a phone. `reasons` says why a field is null, under its name."""

    thermal_status: int | None = None  # 0 none, 1 light, 2 moderate, 3 severe ...
    temperatures_c: Mapping[str, float] | None = None  # by sensor, as the HAL says now
    skin_c: float | None = None
    battery_c: float | None = None
    clocks_khz: Mapping[str, tuple[int, int]] | None = None  # of cores: now, and at most
    gpu_file: str | None = None  # that tells how busy the GPU is
    charging: bool | None = None  # or fed by a cable: the battery then does not give what the phone takes
    charge_uah: int | None = None  # left in the battery
    voltage_mv: int | None = None  # of the battery
    power_folder: str | None = None  # that tells the battery's current and voltage at any time
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def silent(self) -> bool:
        """Whether the phone says nothing of its heat and clocks."""
        seen = (self.thermal_status, self.temperatures_c, self.battery_c, self.clocks_khz)
        return all(value is None for value in seen)

    @property
    def heat(self) -> str:
        """Why the phone counts as hot; empty where it does not, or does not say."""
        for name, value in (("battery", self.battery_c), ("skin", self.skin_c)):
            if value is not None and value >= HOT_C:
                return f"its {name} is at {value:.1f} °C, {HOT_C:.0f} °C or more"
        if self.thermal_status:
            return f"its thermal status is {self.thermal_status}, which throttles"
        return ""


def look(device: Device) -> Vitals:
    """Ask the phone now."""
    return parse(device.shell(script(), stage=Stage.MEASURE).stdout)


def parse(text: str) -> Vitals:
    """What the script printed, as fields and reasons."""
    sections = {name: (words.strip(), int(status)) for name, words, status in _SECTION.findall(text + "\n")}
    fields: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name, (command, read) in _READERS.items():
        words, status = sections.get(name, ("it printed nothing", 1))
        found = read(words) if status == 0 else {}
        fields |= found
        said = words.splitlines()[-1][:120] if words else "it printed nothing"
        missing = f"{command}: {said if status or not found else 'it does not say'}"
        reasons |= {key: missing for key in _FIELDS[name] if found.get(key) is None}
    for kind, (name, read_one) in _SAMPLED.items():
        asked = ((path.removeprefix(kind), words) for path, (words, _) in sections.items() if kind in path)
        said = {path: words for path, words in asked if words}
        fields[name] = next((path for path, words in said.items() if read_one(words) is not None), None)
        if fields[name] is None:
            reasons[name] = "; ".join(_refusal(path, words) for path, words in said.items())
            reasons[name] = reasons[name] or "it printed nothing"
    return Vitals(**fields, reasons=reasons)


def _refusal(path: str, words: str) -> str:
    """Why what is there cannot be used: the shell's own words, or a number of unknown meaning."""
    return words.splitlines()[0][:120] if path in words else f"{path} says {words[:60]!r}, in unknown units"


def _thermal(text: str) -> dict[str, Any]:
    status = re.search(r"^\s*Thermal Status: (\d+)", text, re.MULTILINE)
    # The block of cached temperatures comes first and may be old.
    current = text.partition("Current temperatures from HAL:")[2].partition("\nCurrent cooling devices")[0]
    seen = _TEMPERATURE.findall(current)
    skin = [float(value) for value, kind, _, _ in seen if kind == _SKIN]
    return {
        "thermal_status": int(status[1]) if status else None,
        "temperatures_c": {name: float(value) for value, _, name, _ in seen} or None,
        "skin_c": max(skin, default=None),
    }


def _battery(text: str) -> dict[str, Any]:
    def number(name: str) -> int | None:
        found = re.search(rf"^\s*{name}: (-?\d+)", text, re.MULTILINE)
        return int(found[1]) if found else None

    tenths, status = number("temperature"), number("status")
    fed = "powered: true" in text
    return {
        "battery_c": None if tenths is None else tenths / 10,
        "charging": fed or status != _DISCHARGING if fed or status is not None else None,
        "charge_uah": number("Charge counter"),
        "voltage_mv": number("voltage"),
    }


def _clocks(text: str) -> dict[str, Any]:
    rows = [line.split() for line in text.splitlines()]
    return {
        "clocks_khz": {
            ",".join(cores): (int(now), int(most))
            for *cores, now, most in (row for row in rows if len(row) > 2)
            if now.isdigit() and most.isdigit()
        }
        or None
    }


_READERS: Mapping[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "thermal": ("dumpsys thermalservice", _thermal),
    "battery": ("dumpsys battery", _battery),
    "clocks": ("cpufreq", _clocks),
}
_SAMPLED: Mapping[str, tuple[str, Callable[[str], float | None]]] = {
    "gpu ": ("gpu_file", busy_percent),
    "power ": ("power_folder", watts),
}
_FIELDS = {
    "thermal": ("thermal_status", "temperatures_c", "skin_c"),
    "battery": ("battery_c", "charging", "charge_uah", "voltage_mv"),
    "clocks": ("clocks_khz",),
}


# --- a measurement ----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A phone before and after it was measured."""

    before: Vitals
    after: Vitals
    waited_seconds: float  # for it to cool

    @property
    def contaminated(self) -> str:
        """Why the measurement does not count; empty where it does."""
        for vitals, when in ((self.before, "before"), (self.after, "after")):
            if vitals.heat:
                waited = (
                    f", and {self.waited_seconds:.0f} s of waiting did not cool it"
                    if self.waited_seconds
                    else ""
                )
                return f"the phone was hot {when} the measurement: {vitals.heat}{waited}"
        return ""

    def record(self) -> tuple[dict[str, Any] | None, str]:
        """The section `thermal` of a record, and why there is none."""
        if self.before.silent and self.after.silent:
            reasons = (reason for name, reason in self.before.reasons.items() if name not in _NOT_HEAT)
            return None, "; ".join(dict.fromkeys(reasons))
        sides = {"before": asdict(self.before), "after": asdict(self.after)}
        return {**sides, "waited_seconds": self.waited_seconds, "contaminated": self.contaminated}, ""


def cooled(device: Device, cool_seconds: float) -> tuple[Vitals, float]:
    """A look at the phone when it is cool, or was waited for long enough; and how many seconds that took."""
    start = time.monotonic()
    before = look(device)
    while before.heat and time.monotonic() - start < cool_seconds:
        time.sleep(min(POLL_SECONDS, max(0.0, start + cool_seconds - time.monotonic())))
        before = look(device)
    waited = time.monotonic() - start
    # What the look itself takes is no waiting.
    return before, round(waited, 1) if waited > POLL_SECONDS or before.heat else 0.0

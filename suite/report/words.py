"""How numbers, statuses and commands are written for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from suite.gates import Finding
from suite.record import Check, Status

# A sign and a word beside every colour: nothing is said by colour alone.
GLYPHS: Mapping[Status, str] = {
    Status.PASSED: "✓",
    Status.FAILED: "✗",
    Status.EXPECTED_FAILURE: "≈",
    Status.UNSUPPORTED: "⊘",
    Status.SKIPPED: "○",
    Status.CRASHED: "‼",
    Status.ERROR: "!",
}
NOT_MEASURED = "\N{EN DASH}"


def size(count: float | None) -> str:
    """Bytes in decimal units, as shops and stores count them."""
    if count is None:
        return NOT_MEASURED
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= scale:
            return f"{significant(count / scale)} {unit}"
    return f"{count:.0f} B"


def ms(value: float | None) -> str:
    """Milliseconds with three significant digits."""
    return NOT_MEASURED if value is None or math.isnan(value) else f"{significant(value)} ms"


def energy(joules: float) -> str:
    """Joules, or thousandths of them, with three significant digits."""
    return f"{significant(joules)} J" if joules >= 1 else f"{significant(joules * 1000)} mJ"


def db(value: float | None) -> str:
    """Decibels with one decimal."""
    return NOT_MEASURED if value is None else f"{value:.1f} dB"


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction as a percentage."""
    return NOT_MEASURED if fraction is None else f"{100 * fraction:.{digits}f} %"


def points(fraction: float) -> str:
    """A difference of two fractions in percentage points, signed."""
    return f"{100 * fraction:+.2f}"


def significant(value: float) -> str:
    """Three significant digits, never in powers of ten from 0.001 to a million."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}"


def plain(value: float | None) -> str:
    """A bound or an error as one reads it; a dash for none."""
    if value is None:
        return NOT_MEASURED
    return f"{value:.4g}" if abs(value) < 0.9 or abs(value) >= 10 else f"{value:.6g}"


def vitals(thermal: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The section `thermal` of a record as rows: name, before, after."""
    before, after = (_side(thermal[side]) for side in ("before", "after"))
    absent = NOT_MEASURED
    return [(name, before.get(name, absent), after.get(name, absent)) for name in before | after]


def _side(seen: Mapping[str, Any]) -> dict[str, str]:
    clocks = (seen.get("clocks_khz") or {}).items()
    temperatures = (seen.get("temperatures_c") or {}).items()
    battery, status = seen.get("battery_c"), seen.get("thermal_status")
    return {
        "thermal status": NOT_MEASURED if status is None else str(status),
        "battery": NOT_MEASURED if battery is None else f"{battery:.1f} °C",
        **{name: f"{celsius:.1f} °C" for name, celsius in temperatures},
        **{f"cores {cores}": f"{now / 1000:.0f} of {most / 1000:.0f} MHz" for cores, (now, most) in clocks},
    }


def proof(check: Check, case_id: str) -> str:
    """Arguments for pytest that select what puts this question to this case."""
    file = f"tests/validate/test_{_device(case_id) if check is Check.HOST_PARITY else check}.py"
    if check is Check.BENCHMARK:  # has a test for each thread count, and one for memory
        return f'{file} -k "{case_id}"'
    return f'"{file}::test_{check}[{case_id}]"'


def _device(case_id: str) -> str:
    """What is held to this machine: a phone, or Core ML on a Mac or an iPhone."""
    return "android" if case_id.split("/", 2)[-1].startswith("android:") else "coreml"


def command(finding: Finding) -> str | None:
    """The command that shows a finding again; None for one on the run as a whole."""
    if not finding.case_id:
        return None
    if finding.check is None:
        model, variant, _ = finding.case_id.split("/", 2)
        return f"pytest --models {model} --variants {variant} {finding.options}".rstrip()
    return f"pytest {proof(finding.check, finding.case_id)} {finding.options}".rstrip()

"""What a phone's files say while something runs: of its GPU, of its battery."""

from __future__ import annotations

import re
import statistics
from typing import Any

LAST = 8  # readings of a run, five a second: what comes before is of loading, too
_LEAST_MICROAMPERES = 10_000


def of(text: str, source: str) -> list[str]:
    """What one file said, the LAST times; a line is the file's name and its words."""
    said = [line.removeprefix(f"{source} ") for line in text.splitlines() if line.startswith(f"{source} ")]
    return said[-LAST:]


def busy_percent(text: str) -> float | None:
    """How busy a GPU is by one reading, "NN %", "NN" or "BUSY TOTAL"; None for anything else."""
    numbers = re.fullmatch(r"\s*(\d+)(?:\s*%|\s+(\d+)|)\s*", text)
    if numbers is None:
        return None
    if numbers[2] is None:
        return float(numbers[1]) if int(numbers[1]) <= 100 else None
    total = int(numbers[2])
    return 100 * int(numbers[1]) / total if total else 0.0


def watts(text: str) -> float | None:
    """What a battery gives by one reading, "MICROAMPERES MICROVOLTS" of either sign; None for anything else.

    A current below 10 mA is none of a phone that is awake: its kernel counts in
    other units than Linux states, and is not guessed at.
    """
    numbers = re.fullmatch(r"\s*(-?\d+)\s+(\d+)\s*", text)
    if numbers is None or abs(int(numbers[1])) < _LEAST_MICROAMPERES:
        return None
    return abs(int(numbers[1])) * int(numbers[2]) / 1e12


def gpu_record(source: str, text: str) -> dict[str, Any] | None:
    """The section `gpu` of a record, from a run's readings; None where there is none of it."""
    seen = [percent for said in of(text, source) if (percent := busy_percent(said)) is not None]
    if not seen:
        return None
    return {
        "mean_percent": statistics.fmean(seen),
        "max_percent": max(seen),
        "n": len(seen),
        "source": source,
    }

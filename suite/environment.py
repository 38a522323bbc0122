"""The machine that measured: what makes two runs comparable, and what tells them apart."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from suite.cache import digest
from suite.runtimes import versions

_PACKAGES = (
    "tensorflow",
    "keras",
    "ai-edge-litert",
    "tflite-runtime",
    "coremltools",
    "numpy",
    "pytest-benchmark",
)


@cache
def host() -> dict[str, Any]:
    """Fingerprint, hardware, system, tool versions and git revision of this machine and checkout."""
    hardware = {
        "cpu": _cpu_model(),
        "machine": platform.machine(),
        "cores": cores(),
        "memory_bytes": _memory_bytes(),
        "system": platform.system(),
    }
    return {
        "fingerprint": digest(hardware)[:12],
        **hardware,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": versions(*_PACKAGES),
        "git_revision": _git_revision(),
    }


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_counts() -> list[int]:
    """1, 2, 4 .. and all cores."""
    most = cores()
    return sorted({most, *(1 << power for power in range(most.bit_length()) if 1 << power <= most)})


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _git_revision() -> str | None:
    """Of the checkout in the working folder, with a mark where files differ from it; None outside of one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None

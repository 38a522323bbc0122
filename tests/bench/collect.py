"""What it costs to ask pytest which tests there are."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from tests.bench.figures import held

RUNS = 5
_LIST_MODULES = """
import sys, pytest
pytest.main(["--collect-only", "-q"])
vendors = {"tensorflow", "keras", "coremltools"} & {name.split(".")[0] for name in sys.modules}
print(*sorted(vendors), file=sys.stderr)
"""


def main(profile: str) -> bool:
    """Median wall time over some runs, and the vendor libraries that collection imported."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--profile", profile]
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    listed = subprocess.run([sys.executable, "-c", _LIST_MODULES], check=True, capture_output=True, text=True)
    return all(
        (
            held("pytest --collect-only, median", statistics.median(seconds), 2.0, "s"),
            held(
                f"vendor libraries imported by it ({listed.stderr.strip()})",
                len(listed.stderr.split()),
                0,
                "",
            ),
        )
    )

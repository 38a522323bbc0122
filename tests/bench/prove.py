"""What `python -m suite prove` promises: `python -m tests.bench prove`, or this module for all ten models.

python -m tests.bench.prove                    the smoke models, as the command does it unless told
python -m tests.bench.prove all                all ten, some 25 minutes
python -m tests.bench.prove all --one-in 4     all ten, each fault in one variant of each, in turns
python -m tests.bench.prove resnet50,squeezenet --variants float32

Runs the command itself, in a process of its own, and reads the prove.json that
it writes. Artifacts come from the cache: a first run converts them, and takes longer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.bench.figures import held

SMOKE_RATE, RATE = 1.0, 0.95
SMOKE_SECONDS = 300.0  # on two cores
GOOD_RUNS = 100


def main(_profile: str = "") -> bool:
    """The smoke models: every fault killed, no alarm, and how long it takes."""
    return measure("", SMOKE_RATE, GOOD_RUNS, SMOKE_SECONDS)


def measure(
    models: str, rate: float, good_runs: int, seconds: float | None = None, options: tuple[str, ...] = ()
) -> bool:
    """Run the command on these models (empty: as it chooses) and hold what it wrote."""
    chosen = [f"--models={models}"] if models else []
    with tempfile.TemporaryDirectory(prefix="pocketproof-prove-") as folder:
        command = [sys.executable, "-m", "suite", "prove", f"--report-dir={folder}", *chosen, *options]
        start = time.perf_counter()
        subprocess.run([*command, f"--good-runs={good_runs}"], check=False)  # a line a fault, as it comes
        took = time.perf_counter() - start
        written = Path(folder) / "prove.json"
        if not written.is_file():
            print("FAILS  prove: it wrote no prove.json", flush=True)
            return False
        found: dict[str, Any] = json.loads(written.read_text())
    _tell(found)
    return all(
        (
            held("prove: faults that survive, as a share", 1 - (found["kill_rate"] or 0.0), 1 - rate, ""),
            held("prove: errors", len(found["errors"]), 0, ""),
            held(f"prove: false alarms in {found['good_runs']} good runs", found["false_alarms"], 0, ""),
            held("prove: good runs that are missing", good_runs - found["good_runs"], 0, ""),
            held("prove: wall time", took, float("inf") if seconds is None else seconds, "s"),
        )
    )


def _tell(found: dict[str, Any]) -> None:
    """How many faults of each model and variant, and each that was not caught."""
    counts = Counter((one["model"], one["variant"]) for one in found["faults"] if one["killed_by"])
    for (model, variant), count in counts.items():
        print(f"       {model} {variant}: {count} killed")
    for one in found["faults"]:
        if not one["killed_by"]:
            kind = next((kind for kind in ("equivalent", "not_exercised", "broken") if one[kind]), "SURVIVED")
            print(f"       {kind}: {one['name']} in {one['model']}/{one['variant']}: {one['message']}")
    for text in (*found["alarms"], *found["errors"]):
        print(f"       {text}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.prove", description=__doc__)
    parser.add_argument("models", nargs="?", default="", metavar="GLOB[,GLOB]|all")
    parser.add_argument("--variants", default="", metavar="LIST")
    parser.add_argument("--one-in", type=int, default=1, metavar="N", help="default: %(default)s")
    parser.add_argument("--good-runs", type=int, metavar="N", help="default: 100; of named models 10")
    given = parser.parse_args()
    if not given.models and not given.variants and given.good_runs is None:
        sys.exit(0 if main() else 1)
    more = (f"--one-in={given.one_in}", *((f"--variants={given.variants}",) if given.variants else ()))
    wanted = "*" if given.models == "all" else given.models
    sys.exit(0 if measure(wanted, RATE if wanted else SMOKE_RATE, given.good_runs or 10, None, more) else 1)

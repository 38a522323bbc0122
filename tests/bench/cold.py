"""What the suite adds to the work itself: a cold run against its parts, and a warm run against its loops.

`python -m tests.bench warm` is the second half alone, in the cache that is there.

The cold run is as users have it, two workers, each comparing with one thread;
the warm one is alone and compares with all cores, and so are the parts that
each is held to: nothing hides behind a second worker or thread. A pass takes a
tenth more or less from one minute to the next, which over all of them is more
than the bound on what the warm run adds. So its passes are timed within it, and
held to the bare ones apart.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from suite import store
from suite.cache import default_cache
from suite.environment import cores
from suite.realtime import FPS, LONGER_SECONDS, PLAN
from suite.record import Record
from suite.record.camera import Stream
from suite.runtimes.camera import LEAD_NS
from tests.bench import watched
from tests.bench.figures import held

_NO_TENSORFLOW = 'raise ImportError("a warm run must not import TensorFlow")\n'
_PARTS = Path(__file__).with_name("parts.py")
BEYOND_SECONDS = 15.0
PASSES = 1.1  # within a run, of the bare ones


def main(profile: str) -> bool:
    """A cold and a warm run of the profile in a cache of their own, then the parts, one after the other."""
    with tempfile.TemporaryDirectory(prefix="pocketproof-bench-") as folder:
        root = Path(folder)
        environment = {**os.environ, "POCKETPROOF_CACHE": str(root / "cache")}
        cold_seconds = _run(profile, root / "cold", environment, "-n", "2")
        records = store.load(root / "cold").records
        warm = _run_warm(profile, root, environment)
        parts = _measure_parts(profile, environment)
        passes = _passes(profile, environment)
    loops = _loop_seconds(records)
    print(f"       cold {cold_seconds:.0f} s, timed loops and cameras {loops:.0f} s")
    print("       " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in parts.items()))
    whole = loops + parts["converter"] + parts["passes"] + parts["reference"]
    return all(
        (
            held("cold run", cold_seconds / 60, 15, "minutes"),
            held("cold run / sum of its bare parts", cold_seconds / whole, 1.15, ""),
            _held_warm(warm, passes),
            held("converted again in the warm run", _converted_again(records, warm.records), 0, "artifacts"),
        )
    )


def warm(profile: str) -> bool:
    """A run in the cache that is there, which has to hold all that the profile needs; then its passes."""
    known = _artifacts()
    with tempfile.TemporaryDirectory(prefix="pocketproof-bench-") as folder:
        run = _run_warm(profile, Path(folder), dict(os.environ))
    made = len(_artifacts() - known)
    passes = _passes(profile, dict(os.environ))
    return all((_held_warm(run, passes), held("converted again in the warm run", made, 0, "artifacts")))


def _artifacts() -> set[Path]:
    return {path for path in (default_cache().root / "artifact").iterdir() if path.is_dir()}


@dataclass(frozen=True, slots=True)
class Warm:
    """A run in which nothing had changed: its seconds, those it waited for its workers, and its records."""

    seconds: float
    waits: Counter[str]  # by what was asked
    records: list[Record]

    @property
    def passes(self) -> float:
        """Seconds of its data-set passes."""
        return self.waits[".run_many"]

    @property
    def loops(self) -> float:
        """Seconds of its timed loops and cameras."""
        return _loop_seconds(self.records)

    @property
    def beyond(self) -> dict[str, float]:
        """What else took how long."""
        waits, named = self.waits, (".run_many", ".time", ".realtime", "open", ".memory")
        timed = waits[".time"] + waits[".realtime"] - self.loops  # loading, which is opening too, is a loop's
        return {
            "opening artifacts and starting workers": waits["open"] + timed,
            "memory in processes of their own": waits[".memory"],
            "other questions to workers": sum(s for name, s in waits.items() if name not in named),
            "this suite's own process": self.seconds - sum(waits.values()),
        }


def _run_warm(profile: str, root: Path, environment: dict[str, str]) -> Warm:
    """One that ends in an error where TensorFlow is imported."""
    blocked = root / "blocked" / "tensorflow"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text(_NO_TENSORFLOW)
    paths = os.pathsep.join(filter(None, (str(blocked.parent), os.environ.get("PYTHONPATH"))))
    told = root / "waits.json"
    variables = {**environment, "PYTHONPATH": paths, watched.FILE: str(told)}
    seconds = _run(profile, root / "warm", variables, "-p", watched.__name__)
    return Warm(seconds, Counter(json.loads(told.read_text())), store.load(root / "warm").records)


def _held_warm(run: Warm, bare: float) -> bool:
    print(
        f"       warm {run.seconds:.0f} s, of which loops and cameras {run.loops:.0f} s, "
        f"passes {run.passes:.0f} s; bare passes {bare:.0f} s"
    )
    print("       " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in run.beyond.items()))
    return all(
        (
            held("warm run beyond its loops and passes", sum(run.beyond.values()), BEYOND_SECONDS, "s"),
            held("passes of the warm run / bare passes", run.passes / bare, PASSES, ""),
        )
    )


def _run(profile: str, report: Path, environment: dict[str, str], *more: str) -> float:
    options = [*more, "-q", "--profile", profile, "--report-dir", str(report)]
    command = [sys.executable, "-m", "pytest", *options]
    start = time.perf_counter()
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"the {report.name} run failed:\n{result.stdout[-3000:]}{result.stderr[-2000:]}")
    return time.perf_counter() - start


def _loop_seconds(records: list[Record]) -> float:
    """Wall time of the timed loops with their warm-ups, loads and first inferences, and of the cameras."""
    loops = sum(
        latency.wall_ns + sum(latency.warmup_ns) + latency.first_ns + latency.load_ns
        for record in records
        for latency in record.scaling
    )
    cameras = sum(
        _camera_seconds(stream) for record in records if record.realtime for stream in record.realtime.schemes
    )
    return loops / 1e9 + cameras


def _camera_seconds(stream: Stream) -> float:
    """Of a scheme, with the look before it where that was a close call: only the longer one is recorded."""
    seconds = (stream.wall_ns + LEAD_NS) / 1e9
    if stream.offered == round(FPS * LONGER_SECONDS):
        answered = statistics.median(sum(stages) for _, _, *stages in stream.taken) / 1e9
        seconds += PLAN.count(answered) / FPS + LEAD_NS / 1e9
    return seconds


def _converted_again(before: list[Record], after: list[Record]) -> int:
    known = {record.case_id: record.artifact for record in before}
    return sum(record.artifact != known[record.case_id] for record in after)


def _passes(profile: str, environment: dict[str, str]) -> float:
    """The warm run's: alone, it compares with all cores."""
    return _measure_parts(profile, environment, "--passes", f"--threads={cores()}")["passes"]


def _measure_parts(profile: str, environment: dict[str, str], *alone: str) -> dict[str, float]:
    """The parts are run in a process of their own, since they need TensorFlow."""
    command = [sys.executable, str(_PARTS), profile, *alone]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"the parts failed:\n{result.stderr[-3000:]}")
    lines = [line.split() for line in result.stdout.splitlines() if line.startswith("part ")]
    return {name: float(seconds) for _, name, seconds in lines}

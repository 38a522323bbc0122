"""Whether the p50 that is reported is what LiteRT's own tool reports, both on this machine in one run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import suite
from suite import benchmark, runtimes
from suite.environment import cores
from suite.runtimes.base import TimingPolicy
from suite.runtimes.worker import Worker
from suite.stats import summarise
from tests.bench.figures import held

MODELS = (
    ("mobilenet_v2", "float32"),
    ("mobilenet_v2", "int8"),
    ("squeezenet", "float32"),
    ("resnet50", "float32"),
)
PAIRS = 24  # each runs both tools one right after the other, in turn first and second
SLOW_MS, SLOW_PAIRS = 50.0, 8  # a pair of a slow model takes long, and spans what disturbs a quick one
THEIR_SECONDS = 1.0  # of one run of theirs, as ours lasts at least
_TOOL = Path(sys.executable).with_name("litert-benchmark")


def main(profile: str) -> bool:
    """The ratio of medians for some artifacts, at one thread and at all cores."""
    counts = sorted({1, cores()})
    held_each = [_compare(name, variant, threads) for name, variant in MODELS for threads in counts]
    return all(held_each)


def _compare(name: str, variant: str, threads: int) -> bool:
    """Only neighbours in time are compared: a shared machine changes its speed within seconds."""
    path = suite.convert(name, variant)
    with Worker("LiteRT") as worker:
        ours, theirs = _ours(path, threads, worker), 0.0
        runs = max(20, round(THEIR_SECONDS * 1e3 / ours))
        ratios: list[float] = []
        for turn in range(PAIRS if ours < SLOW_MS else SLOW_PAIRS):
            if turn % 2 == 0:
                ours = _ours(path, threads, worker)
                theirs = _theirs(path, threads, runs)
            else:
                theirs = _theirs(path, threads, runs)
                ours = _ours(path, threads, worker)
            ratios.append(ours / theirs)
    low, ratio, high = np.percentile(ratios, [25, 50, 75])
    print(
        f"       ours / litert-benchmark: {low:.3f}, {ratio:.3f}, {high:.3f} (quartiles); last {ours:.3f} ms"
    )
    return held(f"|p50 ratio - 1|, {name}/{variant}, {threads} threads", abs(ratio - 1), 0.03, "")


def _ours(path: Path, threads: int, worker: Worker) -> float:
    with runtimes.open_session("litert-xnnpack", path, threads=threads, worker=worker) as session:
        sample = session.inputs[0]
    feed = {sample.name: np.random.default_rng(0).uniform(-1, 1, sample.shape).astype(np.float32)}
    speed = benchmark.measure_speed(
        "litert-xnnpack", path, feed, threads=threads, policy=TimingPolicy(), worker=worker
    )
    return summarise(speed.latency.samples_ns).p50_ms


def _theirs(path: Path, threads: int, runs: int) -> float:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [
            _TOOL,
            f"--model={path}",
            f"--num_threads={threads}",
            f"--num_runs={runs}",
            "--warmup_runs=20",
        ]
        subprocess.run([*command, f"--result_json={file.name}"], check=True, capture_output=True)
        result = json.loads(Path(file.name).read_text())
    return float(result["inference_median_ms"] if "inference_median_ms" in result else _median(result))


def _median(result: dict[str, object]) -> float:
    """The tool's JSON has named this field differently from version to version."""
    found = [value for name, value in _flat(result) if "median" in name]
    if len(found) != 1:
        raise SystemExit(f"litert-benchmark's result has no one median: {result}")
    return float(found[0])  # type: ignore[arg-type]


def _flat(value: object, name: str = "") -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in _flat(item, f"{name}.{key}")]
    return [(name, value)]

"""Speed and memory: samples taken in a worker come out of pytest-benchmark as they went in."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from suite import measurements
from suite.benchmark import SampleClock, measure_memory, measure_speed, speed
from suite.gates import check_latency
from suite.runtimes import Pool
from suite.runtimes.base import Timing, TimingPolicy
from suite.spec import Budget, Target
from tests.meta.conftest import ROOT, Subject

SAMPLES = (1_234_567, 999_999, 2_000_001, 1_500_000, 3_000_000_017, 1_234_568, 123)

REPLAY = """
import pytest
from suite.benchmark import SampleClock

CLOCK = SampleClock()

@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.benchmark(timer=CLOCK, disable_gc=False, warmup=False)
def test_replayed(benchmark, name):
    samples = {samples} if name == "one" else tuple(2 * sample for sample in {samples})
    benchmark.extra_info.update(threads=2)
    benchmark.pedantic(CLOCK.replay(samples), rounds=len(samples), iterations=1)
"""


def pytest_benchmark(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_replay.py"],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_replayed_samples_are_pytest_benchmarks_own(tmp_path: Path) -> None:
    (tmp_path / "test_replay.py").write_text(REPLAY.replace("{samples}", str(SAMPLES)))
    ran = pytest_benchmark(tmp_path, "--benchmark-json=out.json")
    assert ran.returncode == 0, ran.stdout
    one, two = json.loads((tmp_path / "out.json").read_text())["benchmarks"]
    for entry, factor in ((one, 1), (two, 2)):
        samples = [factor * sample / 1e9 for sample in SAMPLES]
        assert entry["stats"]["rounds"] == len(SAMPLES)
        assert entry["stats"]["data"] == pytest.approx(samples, rel=1e-12, abs=1e-12)
        assert entry["stats"]["median"] == pytest.approx(statistics.median(samples))
        assert entry["stats"]["mean"] == pytest.approx(statistics.mean(samples))
        assert entry["extra_info"] == {"threads": 2}


def test_a_slower_run_fails_pytest_benchmarks_comparison(tmp_path: Path) -> None:
    (tmp_path / "test_replay.py").write_text(REPLAY.replace("{samples}", str(SAMPLES)))
    storage = "--benchmark-storage=file://saved"
    assert pytest_benchmark(tmp_path, storage, "--benchmark-save=before").returncode == 0
    compare = (storage, "--benchmark-compare", "--benchmark-compare-fail=median:5%")
    assert pytest_benchmark(tmp_path, *compare).returncode == 0
    slower = tuple(sample * 11 // 10 for sample in SAMPLES)
    (tmp_path / "test_replay.py").write_text(REPLAY.replace("{samples}", str(slower)))
    ran = pytest_benchmark(tmp_path, *compare)
    assert ran.returncode != 0
    assert "Performance has regressed" in ran.stdout + ran.stderr


def test_a_clock_moves_by_a_sample_a_step_and_begins_anew() -> None:
    clock = SampleClock()
    step = clock.replay((5, 7))
    assert clock() == 0
    step()
    assert clock() == 5e-9
    step()
    assert clock() == 12e-9
    with pytest.raises(StopIteration):  # no sample is made up
        step()
    clock.replay((1,))
    assert clock() == 0


def test_throughput_and_processor_share_by_hand() -> None:
    timing = Timing(
        threads=2,
        samples_ns=(10_000_000, 30_000_000),
        load_ns=1,
        first_ns=2,
        warmup_ns=(3,),
        cpu_ns=60_000_000,
        wall_ns=50_000_000,
    )
    seen = speed(timing)
    assert seen.throughput.inferences_per_second == pytest.approx(50)  # two in 40 ms
    assert seen.cpu.percent == pytest.approx(120)
    assert seen.latency.samples_ns == timing.samples_ns
    assert (seen.latency.threads, seen.throughput.threads, seen.cpu.threads) == (2, 2, 2)


def test_what_is_not_told_is_no_zero() -> None:
    timing = Timing(
        threads=1, samples_ns=(10, 30), load_ns=1, first_ns=2, warmup_ns=(), cpu_ns=None, wall_ns=40
    )
    seen = speed(timing)
    assert (seen.cpu, seen.latency.cpu_ns) == (None, None)
    assert "does not tell" in seen.reasons["cpu"]


@pytest.mark.parametrize(
    ("target", "gpu", "thermal"),
    [
        (Target("host", "litert-xnnpack"), "runs on the CPU", "not a battery's"),
        (Target("host", "coreml"), "CPU, GPU and Neural Engine", "root alone"),
        (Target("host", "coreml-cpu"), "runs on the CPU", "root alone"),
        (Target("ios:1", "coreml"), "the app on the device", "the app on the device"),
    ],
)
def test_what_is_not_measured_says_why_for_its_place(target: Target, gpu: str, thermal: str) -> None:
    reasons = measurements._silence(target)
    assert gpu in reasons["gpu"]
    assert thermal in reasons["thermal"]
    assert reasons["energy"]


def test_a_real_artifact_is_timed_and_held_to_its_budget(classifier: Subject, tensorflow: Pool) -> None:
    policy = TimingPolicy(warmup_min_seconds=0.01, min_runs=30, min_seconds=0.05)
    seen = measure_speed(
        "litert-xnnpack",
        classifier.artifact("float32"),
        {"input": np.zeros((1, 16, 16, 3), np.float32)},
        threads=1,
        policy=policy,
        worker=tensorflow.worker("LiteRT"),
    )
    assert len(seen.latency.samples_ns) >= 30
    assert 10 < seen.throughput.inferences_per_second < 1e6
    assert 0 < seen.cpu.percent < 250
    assert check_latency(seen.latency, Budget(max_p50_ms=100)) == []
    assert len(check_latency(seen.latency, Budget(max_p50_ms=1e-4))) == 1


def test_memory_is_that_of_a_fresh_process_without_what_it_held_before(classifier: Subject) -> None:
    sample = {"input": np.zeros((1, 16, 16, 3), np.float32)}
    seen = measure_memory("litert-xnnpack", classifier.artifact("float32"), sample, threads=1)
    assert 0 < seen.loaded_bytes <= seen.peak_bytes < 100_000_000
    assert 5_000_000 < seen.baseline_bytes < 200_000_000  # neither TensorFlow nor this process
    assert list(seen.phases) == ["load", "first", "steady"]
    assert seen.phases["load"].resident_bytes == seen.loaded_bytes
    assert all(phase.resident_bytes <= seen.peak_bytes for phase in seen.phases.values())
    assert all(phase.unique_bytes for phase in seen.phases.values())

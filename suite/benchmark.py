"""Speed and memory of an artifact on this machine; the samples are taken where the inference runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from suite import runtimes
from suite.environment import thread_counts as host_thread_counts
from suite.record.costs import Cpu, Latency, Memory, MemoryPhase, Sustained, Throughput
from suite.runtimes.base import MemoryUse, Timing, TimingPolicy
from suite.runtimes.worker import Worker
from suite.spec import Array, Target
from suite.stats import median_ms

MEMORY_RUNS = 5
SUSTAINED_WINDOW_SECONDS = 10.0
PHONE_THREADS = (1, 2, 4)


def timed(target: Target) -> bool:
    """Whether latency and memory there say anything of a phone."""
    engine = runtimes.ENGINES.get(target.engine)
    return engine is None or not engine.untimed


def thread_counts(target: Target) -> tuple[int, ...]:
    """How many threads to measure with; the last is what a report and a gate go by."""
    if target.on_ios or target.engine.startswith("coreml"):  # Core ML divides its work itself
        return (1,)
    return PHONE_THREADS if target.on_android else tuple(host_thread_counts())


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What one timed loop says."""

    latency: Latency
    throughput: Throughput
    cpu: Cpu | None
    thermal: Mapping[str, Any] | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)  # of what was not measured


def measure_speed(
    engine: str,
    path: Path,
    sample: Mapping[str, Array],
    *,
    threads: int,
    policy: TimingPolicy,
    worker: Worker,
) -> Speed:
    """Time back-to-back inferences of one (1, ...) sample."""
    with runtimes.open_session(engine, path, threads=threads, worker=worker) as session:
        return speed(session.time(sample, policy))


NO_BATTERY = "the machine is not a battery's"


def speed(timing: Timing) -> Speed:
    """Throughput and CPU share follow from the raw samples, or from what the tool tells in their place."""
    latency, told = Latency(**asdict(timing)), timing.summary_ms
    seconds = told["mean"] / 1e3 if told else sum(timing.samples_ns) / len(timing.samples_ns) / 1e9
    taken = None if told or not timing.wall_ns else timing.cpu_ns
    cpu = None if taken is None else Cpu(percent=100 * taken / timing.wall_ns, threads=timing.threads)
    return Speed(
        latency=latency,
        throughput=Throughput(inferences_per_second=1 / seconds, threads=timing.threads),
        cpu=cpu,
        reasons={
            "thermal": NO_BATTERY,
            **({} if cpu else {"cpu": "the tool that measured does not tell it"}),
        },
    )


def measure_memory(engine: str, path: Path, sample: Mapping[str, Array], *, threads: int) -> Memory:
    """Memory of a fresh process that loads the artifact and runs it a few times; never the timed one."""
    with runtimes.open_session(engine, path, threads=threads) as session:
        return memory(session.memory(sample, MEMORY_RUNS))


def memory(use: MemoryUse) -> Memory:
    """Above what the process took before it had an artifact."""
    base = use.baseline_bytes
    unique, unique_base = use.unique_bytes, use.baseline_unique_bytes
    return Memory(
        peak_bytes=use.peak_bytes - base,
        baseline_bytes=base,
        loaded_bytes=use.loaded_bytes - base,
        unique_bytes=None if unique is None or unique_base is None else unique - unique_base,
        phases={
            name: MemoryPhase(
                resident_bytes=resident - base,
                unique_bytes=None if held is None or unique_base is None else held - unique_base,
            )
            for name, (resident, held) in use.phases.items()
        },
        reasons=use.reasons,
    )


def measure_sustained(
    engine: str,
    path: Path,
    sample: Mapping[str, Array],
    *,
    threads: int,
    minutes: float,
    window_seconds: float = SUSTAINED_WINDOW_SECONDS,
) -> Sustained:
    """Throughput over minutes of back-to-back inferences, in a fresh process."""
    with runtimes.open_session(engine, path, threads=threads) as session:
        use = session.sustained(sample, minutes * 60, window_seconds)
    return Sustained(
        threads=threads,
        window_seconds=window_seconds,
        inferences=use.inferences,
        window_ns=use.window_ns,
        temperatures=use.temperatures,
        frequencies_mhz=use.frequencies_mhz,
    )


def played(latency: Latency) -> tuple[int, ...]:
    """The samples that a SampleClock replays: their median alone where the tool kept none."""
    return latency.samples_ns or (round(median_ms(latency) * 1e6),)


class SampleClock:
    """A timer for pytest-benchmark that plays samples taken elsewhere: in a worker, on a phone.

    Each call of what `replay` returns moves the clock by the next sample, so
    that statistics, tables, files and comparisons come out as for a local callable.
    """

    def __init__(self) -> None:
        self._now_ns = 0

    def __call__(self) -> float:
        """Seconds, as time.perf_counter has them."""
        return self._now_ns / 1e9

    def replay(self, samples_ns: tuple[int, ...]) -> Callable[[], None]:
        """Return a callable to be run once a sample."""
        self._now_ns = 0  # small numbers keep the nanoseconds of a float
        remaining = iter(samples_ns)

        def step() -> None:
            self._now_ns += next(remaining)

        return step

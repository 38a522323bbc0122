"""A against B on this machine: blocks of inferences in turn, A B B A, so that both meet the same weather.

Each side has a process of its own, of which one at a time works. Both are
started anew after every few rounds, because where a process happens to lie in
memory makes it faster or slower for as long as it lives (T. Mytkowicz et al.,
"Producing Wrong Data Without Doing Anything Obviously Wrong!", ASPLOS 2009).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from suite import ratio, runtimes
from suite.ratio import Ratio, Round, Verdict
from suite.runtimes.base import Session, TensorInfo, TimingPolicy
from suite.spec import Array
from suite.stats import NS_PER_MS

_WARM = TimingPolicy(warmup_min_runs=3, warmup_min_seconds=0.3, min_runs=5, max_runs=5, min_seconds=0)


@dataclass(frozen=True, slots=True)
class Side:
    """An artifact on an engine, and what the user calls it."""

    label: str
    engine: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to look: `rounds` of four blocks, a block at least `block_seconds` and `fewest` inferences."""

    rounds: int = 32
    rounds_a_process: int = 4
    block_seconds: float = 0.03
    fewest: int = 3
    most: int = 64

    def block(self, p50_ns: float) -> TimingPolicy:
        """A block of a model that takes `p50_ns`; what the other side left in the caches is run out first."""
        count = max(self.fewest, min(self.most, round(self.block_seconds * 1e9 / p50_ns)))
        return TimingPolicy(
            warmup_min_runs=1,
            warmup_max_runs=max(1, count // 4),
            warmup_min_seconds=self.block_seconds / 4,
            min_runs=count,
            max_runs=count,
            min_seconds=0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a comparison found; `ratio` is B over A."""

    a: str
    b: str
    ratio: Ratio
    verdict: Verdict
    a_p50_ms: float
    b_p50_ms: float
    rounds: int
    block: int  # inferences in each
    threads: int


def compare(
    a: Side,
    b: Side,
    sample: Mapping[str, Array],
    *,
    threads: int = 1,
    plan: Plan | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Outcome:
    """Measure both sides in turn, on one (1, ...) sample, and say which is faster.

    UsageError for an unknown engine or too few rounds; StagedError where a side cannot run.
    """
    plan = plan or Plan()
    with _Bench(a, b, sample, threads, plan, progress) as bench:
        rounds, found, word = ratio.decide(bench.round, plan.rounds)
    return Outcome(
        a=a.label,
        b=b.label,
        ratio=found,
        verdict=word,
        a_p50_ms=median(ns for one in rounds for side in one.a for ns in side) / NS_PER_MS,
        b_p50_ms=median(ns for one in rounds for side in one.b for ns in side) / NS_PER_MS,
        rounds=len(rounds),
        block=len(rounds[0].a[0]),
        threads=threads,
    )


class _Bench:
    """Both sides, opened in processes that are started anew every few rounds."""

    def __init__(
        self,
        a: Side,
        b: Side,
        sample: Mapping[str, Array],
        threads: int,
        plan: Plan,
        progress: Callable[[int, int], None],
    ) -> None:
        self._a, self._b, self._sample, self._threads = a, b, sample, threads
        self._plan, self._progress = plan, progress
        self._open = ExitStack()
        self._sessions: tuple[Session, Session] | None = None
        self._block: TimingPolicy | None = None
        self._done = 0

    def __enter__(self) -> _Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def round(self) -> Round:
        """A B B A, or B A A B: in turn, so that neither side is always the first."""
        if self._done % self._plan.rounds_a_process == 0:
            self._start()
        assert self._sessions is not None
        assert self._block is not None
        a_first = self._done % 2 == 0
        a, b = self._sessions
        outer, inner = (a, b) if a_first else (b, a)
        blocks = [side.time(self._sample, self._block).samples_ns for side in (outer, inner, inner, outer)]
        outside, inside = (blocks[0], blocks[3]), (blocks[1], blocks[2])
        self._done += 1
        self._progress(self._done, self._plan.rounds * ratio.LOOKS)
        return Round(outside, inside) if a_first else Round(inside, outside)

    def _start(self) -> None:
        """New processes for both sides, opened in turn first and second, and warmed up."""
        self._open.close()
        turned = self._done // self._plan.rounds_a_process % 2 == 1
        opened = {
            name: self._open.enter_context(
                runtimes.open_session(side.engine, side.path, threads=self._threads)
            )
            for name, side in sorted({"a": self._a, "b": self._b}.items(), reverse=turned)
        }
        self._sessions = opened["a"], opened["b"]
        warm = [median(session.time(self._sample, _WARM).samples_ns) for session in self._sessions]
        self._block = self._block or self._plan.block(min(warm))


def any_sample(side: Side) -> dict[str, Array]:
    """Seeded noise of the shapes that an artifact declares, where nothing is known of its model."""
    random = np.random.default_rng(0)
    with runtimes.open_session(side.engine, side.path, threads=1) as session:
        return {info.name: _noise(info, random) for info in session.inputs}


def _noise(info: TensorInfo, random: np.random.Generator) -> Array:
    """(1, ...) of the tensor's shape, from 0 to 1; pixels for a photo, which is declared without a batch."""
    sizes = [max(1, size) for size in info.shape]
    if len(sizes) == 3 and info.dtype == "uint8":
        return random.integers(0, 256, [1, *sizes], np.uint8)
    return random.uniform(0, 1, [1, *sizes[1:]]).astype(np.float32)

"""Whether an A/B comparison on real models finds 5 % planted, and raises no alarm on A against A."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import suite
from suite import ab, runtimes
from suite.ratio import Verdict
from suite.runtimes.base import Feed, Timing, TimingPolicy
from suite.runtimes.litert import open_session
from tests.bench.figures import held

MODELS = (("digits_cnn", "float32"), ("mobilenet_v2", "float32"), ("squeezenet", "int8"))
SLOWER = 1.05
_ENGINE = "litert-5-percent-slower"


class Slowed:
    """A session whose inference takes 5 % longer than it does: the rest of the time is spun away."""

    def __init__(self, session: Any) -> None:
        self._session = session
        interpreter = session._interpreter
        self._session._interpreter = _Spinning(interpreter)
        self.inputs, self.outputs, self.close = session.inputs, session.outputs, session.close

    def time(self, feed: Feed, policy: TimingPolicy) -> Timing:
        timing: Timing = self._session.time(feed, policy)
        return timing


class _Spinning:
    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self.invoke: Callable[[], None] = partial(_spin, interpreter.invoke)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._interpreter, name)


def _spin(invoke: Callable[[], None]) -> None:
    start = time.perf_counter_ns()
    invoke()
    end = start + int((time.perf_counter_ns() - start) * SLOWER)
    while time.perf_counter_ns() < end:
        pass


def open_slowed(path: Path, threads: int, kernels: str) -> Slowed:
    """In the worker: the artifact, 5 % slower."""
    return Slowed(open_session(path, threads, kernels))


def main(profile: str) -> bool:
    """Each model against itself and against itself slowed down; no verdict may be wrong."""
    engines = dict(runtimes.ENGINES)
    engines[_ENGINE] = runtimes.Engine("tests.bench.ab:open_slowed", "LiteRT", "ai-edge-litert", ("xnnpack",))
    runtimes.ENGINES = engines
    wrong = told = 0
    for name, variant in MODELS:
        a = ab.Side("A", "litert-xnnpack", suite.convert(name, variant))
        for engine, right in (("litert-xnnpack", Verdict.SAME), (_ENGINE, Verdict.SLOWER)):
            start = time.perf_counter()
            found = ab.compare(a, ab.Side("B", engine, a.path), ab.any_sample(a))
            seconds = time.perf_counter() - start
            print(f"       {name}/{variant} on {engine}: {found.verdict}, {found.ratio}, {seconds:.0f} s")
            told += found.verdict is right
            wrong += found.verdict not in (right, Verdict.INCONCLUSIVE)
    print(f"       {told} of {2 * len(MODELS)} told rightly; the rest inconclusive, or wrong:")
    return held("wrong verdicts of A/B comparisons", wrong, 0, "")

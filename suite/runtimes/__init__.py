"""Runtimes behind one protocol, each in a worker process of its own, started on demand and reused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from suite.errors import CaseError, UsageError
from suite.record import Stage, Status
from suite.runtimes.base import (
    CameraPlan,
    CameraUse,
    Feed,
    MemoryUse,
    Session,
    SustainedUse,
    TensorInfo,
    Timing,
    TimingPolicy,
)
from suite.runtimes.pool import CORE_ML, EVALUATOR, LITERT, TFLITE_RUNTIME, Pool
from suite.runtimes.worker import Worker
from suite.spec import Array, ImageInput

__all__ = ["CORE_ML", "ENGINES", "Engine", "Pool", "Session", "open_session", "version", "versions"]


@dataclass(frozen=True, slots=True)
class Engine:
    """A runtime on this machine: who opens a session, in which kind of worker, from which package."""

    factory: str  # "module:function", called as function(path, threads, *arguments)
    worker: str  # engines that share a worker share its process
    package: str
    arguments: tuple[str, ...] = ()
    load_seconds: float = 180.0  # TensorFlow's own import is among it
    called: str = ""  # in a record, where the target's own name does not say it
    untimed: str = ""  # why its latency and memory say nothing


ENGINES: Mapping[str, Engine] = {
    **{
        f"litert-{kernels}": Engine(
            "suite.runtimes.litert:open_session", LITERT, "ai-edge-litert", (kernels,)
        )
        for kernels in ("xnnpack", "builtin", "reference")
    },
    "tflite-runtime": Engine("suite.runtimes.tflite_runtime:open_session", TFLITE_RUNTIME, "tflite-runtime"),
    "tf-lite": Engine("suite.runtimes.tf_lite:open_session", "tf.lite", "tensorflow"),
    "coreml-evaluator": Engine(
        "suite.runtimes.coreml_evaluator:open_session",
        EVALUATOR,
        "coremltools",
        called="evaluator",
        untimed="engine: evaluator, which executes the saved file in NumPy: "
        "speed and memory are the device's to tell",
    ),
    **{
        f"coreml{name}": Engine("suite.runtimes.coreml:open_session", CORE_ML, "coremltools", (units,))
        for name, units in (
            ("", "ALL"),
            ("-cpu", "CPU_ONLY"),
            ("-cpu-gpu", "CPU_AND_GPU"),
            ("-cpu-ne", "CPU_AND_NE"),
        )
    },
}

RUN_SECONDS = 900.0
_PACKAGE_ALIASES = {"tensorflow": ("tensorflow", "tensorflow-cpu")}


class RemoteSession:
    """A session in a worker, as the Session protocol has it."""

    def __init__(self, worker: Worker, engine: Engine, path: Path, threads: int) -> None:
        self._worker = worker
        worker.call(
            "open",
            engine.factory,
            path,
            threads,
            *engine.arguments,
            stage=Stage.LOAD,
            timeout=engine.load_seconds,
        )
        self._opening = worker.opened
        self.inputs: tuple[TensorInfo, ...] = self._call(".inputs")
        self.outputs: tuple[TensorInfo, ...] = self._call(".outputs")

    @property
    def is_open(self) -> bool:
        """Whether the worker still holds this artifact."""
        return self._worker.alive() and self._worker.opened == self._opening

    def run(self, feed: Feed) -> dict[str, Array]:
        """One inference on arrays of the declared shapes and dtypes."""
        answer: dict[str, Array] = self._call(".run", dict(feed))
        return answer

    def run_many(self, feed: Feed) -> dict[str, Array]:
        """(n, ...) reals to (n, ...) reals."""
        answer: dict[str, Array] = self._call(".run_many", dict(feed))
        return answer

    def time(self, feed: Feed, policy: TimingPolicy) -> Timing:
        """Time back-to-back inferences, in the worker."""
        timing: Timing = self._call(".time", dict(feed), policy)
        return timing

    def intermediates(self, feed: Feed, partly: bool = False) -> dict[str, Array]:
        """Every value that is computed, (n, ...) by name, where the engine tells it."""
        found: dict[str, Array] = self._call(".intermediates", dict(feed), partly)
        return found

    def placement(self) -> dict[str, dict[str, int]]:
        """Compute device -> operator -> count, where the engine tells it."""
        found: dict[str, dict[str, int]] = self._call(".placement")
        return found

    def memory(self, feed: Feed, runs: int) -> MemoryUse:
        """Memory of the worker after `runs` inferences."""
        use: MemoryUse = self._call(".memory", dict(feed), runs)
        return use

    def sustained(self, feed: Feed, seconds: float, window_seconds: float) -> SustainedUse:
        """Back to back for so long, in the worker."""
        use: SustainedUse = self._worker.call(
            ".sustained", dict(feed), seconds, window_seconds, stage=Stage.RUN, timeout=seconds + RUN_SECONDS
        )
        return use

    def realtime(self, frames: list[Array], image: ImageInput | None, plan: CameraPlan) -> CameraUse:
        """Both camera-paced schemes, in the worker."""
        if len(self.inputs) != 1:
            raise CaseError(
                f"the artifact takes {len(self.inputs)} inputs, and a camera gives one: measure it by hand",
                stage=Stage.RUN,
                status=Status.SKIPPED,
            )
        use: CameraUse = self._call(".realtime", frames, image, plan)
        return use

    def close(self) -> None:
        """Free the artifact; the worker stays for the next one."""
        if self.is_open:
            self._call(".close")

    def _call(self, function: str, *args: Any) -> Any:
        return self._worker.call(function, *args, stage=Stage.RUN, timeout=RUN_SECONDS)


@contextmanager
def open_session(
    engine: str | Engine, path: Path, *, threads: int, worker: Worker | None = None
) -> Iterator[RemoteSession]:
    """Open an artifact on an engine, in `worker` or in one of its own that ends with the session."""
    if isinstance(engine, str):
        if engine not in ENGINES:
            raise UsageError(f"unknown engine {engine!r}: known are {', '.join(ENGINES)}")
        engine = ENGINES[engine]
    if worker is None:
        with Worker(engine.worker) as own:
            yield RemoteSession(own, engine, path, threads)
        return
    session = RemoteSession(worker, engine, path, threads)
    try:
        yield session
    finally:
        session.close()


def versions(*packages: str) -> dict[str, str]:
    """Versions of installed packages, without importing them; "absent" where there is none."""
    return {package: version(package) for package in packages}


@cache
def version(package: str) -> str:
    """Of one package, read once: what is installed stays so for as long as a run lasts."""
    from importlib import metadata  # brings e-mail along, and a model is opened without

    for name in _PACKAGE_ALIASES.get(package, (package,)):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "absent"

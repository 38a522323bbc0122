"""Opens an artifact where a case runs: on this machine, on a phone, on an iPhone that is plugged in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from suite import runtimes
from suite.cache import sha256_file, sha256_tree
from suite.converters import inspection
from suite.devices.fleet import Fleet, Tensors
from suite.devices.session import DeviceSession
from suite.errors import CaseError, WorkerCrashed
from suite.record import Stage
from suite.runtimes.base import TensorInfo
from suite.spec import Target

OpenedSession = runtimes.RemoteSession | DeviceSession
PREPARE_SECONDS = 900.0  # Xcode builds the app at first use
_DESCRIBER = Target("host", "litert-xnnpack")


class Sessions:
    """Sessions by these workers and phones, which are another's to close."""

    def __init__(self, pool: runtimes.Pool, phones: Fleet) -> None:
        self._pool, self._phones = pool, phones
        self._tensors: tuple[str, Tensors] | None = None  # of one artifact, by its hash
        self._kept: dict[str, tuple[tuple[str, str, int], runtimes.RemoteSession]] = {}  # by kind of worker
        self._deadly: dict[tuple[str, str], tuple[str, Stage]] = {}  # what died of what, by hash and engine

    @contextmanager
    def open(
        self, target: Target, path: Path, threads: int, *, fresh: bool = False, sha256: str = ""
    ) -> Iterator[OpenedSession]:
        """The artifact in its place; `fresh`: in a process that has held no other.

        On this machine one that is named by its hash stays open until its
        worker opens another, for whoever wants the answers of the same again.
        WorkerCrashed, at once, where it has hung or crashed there before.
        """
        with self.watched(target, path), self._opened(target, path, threads, fresh, sha256) as session:
            yield session

    @contextmanager
    def watched(self, target: Target, path: Path) -> Iterator[None]:
        """Within it, an artifact that hangs or crashes on this machine does so for the last time.

        Each check of a case would wait for the time-out again, for minutes. A
        phone is another matter: it may have been unplugged.
        """
        engine = runtimes.ENGINES.get(target.engine) if target.place == "host" else None
        if engine is None:
            yield
            return
        if self._deadly and (seen := self._deadly.get((sha256_tree(path), target.engine))) is not None:
            raise WorkerCrashed(seen[0], stage=seen[1])
        try:
            yield
        except WorkerCrashed as error:
            if error.worker == engine.worker:  # and not the original's process
                self._deadly[sha256_tree(path), target.engine] = str(error), error.stage
            raise

    @contextmanager
    def _opened(
        self, target: Target, path: Path, threads: int, fresh: bool, sha256: str
    ) -> Iterator[OpenedSession]:
        if target.on_android:
            described, float32 = self._described(path), inspection.inspect(path).variant == "float32"
            with self._phones.session(
                target, path, threads=threads, tensors=described, float32=float32
            ) as there:
                yield there
            return
        if target.on_ios:
            engine = _iphone(target)
            with runtimes.open_session(
                engine, path, threads=1, worker=self._pool.worker(engine.worker)
            ) as plugged_in:
                yield plugged_in
            return
        kind = runtimes.ENGINES[target.engine].worker
        if sha256:
            try:
                yield self._keep(target.engine, path, threads, sha256)
            except BaseException:
                self._kept.pop(kind, None)  # who knows what state it is in
                raise
            return
        if not fresh:
            with runtimes.open_session(
                target.engine, path, threads=threads, worker=self._pool.worker(kind)
            ) as here:
                yield here
            return
        with (
            self._pool.fresh(kind) as own,
            runtimes.open_session(target.engine, path, threads=threads, worker=own) as here,
        ):
            yield here

    def _keep(self, name: str, path: Path, threads: int, sha256: str) -> runtimes.RemoteSession:
        """The session that is open already, or a new one."""
        engine, wanted = runtimes.ENGINES[name], (name, sha256, threads)
        kept = self._kept.get(engine.worker)
        if kept is None or kept[0] != wanted or not kept[1].is_open:
            session = runtimes.RemoteSession(self._pool.worker(engine.worker), engine, path, threads)
            kept = self._kept[engine.worker] = wanted, session
        return kept[1]

    def _described(self, path: Path) -> Tensors:
        """Inputs and outputs of an artifact, as LiteRT on this machine reads them."""
        sha256 = sha256_file(path)
        if self._tensors is None or self._tensors[0] != sha256:
            with self.open(_DESCRIBER, path, 1) as session:
                _check_fixed(session.inputs)
                self._tensors = sha256, (session.inputs, session.outputs)
        return self._tensors[1]


def _check_fixed(inputs: tuple[TensorInfo, ...]) -> None:
    """Refuse a file whose inputs have no size of their own: the runner on a phone is told one."""
    if free := [info.name for info in inputs if -1 in info.shape]:
        raise CaseError(
            f"the artifact leaves sizes of its input {', '.join(free)} free, and is run on phones at fixed "
            "sizes alone: convert it with the model's input shape",
            stage=Stage.LOAD,
        )


def _iphone(target: Target) -> runtimes.Engine:
    """The engine of one iPhone or iPad, whose place is `ios:<udid>`."""
    return runtimes.Engine(
        "suite.devices.ios:open_session",
        "iPhone",
        "coremltools",
        (target.place.removeprefix("ios:"),),
        load_seconds=PREPARE_SECONDS,
    )

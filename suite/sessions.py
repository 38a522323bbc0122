"""Opens an artifact where a case runs: on this machine, on a phone, on an iPhone that is plugged in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from suite import runtimes
from suite.cache import sha256_file
from suite.converters import inspection
from suite.devices.fleet import Fleet, Tensors
from suite.devices.session import DeviceSession
from suite.spec import Target

OpenedSession = runtimes.RemoteSession | DeviceSession
PREPARE_SECONDS = 900.0  # Xcode builds the app at first use
_DESCRIBER = Target("host", "litert-xnnpack")


class Sessions:
    """Sessions by these workers and phones, which are another's to close."""

    def __init__(self, pool: runtimes.Pool, phones: Fleet) -> None:
        self._pool, self._phones = pool, phones
        self._tensors: tuple[str, Tensors] | None = None  # of one artifact, by its hash

    @contextmanager
    def open(
        self, target: Target, path: Path, threads: int, *, fresh: bool = False
    ) -> Iterator[OpenedSession]:
        """The artifact in its place; `fresh`: in a process that has held no other."""
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
        worker = None if fresh else self._pool.worker(runtimes.ENGINES[target.engine].worker)
        with runtimes.open_session(target.engine, path, threads=threads, worker=worker) as here:
            yield here

    def _described(self, path: Path) -> Tensors:
        """Inputs and outputs of an artifact, as LiteRT on this machine reads them."""
        sha256 = sha256_file(path)
        if self._tensors is None or self._tensors[0] != sha256:
            with self.open(_DESCRIBER, path, 1) as session:
                self._tensors = sha256, (session.inputs, session.outputs)
        return self._tensors[1]


def _iphone(target: Target) -> runtimes.Engine:
    """The engine of one iPhone or iPad, whose place is `ios:<udid>`."""
    return runtimes.Engine(
        "suite.devices.ios:open_session",
        "iPhone",
        "coremltools",
        (target.place.removeprefix("ios:"),),
        load_seconds=PREPARE_SECONDS,
    )

"""Worker processes, one of a kind, and those that wait to be the first to open an artifact."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from suite.errors import StagedError
from suite.record import Stage
from suite.runtimes.worker import Worker

LOAD_SECONDS = 180.0
LARGE_BYTES = 4 << 30  # of a worker between two models
SPARE_BYTES = 32 << 20  # that a worker holds while it waits
_SHARE = 16  # of the memory that is free, one in so many may be theirs
LITERT, TFLITE_RUNTIME, CORE_ML, EVALUATOR = "LiteRT", "tflite-runtime", "Core ML", "Core ML evaluator"
_IMPORTS: Mapping[str, tuple[str, ...]] = {  # of a kind, before it is asked for anything
    LITERT: ("suite.runtimes.litert", "ai_edge_litert.interpreter", "psutil"),
    TFLITE_RUNTIME: ("suite.runtimes.tflite_runtime", "tflite_runtime.interpreter", "psutil"),
    EVALUATOR: ("suite.runtimes.coreml_evaluator", "psutil"),
    CORE_ML: ("suite.coreml.checks",),
}


class Pool:
    """The workers of this process. Close it to end them.

    To start a process takes longer than most artifacts take to run. So those
    that are expected start ahead, while nothing is timed: at `stock`.
    """

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}
        self._spares: defaultdict[str, list[Worker]] = defaultdict(list)  # have held no artifact
        self._starting: list[Worker] = []  # of both, since they were last waited for
        self._wanted: list[str] = []  # kinds, one worker of each
        self._expected: Counter[str] = Counter()  # spares by kind

    def worker(self, kind: str, opens: str = "") -> Worker:
        """The living worker of this kind; a dead one is replaced.

        A new one first opens what `opens` names, "module:factory".
        """
        worker = self._workers.get(kind)
        if worker is None or not worker.alive():
            if worker is not None:
                worker.close()
            worker = self._workers[kind] = _started(kind)
            if opens:
                try:
                    worker.call("open", opens, stage=Stage.LOAD, timeout=LOAD_SECONDS)
                except BaseException:
                    worker.close()  # alive, it would be taken for one that has opened
                    raise
        return worker

    def expect(self, kinds: Iterable[str], fresh: Mapping[str, int]) -> None:
        """A worker of each kind will be asked for, and so many fresh ones."""
        self._wanted.extend(kinds)
        self._expected.update(fresh)

    def fresh(self, kind: str) -> Worker:
        """A worker that has held no artifact yet; whoever asks for it closes it."""
        self._expected[kind] -= 1
        spares = self._spares[kind]
        while spares:
            if (spare := spares.pop(0)).alive():
                return spare
            spare.close()
        return _started(kind)

    @property
    def waiting(self) -> int:
        """How many spare workers there are."""
        return sum(map(len, self._spares.values()))

    def stock(self, more: int) -> None:
        """Start some workers that will be asked for, as there is memory: `settle` before anything is timed.

        Only a few at a time, for they take the processor from what they run beside.
        """
        while self._wanted and more > 0:
            if (kind := self._wanted.pop(0)) not in self._workers:
                self._workers[kind] = self._begun(kind)
                more -= 1
        for kind, expected in self._expected.items():
            lacking = min(more, expected - len(self._spares[kind]), _room(self.waiting))
            for _ in range(lacking):
                self._spares[kind].append(self._begun(kind))
            more -= max(0, lacking)

    def settle(self) -> None:
        """Wait until every worker has started: from then on those that wait take no processor."""
        while self._starting:
            worker = self._starting.pop()
            # Whoever is given one that fails is told why, or gets another.
            with contextlib.suppress(StagedError):
                if worker.alive():
                    worker.call("os:getpid", stage=Stage.LOAD, timeout=LOAD_SECONDS)

    def _begun(self, kind: str) -> Worker:
        self._starting.append(_started(kind))
        return self._starting[-1]

    def shed(self) -> None:
        """End the workers that have grown large; converters do not give all their memory back."""
        for kind, worker in list(self._workers.items()):
            if worker.resident_bytes() > LARGE_BYTES:
                self._workers.pop(kind).close()

    def close(self) -> None:
        """End every worker."""
        for worker in [*self._workers.values(), *(one for spares in self._spares.values() for one in spares)]:
            worker.close()
        self._workers.clear()
        self._spares.clear()
        self._starting.clear()


def _room(waiting: int) -> int:
    """How many more workers may wait, beside those that do."""
    import psutil

    free = int(psutil.virtual_memory().available) + waiting * SPARE_BYTES
    return free // _SHARE // SPARE_BYTES - waiting


def _started(kind: str) -> Worker:
    return Worker(kind, imports=_IMPORTS.get(kind, ()))

"""A Core ML artifact executed by this suite's own evaluator, where there is no Core ML."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

import numpy as np

from suite.coreml.evaluator import Evaluator
from suite.errors import CaseError, Unsupported
from suite.record import Stage
from suite.runtimes import loop
from suite.runtimes.base import Feed, MemoryUse, TensorInfo, Timing, TimingPolicy, load_feed, match
from suite.spec import Array

# Of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT_BYTES = 32 << 20  # the most that it takes
_TRIM_BYTES = 1 << 30


class EvaluatorSession:
    """A session, as the protocol has it, but for latency: the evaluator's would say nothing of a phone.

    An image input takes pictures, not the model's own tensor, for the
    artifact's preprocessing is part of what is proven: `run` one (height,
    width, channels), `run_many` (n, height, width, channels), RGB pixels
    0..255, whole or not. The label of a classifier is not among the outputs;
    its scores are, in the order of the labels.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._baseline, self._baseline_unique = loop.resident_bytes(), loop.unique_bytes()
        settle(threads)
        self._evaluator: Evaluator | None = Evaluator.open(path)
        self.inputs: tuple[TensorInfo, ...] = self._evaluator.inputs
        self.outputs: tuple[TensorInfo, ...] = self._evaluator.outputs
        self._loaded = loop.resident_bytes()

    def run(self, feed: Feed) -> dict[str, Array]:
        """One inference on arrays of the declared shapes."""
        return self._run(match(load_feed(feed), self.inputs))

    def run_many(self, feed: Feed) -> dict[str, Array]:
        """(n, ...) samples to (n, ...) reals, one inference a sample."""
        arrays = match(load_feed(feed), self.inputs)
        count = len(next(iter(arrays.values())))
        answers = [self._one({name: array[i] for name, array in arrays.items()}) for i in range(count)]
        return {info.name: np.stack([answer[info.name] for answer in answers]) for info in self.outputs}

    def intermediates(self, feed: Feed, partly: bool = False) -> dict[str, Array]:
        """(n, ...) of every value by its name, in the order of execution; `partly` as the evaluator's."""
        if self._evaluator is None:
            raise CaseError("the session is closed: open the artifact again", stage=Stage.RUN)
        arrays = match(load_feed(feed), self.inputs)
        seen = [
            self._evaluator.intermediates(
                self._batched({name: array[i] for name, array in arrays.items()}), partly=partly
            )
            for i in range(len(next(iter(arrays.values()))))
        ]
        return {
            name: np.stack([_unbatched(one[name]) for one in seen])
            for name in seen[0]
            if all(name in one and one[name].shape == seen[0][name].shape for one in seen)
        }

    def time(self, feed: Feed, policy: TimingPolicy) -> Timing:
        """Never: raises Unsupported."""
        raise Unsupported(
            "the evaluator computes in NumPy what Core ML computes on the device: its latency says nothing. "
            "Measure on a Mac or an iPhone",
            stage=Stage.RUN,
        )

    def memory(self, feed: Feed, runs: int) -> MemoryUse:
        """Memory of this process after some inferences; the evaluator's, not that of a phone."""
        arrays = match(load_feed(feed), self.inputs)
        for _ in range(runs):
            self._one({name: array[0] for name, array in arrays.items()})
        return MemoryUse(
            baseline_bytes=self._baseline,
            loaded_bytes=self._loaded,
            peak_bytes=loop.peak_bytes(),
            baseline_unique_bytes=self._baseline_unique,
            unique_bytes=loop.unique_bytes(),
        )

    def close(self) -> None:
        """Free the artifact."""
        self._evaluator = None

    def _one(self, sample: dict[str, Array]) -> dict[str, Array]:
        """One sample without its batch axis; answers without theirs, float16 as float32."""
        return {name: _unbatched(value) for name, value in self._run(self._batched(sample)).items()}

    def _batched(self, sample: dict[str, Array]) -> dict[str, Array]:
        assert self._evaluator is not None
        pictures = self._evaluator.pictures
        return {
            name: value if name in pictures or len(self._shape(name)) == value.ndim else value[None]
            for name, value in sample.items()
        }

    def _shape(self, name: str) -> tuple[int, ...]:
        return next(info.shape for info in self.inputs if info.name == name)

    def _run(self, feed: dict[str, Array]) -> dict[str, Array]:
        if self._evaluator is None:
            raise CaseError("the session is closed: open the artifact again", stage=Stage.RUN)
        answers = self._evaluator.run(feed)
        return {info.name: answers[info.name] for info in self.outputs}


def _unbatched(value: Array) -> Array:
    return _real(value[0] if value.ndim and value.shape[0] == 1 else value)


def _real(value: Array) -> Array:
    return value.astype(np.float32) if value.dtype == np.float16 else value


def settle(threads: int) -> None:
    """Make this process a good place for matrix products: so many threads, and memory that stays.

    A large array is new pages of the system each time, unless the C library is
    told to keep them: zeroing them costs as much as the arithmetic on them.
    """
    with contextlib.suppress(ImportError):
        import scipy.linalg.blas  # noqa: F401 - SciPy brings a BLAS of its own: one that comes later has no limit
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)
    with contextlib.suppress(OSError, AttributeError):  # not GNU's
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _TRIM_BYTES)


def open_session(path: Path, threads: int) -> EvaluatorSession:
    """Open a .mlpackage or .mlmodel; CaseError for a damaged one, Unsupported for unknown operations."""
    return EvaluatorSession(Path(path), threads)

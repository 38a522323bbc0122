"""Core ML itself, on macOS, by coremltools' MLModel.

It takes what the evaluator takes: pictures as RGB pixels (height, width,
channels), tensors as declared; and answers what the evaluator answers, so that
one can be held to the other.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from suite.coreml.evaluator import Evaluator
from suite.errors import CaseError
from suite.record import Stage
from suite.runtimes import loop
from suite.runtimes.base import Feed, MemoryUse, TensorInfo, Timing, TimingPolicy, load_feed, match
from suite.spec import Array


class CoreMLSession:
    """A session on chosen compute units. Core ML divides its work itself: `threads` are not its to set."""

    def __init__(self, path: Path, threads: int, units: str) -> None:
        from coremltools import ComputeUnit
        from coremltools.models import MLModel

        self._baseline, self._baseline_unique = loop.resident_bytes(), loop.unique_bytes()
        self.threads = threads
        described = Evaluator.open(path)  # also says what is wrong with a damaged file
        self._pictures = described.pictures
        self._labels = described.labels
        self.inputs: tuple[TensorInfo, ...] = described.inputs
        self.outputs: tuple[TensorInfo, ...] = described.outputs
        start = time.perf_counter_ns()
        try:
            self._model: Any = MLModel(str(path), compute_units=ComputeUnit[units])
            blank = {one.name: np.zeros(described.usual_shape(one.name), one.dtype) for one in self.inputs}
            self._predict(self._given(blank))  # Core ML compiles for the device at the first prediction
        except Exception as error:  # whatever Core ML's own errors become in Python
            raise CaseError(
                f"Core ML cannot load {path.name}: {_first_line(error)}. "
                "Convert it for an older deployment target, or run on a newer macOS",
                stage=Stage.LOAD,
            ) from error
        self._load_ns = time.perf_counter_ns() - start
        self._loaded = loop.resident_bytes()

    def run(self, feed: Feed) -> dict[str, Array]:
        """One inference on arrays of the declared shapes."""
        arrays = match(load_feed(feed), self.inputs)
        return self._answers(self._predict(self._given(arrays)))

    def run_many(self, feed: Feed) -> dict[str, Array]:
        """(n, ...) samples to (n, ...) reals, one inference a sample."""
        arrays = match(load_feed(feed), self.inputs)
        count = len(next(iter(arrays.values())))
        answers = [self._answers(self._predict(self._sample(arrays, place))) for place in range(count)]
        return {
            info.name: np.stack([_without_batch(answer[info.name]) for answer in answers])
            for info in self.outputs
        }

    def time(self, feed: Feed, policy: TimingPolicy) -> Timing:
        """Time `predict`, the copies of input and output included, as coremltools' own benchmark does."""
        sample = self._sample(match(load_feed(feed), self.inputs), 0)
        return loop.timed(lambda: self._predict(sample), policy, threads=self.threads, load_ns=self._load_ns)

    def memory(self, feed: Feed, runs: int) -> MemoryUse:
        """Memory of this process after some inferences; what Core ML's own service holds is not in it."""
        sample = self._sample(match(load_feed(feed), self.inputs), 0)
        for _ in range(runs):
            self._predict(sample)
        return MemoryUse(
            baseline_bytes=self._baseline,
            loaded_bytes=self._loaded,
            peak_bytes=loop.peak_bytes(),
            baseline_unique_bytes=self._baseline_unique,
            unique_bytes=loop.unique_bytes(),
        )

    def close(self) -> None:
        """Free the model."""
        self._model = None

    def _sample(self, arrays: Mapping[str, Array], place: int) -> dict[str, Any]:
        """One sample as Core ML takes it, batch axes put back where they are declared."""
        one = {}
        for info in self.inputs:
            value = np.asarray(arrays[info.name][place])
            one[info.name] = value if value.ndim == len(info.shape) else value[np.newaxis]
        return self._given(one)

    def _given(self, arrays: Mapping[str, Array]) -> dict[str, Any]:
        return {
            name: _photo(value, self._pictures[name].dtype)
            if name in self._pictures
            else np.ascontiguousarray(value)
            for name, value in arrays.items()
        }

    def _predict(self, given: Mapping[str, Any]) -> dict[str, Any]:
        if self._model is None:
            raise CaseError("the session is closed: open the artifact again", stage=Stage.RUN)
        answers: dict[str, Any] = self._model.predict(dict(given))
        return answers

    def _answers(self, found: Mapping[str, Any]) -> dict[str, Array]:
        return {info.name: self._scores(found[info.name]) for info in self.outputs}

    def _scores(self, value: Any) -> Array:
        """A classifier's dictionary as a vector in the order of its labels."""
        if isinstance(value, dict):
            return np.array([value[label] for label in self._labels], np.float32)
        array = np.asarray(value)
        return array.astype(np.float32) if array.dtype == np.float16 else array


def _photo(pixels: Array, dtype: str) -> Any:
    """As coremltools takes it: float16 grey as it is, whole pixels otherwise."""
    from PIL import Image

    if dtype == "float16":
        return Image.fromarray(np.asarray(pixels[..., 0], np.float32))
    whole = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return Image.fromarray(whole[..., 0] if whole.shape[-1] == 1 else whole)


def _without_batch(value: Array) -> Array:
    return value[0] if value.ndim > 1 and value.shape[0] == 1 else value


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def open_session(path: Path, threads: int, units: str) -> CoreMLSession:
    """Open a .mlpackage or .mlmodel on the compute units of that name in coremltools.ComputeUnit."""
    return CoreMLSession(Path(path), threads, units)

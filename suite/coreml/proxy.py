"""coremltools' own tools, run on the evaluator: what Apple's framework answers them on a Mac.

    from suite.coreml import proxy

    with proxy.installed():
        coremltools.models.MLModel("model.mlpackage").predict({"image": picture})

coremltools reaches the framework through one class, `_MLModelProxy`, which is
None off a Mac. With this one in its place MLModel.predict, MLModelComparator,
MLModelValidator and MLModelInspector run unmodified. Times that they report
are the evaluator's: they say nothing of Core ML.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from suite.coreml.evaluator import NEWEST, Evaluator


class Proxy:
    """The methods of coremltools' `_MLModelProxy` that need no state and no device."""

    def __init__(self, path: str, *options: Any) -> None:
        start = time.perf_counter_ns()
        self._path = Path(path)
        self._evaluator = Evaluator.open(self._path)
        self._load_ns = time.perf_counter_ns() - start
        self._predict_ns = 0

    @staticmethod
    def maximum_supported_specification_version() -> int:
        """The newest that the evaluator reads."""
        return NEWEST

    @staticmethod
    def get_available_compute_devices() -> list[Any]:
        """None: there is no Core ML here."""
        return []

    def predict(self, data: Mapping[str, Any], state: Any = None) -> dict[str, Any]:
        """One prediction: arrays by name; of a classifier, its label and a dictionary of scores."""
        if state is not None:
            raise RuntimeError("the evaluator has no states: run the model on a Mac")
        start = time.perf_counter_ns()
        answers = self._evaluator.run(data)
        self._predict_ns = time.perf_counter_ns() - start
        return {name: self._as_core_ml(name, value) for name, value in answers.items()}

    def batchPredict(self, data: list[Mapping[str, Any]]) -> list[dict[str, Any]]:  # noqa: N802 - Apple's name
        """One prediction after the other."""
        return [self.predict(one) for one in data]

    def get_compiled_model_path(self) -> str:
        """The model itself: nothing is compiled."""
        return str(self._path)

    def get_load_duration_in_nano_seconds(self) -> int:
        """The evaluator's, never Core ML's."""
        return self._load_ns

    def get_last_predict_duration_in_nano_seconds(self) -> int:
        """The evaluator's, never Core ML's."""
        return self._predict_ns

    def _as_core_ml(self, name: str, value: Any) -> Any:
        labels = self._evaluator.labels
        if labels and name == self._evaluator.label_name:
            return value.item()
        if labels and name == self._evaluator.scores_name:
            return dict(zip(labels, map(float, np.reshape(value, -1)), strict=True))
        return value


@contextmanager
def installed() -> Iterator[type[Proxy]]:
    """Put the evaluator where coremltools looks for Core ML, for as long as the block runs."""
    import coremltools.models.model as models

    kept = models._MLModelProxy
    models._MLModelProxy = Proxy
    try:
        yield Proxy
    finally:
        models._MLModelProxy = kept

"""TensorFlow, asked by name in a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from suite.record import Stage
from suite.runtimes import Pool

Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def tf(tensorflow: Pool) -> Ask:
    """`tf("nn.relu", [array], {option: value})`."""

    def ask(function: str, arrays: list[Any], options: dict[str, Any] | None = None) -> Any:
        worker = tensorflow.worker("operators")  # not the one that holds models
        return worker.call(
            "tests.meta.coreml.reference:tf_call",
            function,
            arrays,
            options or {},
            stage=Stage.RUN,
            timeout=120,
        )

    return ask


@pytest.fixture(scope="session")
def keras(tensorflow: Pool) -> Ask:
    """`keras("LSTM", {option: value}, array)` -> answer, weights."""

    def ask(name: str, options: dict[str, Any], x: Any, weights: list[Any] | None = None) -> Any:
        worker = tensorflow.worker("operators")  # not the one that holds models
        return worker.call(
            "tests.meta.coreml.reference:keras_layer", name, options, x, weights, stage=Stage.RUN, timeout=120
        )

    return ask

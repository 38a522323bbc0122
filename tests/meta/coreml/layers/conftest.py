"""Networks that coremltools' own builder writes, and what the evaluator answers of them."""

from __future__ import annotations

import pytest

from suite.coreml.evaluator import Evaluator
from suite.record import Stage
from suite.runtimes import Pool
from suite.spec import Array
from tests.meta.coreml.layers.asking import Answer, Given


@pytest.fixture(scope="session")
def answer(tensorflow: Pool, tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """`answer([("add_flatten", {"mode": 0, ...})], {"x": array}, "y")`: the network's answers, in order."""
    folder = tmp_path_factory.mktemp("networks")

    def ask(layers: list[Given], feed: dict[str, Array], *names: str) -> list[Array]:
        path = folder / "network.mlmodel"
        shapes = {name: value.shape for name, value in feed.items()}
        tensorflow.worker("operators").call(
            "tests.meta.coreml.reference:network", path, layers, shapes, list(names),
            stage=Stage.RUN, timeout=120,
        )  # fmt: skip
        answers = Evaluator.open(path).run(feed)
        return [answers[name] for name in names]

    return ask

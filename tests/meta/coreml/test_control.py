"""Loops and branches as coremltools converts them from TensorFlow, in both kinds of model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.coreml.evaluator import Evaluator
from suite.coreml.saved import proto
from suite.errors import CaseError, Unsupported
from suite.record import Stage
from suite.runtimes import Pool

KINDS = ("mlprogram", "neuralnetwork")
FLOWS = ("cond", "while", "both")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flow", FLOWS)
def test_it_answers_what_tensorflow_does(tensorflow: Pool, tmp_path: Path, kind: str, flow: str) -> None:
    path = tmp_path / ("m.mlpackage" if kind == "mlprogram" else "m.mlmodel")
    x = [np.float32([value, 2, -3]) for value in (-5, -1, 1, 4)]
    expected = tensorflow.worker("operators").call(
        "tests.meta.coreml.reference:control_flow", path, kind, flow, x, stage=Stage.RUN, timeout=120
    )
    model = Evaluator.open(path)
    name, answer = model.inputs[0].name, model.outputs[0].name
    for one, wanted in zip(x, expected, strict=True):
        np.testing.assert_allclose(model.run({name: one})[answer], wanted, rtol=1e-5, atol=1e-5)


# --- networks by hand, for what TensorFlow has not --------------------------------------------


class Net:
    """A network of copies, sums and loops: x is 0, y its answer."""

    def __init__(self) -> None:
        self.spec = proto("Model_pb2").Model(specificationVersion=6)
        self.network = self.spec.neuralNetwork
        self.network.arrayInputShapeMapping = proto("NeuralNetwork_pb2").EXACT_ARRAY_MAPPING
        array = self.spec.description.input.add(name="x").type.multiArrayType
        array.shape.append(1)
        array.dataType = 65568
        self.spec.description.output.add(name="y").type.multiArrayType.dataType = 65568
        self.copy(self.network, "x", "y")

    def copy(self, network: Any, source: str, name: str) -> None:
        network.layers.add(name=name, input=[source], output=[name]).copy.SetInParent()

    def more(self, network: Any, source: str, by: float, name: str) -> None:
        network.layers.add(name=name, input=[source], output=[name]).add.alpha = by

    def less(self, network: Any, source: str, than: float, name: str) -> None:
        network.layers.add(name=name, input=[source], output=[name]).lessThan.alpha = than

    def loop(self, network: Any, most: int = 0) -> Any:
        layer = network.layers.add(name="loop")
        layer.loop.maxLoopIterations = most
        return layer

    def run(self, folder: Path, x: float = 0) -> float:
        path = folder / "m.mlmodel"
        path.write_bytes(self.spec.SerializeToString())
        return float(Evaluator.open(path).run({"x": np.float32([x])})["y"][0])


def test_a_loop_of_a_number_of_turns(tmp_path: Path) -> None:
    net = Net()
    net.more(net.loop(net.network, 7).loop.bodyNetwork, "y", 2, "y")
    assert net.run(tmp_path) == 14


def test_a_loop_takes_the_number_as_it_comes(tmp_path: Path) -> None:
    net = Net()
    layer = net.loop(net.network, 99)
    layer.input.append("x")
    net.more(layer.loop.bodyNetwork, "y", 1, "y")
    assert net.run(tmp_path, 5) == 10


def test_a_loop_ends_at_its_condition_or_at_its_number(tmp_path: Path) -> None:
    for most, expected in ((0, 10), (20, 10), (3, 3)):
        net = Net()
        one = net.loop(net.network, most).loop
        net.less(one.conditionNetwork, "y", 10, "go")
        one.conditionVar = "go"
        net.more(one.bodyNetwork, "y", 1, "y")
        assert net.run(tmp_path) == expected


@pytest.mark.parametrize(("kind", "expected"), [("loopBreak", 3), ("loopContinue", 7)])
def test_a_loop_is_left_or_a_turn_of_it(tmp_path: Path, kind: str, expected: float) -> None:
    """y counts turns; from the third on each leaves the loop, or goes on with the next."""
    net = Net()
    body = net.loop(net.network, 7).loop.bodyNetwork
    net.more(body, "y", 1, "y")
    net.less(body, "y", 3, "early")
    branch = body.layers.add(name="branch", input=["early"]).branch
    getattr(branch.elseBranch.layers.add(name="leave"), kind).SetInParent()
    net.copy(body, "y", "unused")
    assert net.run(tmp_path) == expected


def _endless(net: Net) -> None:
    one = net.loop(net.network).loop
    net.less(one.conditionNetwork, "x", 1e9, "go")
    one.conditionVar = "go"
    net.more(one.bodyNetwork, "y", 1, "y")


def _nowhere(net: Net) -> None:
    net.network.layers.add(name="leave").loopBreak.SetInParent()


def _undecided(net: Net) -> None:
    one = net.loop(net.network).loop
    net.less(one.conditionNetwork, "y", 1, "go")
    one.conditionVar = "stop"


def _deep(net: Net) -> None:
    network = net.network
    for _ in range(20):
        network = net.loop(network, 1).loop.bodyNetwork
    net.more(network, "y", 1, "y")


def _unknown_within(net: Net) -> None:
    net.loop(net.network, 1).loop.bodyNetwork.layers.add(
        name="mine", input=["y"], output=["z"]
    ).custom.SetInParent()


BAD: dict[str, tuple[Callable[[Net], None], type[CaseError], str]] = {
    "without end": (_endless, CaseError, "did not end within"),
    "no loop to leave": (_nowhere, CaseError, "ends a loop where there is none"),
    "nothing decides": (_undecided, CaseError, "nothing within the layer loop .* answers 'stop'"),
    "nested without end": (_deep, CaseError, "nested deeper"),
    "an unknown layer within": (_unknown_within, Unsupported, r"custom \(mine\).*suite/coreml/layers"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_right_is_refused(tmp_path: Path, name: str) -> None:
    spoil, kind, words = BAD[name]
    net = Net()
    spoil(net)
    with pytest.raises(kind, match=words):
        net.run(tmp_path)

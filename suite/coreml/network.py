"""A neural network, the older kind of Core ML model: its layers as steps of the same operators."""

from __future__ import annotations

from typing import Any

from suite.coreml.plan import Block
from suite.coreml.saved import Declared, Saved
from suite.errors import Unsupported
from suite.record import Stage


class Network:
    """The layers of a neural network as a plan; the same attributes as Program."""

    def __init__(self, saved: Saved) -> None:
        self.constants: dict[str, Any] = {}
        self.inputs: dict[str, Declared] = {}
        self.outputs: dict[str, Declared | None] = {}
        self.labels: tuple[Any, ...] = ()
        self.block = Block((), ())
        raise Unsupported("the evaluator runs ML programs only", stage=Stage.LOAD)

"""A .tflite file as operators and tensors, and copies of it that show what it computes on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suite.converters.flatbuffer import Flatbuffer
from suite.spec import Array

_INTEGERS = {3: (0, 255), 7: (-32768, 32767), 9: (-128, 127)}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor; `step` is its quantisation's, None where it holds reals."""

    index: int
    name: str
    step: float | None
    low: float | None  # of what it can hold, where that is bounded
    high: float | None
    real: bool  # whether it stands for real numbers


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator, in the order of execution; `inputs` are computed tensors or the graph's own."""

    number: int
    name: str  # "CONV_2D"
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Anatomy:
    """The first graph of a file."""

    def __init__(self, path: Path) -> None:
        self._data = path.read_bytes()
        self.file = Flatbuffer(self._data)
        graph = self.file.graph
        self.inputs = tuple(int(index) for index in graph.inputs)
        self.outputs = tuple(int(index) for index in graph.outputs)
        self.tensors = tuple(self._tensor(index) for index in range(len(graph.tensors)))
        self.operators = tuple(self._operators())
        self.maker = {index: operator for operator in self.operators for index in operator.outputs}

    def computed(self, index: int) -> bool:
        """Whether a tensor follows from the input; weights that are only unpacked do not."""
        return index in self.inputs or index in self.maker

    def weights(self, operator: Operator) -> tuple[Array, Array] | None:
        """Of a layer the weights, reals with the output channel last, and the step of each channel.

        The steps are 0 where the weights are no integers. None for operators without weights.
        """
        if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            return None
        index = int(self.file.graph.operators[operator.number].inputs[1])
        values = self.file.values(index)
        if values is None:
            return None
        axis = 3 if operator.name == "DEPTHWISE_CONV_2D" else 0
        moved = np.moveaxis(values.astype(np.float64), axis, -1)
        steps = self.file.scales(index).astype(np.float64)
        if values.dtype.kind == "f" or not steps.size:
            return moved, np.zeros(moved.shape[-1])
        steps = np.broadcast_to(steps, moved.shape[-1:])
        return moved * steps, steps

    def exposed(self, destination: Path, last: int | None = None) -> tuple[int, ...]:
        """Write a copy that answers every real tensor it computes, as `t<index>`; answers their indices.

        `last`: the number of operators that are kept, where those behind cannot be prepared.
        """
        copy = Flatbuffer(self._data)
        kept = self.operators if last is None else [one for one in self.operators if one.number < last]
        shown = [index for one in kept for index in one.outputs if self.tensors[index].real]
        for index in shown:
            copy.tensor(index).name = f"t{index}".encode()
        copy.graph.outputs = np.array(shown, np.int32)
        if last is not None:
            copy.graph.operators = copy.graph.operators[:last]
        copy.model.signatureDefs = []  # they name the outputs that an app asks for
        destination.write_bytes(copy.pack())
        return tuple(shown)

    def _tensor(self, index: int) -> Tensor:
        tensor: Any = self.file.tensor(index)
        step, low, high = None, None, None
        scales = self.file.scales(index)
        if tensor.type in _INTEGERS and scales.size == 1:
            step = float(scales[0])
            points = tensor.quantization.zeroPoint
            point = int(points[0]) if points is not None and len(points) else 0
            low, high = ((limit - point) * step for limit in _INTEGERS[tensor.type])
        real = tensor.type in (0, 1) or step is not None
        name = (tensor.name or b"").decode(errors="replace")
        return Tensor(index, name, step, low, high, real)

    def _operators(self) -> list[Operator]:
        """Those that depend on the graph's inputs."""
        known = set(self.inputs)
        found = []
        for number, operator in enumerate(self.file.graph.operators):
            taken = tuple(int(index) for index in operator.inputs if int(index) in known)
            if not taken:
                continue
            made = tuple(int(index) for index in operator.outputs)
            known.update(made)
            found.append(Operator(number, self.file.name(operator), taken, made))
        return found

"""A .tflite file read through its schema, changed in memory, and written again."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.converters import packing
from suite.spec import Array

_DTYPES = {0: np.float32, 1: np.float16, 2: np.int32, 4: np.int64, 7: np.int16, 9: np.int8}
_INT32 = 2
LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


class Absent(Exception):
    """The file does not hold what is looked for."""


class Flatbuffer:
    """The first graph of a file, as the schema's own objects."""

    def __init__(self, data: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema: Any = schema
        self._files = packing.files(data)
        self.model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
        self.graph: Any = self.model.subgraphs[0]
        self._names = {
            value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")
        }

    def pack(self) -> bytes:
        """The file again, with what was packed behind the model."""
        return packing.with_files(packing.serialise(self.model), self._files)

    def name(self, operator: Any) -> str:
        """`CONV_2D`."""
        code = self.model.operatorCodes[operator.opcodeIndex]
        return str(self._names[max(code.builtinCode, code.deprecatedBuiltinCode)])

    def become(self, operator: Any, name: str) -> None:
        """Make it another operator that takes the same inputs and options."""
        operator.opcodeIndex = self.opcode(name)

    def opcode(self, name: str) -> int:
        """The index of a new operator code."""
        code = self.schema.OperatorCodeT()
        code.builtinCode = getattr(self.schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = 1
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    def operators(self, *names: str) -> list[Any]:
        """Those of these names, in the order of execution."""
        return [operator for operator in self.graph.operators if self.name(operator) in names]

    def layers(self) -> list[Any]:
        """Operators with weights of their own."""
        return [op for op in self.operators(*LAYERS) if self.values(op.inputs[1]) is not None]

    def tensor(self, index: int) -> Any:
        """A tensor of the graph."""
        return self.graph.tensors[index]

    def values(self, index: int) -> Array | None:
        """A constant's values in its own shape; None for what is computed or of another type."""
        tensor = self.tensor(index)
        data = self.model.buffers[tensor.buffer].data
        if index < 0 or data is None or len(data) == 0 or tensor.type not in _DTYPES:
            return None
        return np.frombuffer(bytes(data), _DTYPES[tensor.type]).reshape(tensor.shape).copy()

    def constant(self, index: int) -> Array:
        """`values`; Absent where there are none."""
        values = self.values(index)
        if values is None:
            raise Absent(f"tensor {index} holds no constant")
        return values

    def put(self, index: int, values: Array) -> None:
        """Give one tensor other values; tensors that shared its buffer keep theirs."""
        tensor = self.tensor(index)
        data = values.astype(_DTYPES[tensor.type])
        if sum(other.buffer == tensor.buffer for other in self.graph.tensors) == 1:
            # In place: what nobody reads any more would make the file larger, and its size give it away.
            self.model.buffers[tensor.buffer].data = np.frombuffer(data.tobytes(), np.uint8)
        else:
            tensor.buffer = self.buffer(data)

    def buffer(self, values: Array) -> int:
        """The index of a new buffer."""
        made = self.schema.BufferT()
        made.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.model.buffers.append(made)
        return len(self.model.buffers) - 1

    def tensor_like(self, index: int, name: str, shape: Array) -> int:
        """The index of a new tensor of another shape, computed, in the type and scale of a known one."""
        known, made = self.tensor(index), self.schema.TensorT()
        made.name, made.type, made.quantization, made.buffer = (
            name.encode(),
            known.type,
            known.quantization,
            0,
        )
        made.shape = np.asarray(shape, np.int32)
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def constant_tensor(self, name: str, values: Array) -> int:
        """The index of a new int32 constant."""
        made = self.schema.TensorT()
        made.name, made.type, made.shape = name.encode(), _INT32, np.array(values.shape, np.int32)
        made.buffer = self.buffer(values.astype(np.int32))
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def operator(self, name: str, inputs: list[int], outputs: list[int]) -> Any:
        """A new operator, not yet in the graph."""
        made = self.schema.OperatorT()
        made.opcodeIndex = self.opcode(name)
        made.inputs, made.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        return made

    def quantised(self, index: int) -> bool:
        """Whether a tensor is int8 with a scale."""
        tensor = self.tensor(index)
        return bool(tensor.type == 9 and tensor.quantization is not None and self.scales(index).size)

    def scales(self, index: int) -> Array:
        """(channels,) or (1,), or nothing."""
        quantization = self.tensor(index).quantization
        found = None if quantization is None else quantization.scale
        return np.zeros(0) if found is None else np.array(found, np.float32)

    def answer_is(self, index: int) -> None:
        """Make a tensor the graph's only output, under the name that the output had."""
        before = self.graph.outputs[0]
        self.graph.outputs = np.array([index], np.int32)
        for signature in self.model.signatureDefs or ():
            for output in signature.outputs:
                if output.tensorIndex == before:
                    output.tensorIndex = index

"""A Core ML package read through its schema, changed, and written again."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from suite.coreml.saved import declared_type, open_saved, proto
from suite.faults.sites import Inapplicable
from suite.spec import Array

WEIGHTS = {"conv": "weight", "conv_transpose": "weight", "linear": "weight", "matmul": "y"}
_ALIGNED = 64  # bytes: of each weight and of its description before it


class Package:
    """The main function of an ML program, as the messages of its protobuf."""

    def __init__(self, path: Path) -> None:
        self._saved = open_saved(path)
        if not self._saved.program or not path.is_dir():
            raise Inapplicable("the file is no ML program")
        self.spec: Any = self._saved.spec
        self._folder = path / "Data" / "com.apple.CoreML"
        function = self.spec.mlProgram.functions[self.spec.description.defaultFunctionName or "main"]
        self.block: Any = function.block_specializations[function.opset]
        self._makers: dict[str, Any] = {}

    @property
    def weights_file(self) -> Path:
        """The file that weights are stored in; Inapplicable where there is none."""
        found = [self._folder / "weights" / name.rpartition("/")[2] for name in self._saved.files]
        if not found:
            raise Inapplicable("the program stores no weights")
        return found[0]

    def save(self) -> None:
        """Write the program; weights are written as they are put."""
        (self._folder / "model.mlmodel").write_bytes(self.spec.SerializeToString())

    # --- operations -----------------------------------------------------------------

    def operations(self, *kinds: str) -> list[Any]:
        """Those of these kinds, in the order of execution."""
        return [one for one in self.block.operations if one.type in kinds]

    def layers(self) -> list[Any]:
        """Operations with weights of their own that are stored as plain numbers."""
        return [one for one in self.operations(*WEIGHTS) if self.values(one, WEIGHTS[one.type]) is not None]

    def maker(self, name: str) -> Any:
        """The operation that answers a value; None for an input."""
        if not self._makers:
            self._makers = {out.name: one for one in self.block.operations for out in one.outputs}
        return self._makers.get(name)

    def source(self, operation: Any, argument: str) -> str:
        """The name of a computed argument; empty for one that is not given or constant."""
        for binding in operation.inputs[argument].arguments if argument in operation.inputs else ():
            maker = self.maker(binding.name)
            if binding.WhichOneof("binding") == "name" and not (maker and maker.type.startswith("const")):
                return str(binding.name)
        return ""

    def add(self, before: Any, kind: str, name: str, **arguments: str | Array) -> None:
        """A new operation before another, or at the end; it answers what its `x` is declared to be.

        Arguments are names of values, or constants.
        """
        made = type(self.block.operations[0])(type=kind)
        made.outputs.add(name=name).type.CopyFrom(self.type_of(str(arguments["x"])))
        for key, given in arguments.items():
            binding = made.inputs[key].arguments.add()
            if isinstance(given, str):
                binding.name = given
            else:
                self.write_here(binding, given)
        self._insert(before, made)

    def _insert(self, before: Any, made: Any) -> None:
        operations = list(self.block.operations)
        place = len(operations) if before is None else operations.index(before)
        self.block.operations.insert(place, made)
        self._makers.clear()

    def bindings(self) -> Iterator[Any]:
        """Every argument of every operation."""
        for one in self.block.operations:
            for value in one.inputs.values():
                yield from value.arguments

    def rename(self, before: str, after: str) -> None:
        """Give a value another name wherever an operation makes or takes it."""
        for one in [*self.bindings(), *(out for op in self.block.operations for out in op.outputs)]:
            if one.name == before:
                one.name = after
        self._makers.clear()

    # --- constants ------------------------------------------------------------------

    def value(self, operation: Any, argument: str) -> Any:
        """The message of a constant argument; None where it is computed, packed or not given.

        What unpacks weights holds its own, as attributes where it is iOS16's.
        """
        if argument in operation.attributes:
            return operation.attributes[argument]
        for binding in operation.inputs[argument].arguments if argument in operation.inputs else ():
            if binding.WhichOneof("binding") == "value":
                return binding.value
            maker = self.maker(binding.name)
            return maker.attributes["val"] if maker is not None and maker.type == "const" else None
        return None

    def values(self, operation: Any, argument: str) -> Array | None:
        """A constant argument's numbers, to be changed; None where it has none."""
        message = self.value(operation, argument)
        return None if message is None else self._saved.array(message).copy()

    def constant(self, operation: Any, argument: str) -> Array:
        """`values`, where they are known to be there."""
        found = self.values(operation, argument)
        if found is None:
            raise Inapplicable(f"the {argument} of {operation.type} is no plain constant")
        return found

    def text(self, operation: Any, argument: str) -> str:
        """A constant string; empty where it is not given."""
        message = self.value(operation, argument)
        return "" if message is None else str(message.immediateValue.tensor.strings.values[0])

    def put(self, operation: Any, argument: str, values: Array) -> None:
        """Give one argument other numbers of the same shape; operations that shared them keep theirs."""
        message = self.value(operation, argument)
        now = self._saved.array(message)
        data = np.ascontiguousarray(values, now.dtype).reshape(now.shape)
        stored = message.WhichOneof("value") == "blobFileValue"
        binding = None if argument in operation.attributes else operation.inputs[argument].arguments[0]
        if stored and self._shared(binding):
            self._put_apart(operation, binding, data)
        elif stored:
            self._overwrite(message.blobFileValue.offset, data)
        elif binding is None:
            message.CopyFrom(_written(data))
        else:
            self.write_here(binding, data)

    def _shared(self, binding: Any) -> bool:
        """Whether other arguments name the same constant."""
        named = binding is not None and binding.WhichOneof("binding") == "name"
        return named and sum(one.name == binding.name for one in self.bindings()) > 1

    def write_here(self, binding: Any, values: Array) -> None:
        """Make an argument a constant that is written in the program itself."""
        binding.value.CopyFrom(_written(values))

    def set_text(self, operation: Any, argument: str, text: str) -> None:
        """Give one argument another string; operations that shared it keep theirs."""
        message = self.value(operation, argument)
        changed = type(message).FromString(message.SerializeToString())
        changed.immediateValue.tensor.strings.values[:] = [text]
        operation.inputs[argument].arguments[0].value.CopyFrom(changed)

    def _overwrite(self, offset: int, data: Array) -> None:
        with self.weights_file.open("r+b") as file:
            file.seek(offset)
            start = struct.unpack_from("<Q", file.read(_ALIGNED), 16)[0]
            file.seek(start)
            file.write(data.tobytes())

    def _put_apart(self, operation: Any, binding: Any, data: Array) -> None:
        """A copy of the constant for this operation alone, its numbers at the end of the weights file."""
        source = self.maker(binding.name)
        made = type(source).FromString(source.SerializeToString())
        stored = made.attributes["val"].blobFileValue
        with self.weights_file.open("r+b") as file:
            file.seek(stored.offset)
            header = bytearray(file.read(_ALIGNED))
            end = file.seek(0, 2)
            place = end + -end % _ALIGNED
            struct.pack_into("<Q", header, 16, place + _ALIGNED)
            file.write(bytes(place - end) + header + data.tobytes())
        stored.offset = place
        name = binding.name = f"{binding.name}_of_{operation.outputs[0].name}"
        made.outputs[0].name = name
        self._saved = replace(self._saved, files=open_saved(self._saved.path).files)
        self._insert(operation, made)

    # --- what the program answers -------------------------------------------------------

    def answer(self) -> str:
        """The name of the scores, or of the first answer."""
        found = self.operations("classify")
        return self.source(found[0], "probabilities") if found else str(self.block.outputs[0])

    def answer_is(self, name: str) -> None:
        """Answer another value under the name that the answer has."""
        if found := self.operations("classify"):
            found[0].inputs["probabilities"].arguments[0].name = name
            return
        answer = self.answer()
        self.rename(answer, f"{answer}_before")
        self.rename(name, answer)

    def type_of(self, name: str) -> Any:
        """The declared type of a value that an operation answers."""
        return next(one.type for one in self.maker(name).outputs if one.name == name)

    def shape(self, operation: Any) -> tuple[int, ...]:
        """Of an operation's first answer, as declared."""
        return declared_type(operation.outputs[0].type).shape


def _written(values: Array) -> Any:
    """The message of a constant that is written in the program itself."""
    array = np.asarray(values)
    made = proto("MIL_pb2").Value()
    made.type.tensorType.dataType = proto("MIL_pb2").DataType.Value(array.dtype.name.upper())
    made.type.tensorType.rank = array.ndim
    for size in array.shape:
        made.type.tensorType.dimensions.add().constant.size = size
    tensor, flat = made.immediateValue.tensor, array.reshape(-1).tolist()
    if array.dtype == np.float32:
        tensor.floats.values.extend(flat)
    elif array.dtype == np.int32:
        tensor.ints.values.extend(flat)
    elif array.dtype == np.bool_:
        tensor.bools.values.extend(flat)
    else:
        tensor.bytes.values = array.tobytes()
    return made

"""Plants faults in a saved Core ML model: in a copy, by its protobuf and its bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from suite.coreml.saved import declared_type, open_saved

Fault = Callable[["Copy"], None]


class Copy:
    """A copy of a saved model that may be spoilt."""

    def __init__(self, original: Path, folder: Path) -> None:
        self.path = folder / original.name
        if original.is_dir():
            shutil.copytree(original, self.path)
        else:
            shutil.copy(original, self.path)
        self.spec = open_saved(self.path).spec

    @property
    def model_file(self) -> Path:
        data = self.path / "Data" / "com.apple.CoreML"
        return data / "model.mlmodel" if self.path.is_dir() else self.path

    @property
    def weights_file(self) -> Path:
        return self.model_file.parent / "weights" / "weight.bin"

    def save(self) -> Path:
        self.model_file.write_bytes(self.spec.SerializeToString())
        return self.path

    @property
    def operations(self) -> list[Any]:
        function = self.spec.mlProgram.functions["main"]
        return list(function.block_specializations[function.opset].operations)

    @property
    def layers(self) -> Any:
        return getattr(self.spec, self.spec.WhichOneof("Type")).layers

    def operation(self, kind: str, place: int = 0) -> Any:
        return [one for one in self.operations if one.type == kind][place]

    def layer(self, kind: str, place: int = 0) -> Any:
        return [one for one in self.layers if one.HasField(kind)][place]

    def argument(self, operation: Any, name: str) -> Any:
        """The value of a constant argument, to be changed."""
        (binding,) = operation.inputs[name].arguments
        if binding.WhichOneof("binding") == "value":
            return binding.value
        maker = next(one for one in self.operations if one.outputs[0].name == binding.name)
        return maker.attributes["val"]

    def change(self, value: Any, alter: Callable[[np.ndarray], np.ndarray]) -> None:
        """Replace the numbers of a constant by others of the same shape, wherever they are stored."""
        declared = declared_type(value.type)
        now = open_saved(self.path).array(value).copy()
        new = np.ascontiguousarray(alter(now).astype(now.dtype).reshape(declared.shape))
        if value.WhichOneof("value") == "blobFileValue":
            content = bytearray(self.weights_file.read_bytes())
            start = value.blobFileValue.offset
            offset = int.from_bytes(content[start + 16 : start + 24], "little")
            content[offset : offset + new.nbytes] = new.tobytes()
            self.weights_file.write_bytes(content)
            return
        tensor = value.immediateValue.tensor
        kind = tensor.WhichOneof("value")
        if kind == "bytes":
            tensor.bytes.values = new.tobytes()
        else:
            getattr(tensor, kind).values[:] = new.reshape(-1).tolist()

    def set_text(self, value: Any, text: str) -> None:
        value.immediateValue.tensor.strings.values[:] = [text]

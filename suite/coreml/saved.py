"""A saved Core ML model as it lies on the disk: its protobuf, its weights, and what each weight is.

Reads with protobuf and NumPy alone, and trusts nothing that it reads.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import json
import math
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from suite.errors import CaseError, Unsupported
from suite.record import Stage
from suite.spec import Array

_PROTO = "suite_coreml_proto"
_KINDS = ("mlProgram", "neuralNetwork", "neuralNetworkClassifier", "neuralNetworkRegressor")
# What hostile files lead to in places that no check of ours foresaw.
_UNREADABLE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
_SENTINEL = 0xDEADBEEF
_HEADER_BYTES = 64  # of the weights file, and of each weight's own description in it
# MIL's storage types (MILBlob/Blob/BlobDataType.hpp) and what NumPy calls them; sub-byte ones are packed.
_STORED = {
    1: ("float16", 16), 2: ("float32", 32), 3: ("uint8", 8), 4: ("int8", 8), 5: ("bfloat16", 16),
    6: ("int16", 16), 7: ("uint16", 16), 8: ("int4", 4), 9: ("uint1", 1), 10: ("uint2", 2),
    11: ("uint4", 4), 12: ("uint3", 3), 13: ("uint6", 6), 14: ("int32", 32), 15: ("uint32", 32),
    16: ("float8e4m3fn", 8), 17: ("float8e5m2", 8),
}  # fmt: skip


@cache
def proto(name: str) -> Any:
    """One of coremltools' protobuf modules ("Model_pb2"), without the seconds that it takes itself."""
    if _PROTO not in sys.modules:
        found = importlib.util.find_spec("coremltools")
        if found is None or not found.submodule_search_locations:
            raise CaseError(
                "coremltools is not installed, and describes Core ML's files: pip install coremltools",
                stage=Stage.LOAD,
            )
        folder = Path(found.submodule_search_locations[0]) / "proto"
        spec = importlib.machinery.ModuleSpec(_PROTO, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[_PROTO] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"{_PROTO}.{name}")


@dataclass(frozen=True, slots=True)
class Saved:
    """An opened model: `spec` is the Model message, `files` the weights files as the program names them."""

    path: Path
    spec: Any
    files: Mapping[str, Array] = field(default_factory=dict)  # as bytes, mapped

    @property
    def program(self) -> bool:
        """Whether it is an ML program; else it is the older list of layers."""
        return bool(self.spec.WhichOneof("Type") == "mlProgram")

    def operations(self) -> Iterator[Any]:
        """Every operation of an ML program's functions, those of inner blocks too."""
        for function in self.spec.mlProgram.functions.values():
            for block in function.block_specializations.values():
                yield from _operations(block)

    def layers(self) -> list[Any]:
        """The layers of a neural network."""
        return list(getattr(self.spec, self.spec.WhichOneof("Type")).layers)

    def array(self, value: Any) -> Array:
        """A constant of an ML program; CaseError where it lies outside of its file or is not as declared."""
        declared = declared_type(value.type)
        if value.WhichOneof("value") == "blobFileValue":
            return self._stored(value.blobFileValue, declared)
        return _immediate(value.immediateValue.tensor, declared)

    def _stored(self, blob: Any, declared: Declared) -> Array:
        data = self.files.get(blob.fileName)
        if data is None:
            raise self._bad(f"the program names the weights file {blob.fileName!r}, which is not there")
        place, start = f"the weight at byte {blob.offset}", blob.offset + _HEADER_BYTES
        if blob.offset % _HEADER_BYTES or start > len(data):
            raise self._bad(f"{place} is not within the {len(data)} of {blob.fileName}")
        sentinel, kind, size, offset, _ = struct.unpack_from("<IIQQQ", data[blob.offset : start].tobytes())
        dtype, bits = _STORED.get(kind, ("", 0))
        if sentinel != _SENTINEL or not bits:
            raise self._bad(f"{place} is none: its header was overwritten")
        if dtype != declared.dtype:
            raise self._bad(f"{place} is {dtype}, the program says {declared.dtype}")
        if size != (needed := -(-declared.elements * bits // 8)):
            raise self._bad(f"{place} has {size} bytes, {declared} takes {needed}")
        if offset + size > len(data):
            raise self._bad(f"{place} ends at {offset + size} of {len(data)}: the file is truncated")
        raw = data[offset : offset + size]
        return raw if bits < 8 else raw.view(_numpy(dtype)).reshape(declared.shape)

    def _bad(self, what: str) -> CaseError:
        return _damaged(self.path, what)


@dataclass(frozen=True, slots=True)
class Declared:
    """A tensor's type as the program states it; -1 for a size that is free."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many, at the fixed sizes."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype} {'x'.join(map(str, self.shape)) or 'scalar'}"


def declared_type(value_type: Any) -> Declared:
    """Type of a MIL value; a list, dictionary or state has the name of its kind, and no shape."""
    kind = value_type.WhichOneof("type")
    if kind != "tensorType":
        return Declared(str(kind), ())
    tensor = value_type.tensorType
    names = proto("MIL_pb2").DataType
    sizes = (one.constant.size if one.HasField("constant") else -1 for one in tensor.dimensions)
    return Declared(names.Name(tensor.dataType).lower(), tuple(map(int, sizes)))


def held_values(operation: Any) -> Iterator[Any]:
    """The constants that an operation holds itself: attributes, and arguments that are written in place."""
    yield from operation.attributes.values()
    for argument in operation.inputs.values():
        yield from (one.value for one in argument.arguments if one.WhichOneof("binding") == "value")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Within it, whatever the content of a file leads to is the file's own damage: CaseError."""
    try:
        yield
    except _UNREADABLE as error:
        raise _damaged(path, _told(error)) from error


def open_saved(path: Path) -> Saved:
    """Read a .mlmodel file or a .mlpackage folder; CaseError says what is wrong with it.

    Unsupported for what is neither an ML program nor a neural network.
    """
    with reading(path):
        return _opened(path)


def _opened(path: Path) -> Saved:
    model = _root_of(path) if path.is_dir() else path
    message = proto("Model_pb2").Model()
    try:
        message.ParseFromString(model.read_bytes())
    except OSError as error:
        raise _damaged(path, f"{model.name} cannot be read ({error.strerror})") from error
    except Exception as error:  # protobuf's DecodeError is another class in each of its implementations
        raise _damaged(path, f"{model.name} is no Core ML model ({type(error).__name__})") from error
    kind = message.WhichOneof("Type")
    if kind is None or not message.specificationVersion:
        raise _damaged(path, f"{model.name} holds no model that coremltools knows; it may be newer")
    if kind not in _KINDS:
        raise Unsupported(
            f"{path.name} is a {kind}, expected an ML program or a neural network. "
            "Convert the model to one; of a pipeline, give the network within",
            stage=Stage.LOAD,
        )
    files: dict[str, Array] = {}
    folder = model.parent / "weights"
    for file in sorted(folder.iterdir()) if path.is_dir() and folder.is_dir() else []:
        if not file.resolve().is_relative_to(path.resolve()):
            raise _damaged(path, f"its weights lie outside of it: {file.name[:100]!r} is a link to elsewhere")
        if file.is_file() and file.stat().st_size:
            files[f"@model_path/weights/{file.name}"] = np.memmap(file, np.uint8, "r")
    return Saved(path, message, files)


def _root_of(package: Path) -> Path:
    """The model file that the package's manifest names, which must lie inside of the package."""
    try:
        items = json.loads((package / "Manifest.json").read_text())
        root = items["rootModelIdentifier"]
        paths = {name: PurePosixPath(item["path"]) for name, item in items["itemInfoEntries"].items()}
        model = paths[root]
    except _UNREADABLE as error:
        raise _damaged(package, f"its Manifest.json is unclear ({_told(error)})") from error
    data = (package / "Data").resolve()
    for item in paths.values():
        if ".." in item.parts or not (data / item).resolve().is_relative_to(data):
            raise _damaged(package, f"its manifest points out of the package: {str(item)[:100]!r}")
        if not (data / item).exists():
            raise _damaged(package, f"its manifest names {str(item)[:100]!r}, which is not there")
    return data / model


def _operations(block: Any) -> Iterator[Any]:
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:
            yield from _operations(inner)


def _immediate(tensor: Any, declared: Declared) -> Array:
    kind = tensor.WhichOneof("value")
    values: Any = getattr(tensor, kind).values if kind else []
    if kind == "strings":
        return np.array(list(values), object)
    dtype = _numpy(declared.dtype)
    array = np.frombuffer(values, dtype) if kind == "bytes" else np.array(values, dtype)
    if array.size != declared.elements:
        raise CaseError(
            f"a constant has {array.size} values, {declared} takes {declared.elements}. Convert it again",
            stage=Stage.LOAD,
        )
    return array.reshape(declared.shape)


_PACKED = ("int4", "uint1", "uint2", "uint3", "uint4", "uint6", "float8e4m3fn", "float8e5m2")


def _numpy(dtype: str) -> Any:
    """NumPy's dtype; bytes where it has none."""
    return np.dtype("uint8" if dtype in _PACKED else "uint16" if dtype == "bfloat16" else dtype)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def _damaged(path: Path, what: str) -> CaseError:
    return CaseError(f"{path.name} is damaged: {what}. Convert it again, or copy it anew", stage=Stage.LOAD)

"""A .tflite file as apps get it: the model, its metadata in a buffer, and label files in a zip at its end."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from suite.converters import metadata
from suite.converters.metadata import Metadata
from suite.errors import CaseError
from suite.record import Stage

NAME = b"TFLITE_METADATA"
_ALIGNMENT = 16  # of a buffer's bytes, as the schema forces
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip's first moment: the same conversion gives the same bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What an app finds in a file beside the graph."""

    metadata: Metadata | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


def unpack(data: bytes) -> Packed:
    """Metadata and files of a .tflite; CaseError where either is there and damaged."""
    found = _metadata_buffer(data)
    return Packed(metadata=metadata.read(found) if found is not None else None, files=files(data))


def pack(data: bytes, described: Metadata, packed: Mapping[str, bytes]) -> bytes:
    """The model of `data` with this metadata and these files in place of those it had."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    put(model, metadata.write(described))
    return with_files(serialise(model), packed)


def tensor_names(data: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Inputs and outputs of the first graph, in its order, by the names that an app knows them by."""
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAsModel(data, 0)
        graph = model.Subgraphs(0)
        known = _signature(model)
        inputs = tuple(_name(graph, graph.Inputs(i), known[0]) for i in range(graph.InputsLength()))
        outputs = tuple(_name(graph, graph.Outputs(i), known[1]) for i in range(graph.OutputsLength()))
        return inputs, outputs
    except Exception as error:  # the generated reader raises whatever its offsets lead to
        raise _damaged(error) from error


def _signature(model: Any) -> tuple[dict[int, str], dict[int, str]]:
    """Names by tensor, where the file has exactly one signature."""
    if model.SignatureDefsLength() != 1:
        return {}, {}
    signature = model.SignatureDefs(0)
    inputs = [signature.Inputs(i) for i in range(signature.InputsLength())]
    outputs = [signature.Outputs(i) for i in range(signature.OutputsLength())]
    named = [{one.TensorIndex(): one.Name().decode() for one in side} for side in (inputs, outputs)]
    return named[0], named[1]


def _name(graph: Any, index: int, known: Mapping[int, str]) -> str:
    return known.get(int(index)) or graph.Tensors(int(index)).Name().decode()


def put(model: Any, content: bytes | None) -> None:
    """Make `content` the metadata of a schema's ModelT; None takes it away."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    kept = [one for one in model.metadata or () if one.name != NAME]
    if content is not None:
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(content, np.uint8)
        model.buffers.append(buffer)
        entry.name, entry.buffer = NAME, len(model.buffers) - 1
        kept.append(entry)
    for one in model.metadata or ():
        if one.name == NAME:  # its place stays, or every later buffer would have another number
            model.buffers[one.buffer] = schema.BufferT()
    model.metadata = kept


def serialise(model: Any) -> bytes:
    """A schema's ModelT as a file, buffers aligned as by converters: its own objects do not align them."""
    import flatbuffers

    size = sum(len(one.data) for one in model.buffers if one is not None and one.data is not None)
    builder = flatbuffers.Builder(size + (1 << 20))
    given = model.buffers
    model.buffers = [_Aligned(buffer) for buffer in given]
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
    finally:
        model.buffers = given
    return bytes(builder.Output())


class _Aligned:
    """A buffer that is written at a multiple of 16 bytes."""

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer

    def Pack(self, builder: Any) -> int:  # noqa: N802 - as the schema's own objects
        from ai_edge_litert import schema_py_generated as schema

        buffer, place = self._buffer or schema.BufferT(), None
        if buffer.data is not None:
            content = bytes(buffer.data)
            builder.StartVector(1, len(content), _ALIGNMENT)
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            place = builder.EndVector()
        schema.BufferStart(builder)
        if place is not None:
            schema.BufferAddData(builder, place)
        schema.BufferAddOffset(builder, buffer.offset)
        schema.BufferAddSize(builder, buffer.size)
        return int(schema.BufferEnd(builder))


def with_files(model: bytes, packed: Mapping[str, bytes]) -> bytes:
    """The model, and behind it a zip that stores the files as they are."""
    if not packed:
        return model
    file = io.BytesIO(model)
    with zipfile.ZipFile(file, "a") as archive:
        for name, content in sorted(packed.items()):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return file.getvalue()


def files(data: bytes) -> dict[str, bytes]:
    """The packed files by name; CaseError where the zip is damaged."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise CaseError(
            f"the files packed behind the model are damaged ({error}). Pack them again", stage=Stage.LOAD
        ) from error


def _metadata_buffer(data: bytes) -> bytes | None:
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAsModel(data, 0)
        for place in range(model.MetadataLength()):
            entry = model.Metadata(place)
            if entry.Name() == NAME:
                content = model.Buffers(entry.Buffer())
                return b"" if content.DataIsNone() else bytes(content.DataAsNumpy())
    except Exception as error:  # the generated reader raises whatever its offsets lead to
        raise _damaged(error) from error
    return None


def _damaged(error: Exception) -> CaseError:
    return CaseError(
        f"the file is damaged ({type(error).__name__}: {error}). Convert it again", stage=Stage.LOAD
    )

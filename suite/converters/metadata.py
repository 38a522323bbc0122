"""TensorFlow Lite's model metadata: what an app must do around a model, as a flatbuffer of its own.

The tables are those of tensorflow/tflite-support, `metadata_schema.fbs` 1.0.0:
names, normalisation, colours, value ranges and label files of inputs and
outputs. What later versions added is left alone when read and never written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from suite.errors import CaseError
from suite.record import Stage

IDENTIFIER = b"M001"
PARSER_VERSION = "1.0.0"  # that reads every field written here
COLOURS = ("UNKNOWN", "RGB", "GRAYSCALE")  # ColorSpaceType
AXIS_LABELS = 2  # AssociatedFileType.TENSOR_AXIS_LABELS
_FEATURE, _IMAGE = 1, 2  # ContentProperties
_NORMALISATION = 1  # ProcessUnitOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One input or output. An app feeds `(pixel - mean) / std`, by channel; one value stands for all."""

    name: str
    description: str = ""
    colours: str = ""  # of COLOURS; empty: no image
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    low: tuple[float, ...] = ()  # of the tensor's values, by channel
    high: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()  # names of packed files with a label a line
    files: tuple[str, ...] = ()  # names of other packed files


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """Of a model with one graph."""

    name: str
    description: str = ""
    version: str = ""
    author: str = ""
    parser_version: str = PARSER_VERSION
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    files: tuple[str, ...] = field(default=())  # that belong to no tensor

    @property
    def packed(self) -> tuple[str, ...]:
        """Every file that must be packed behind the model."""
        of_tensors = (name for one in (*self.inputs, *self.outputs) for name in (*one.labels, *one.files))
        return tuple(dict.fromkeys((*self.files, *of_tensors)))


# --- writing --------------------------------------------------------------------


def write(metadata: Metadata) -> bytes:
    """The flatbuffer, with its identifier."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    graph = _Table(None, None, _tensors(metadata.inputs, _IMAGE), _tensors(metadata.outputs, _FEATURE))
    model = _Table(
        metadata.name,
        metadata.description or None,
        metadata.version or None,
        [graph],
        metadata.author or None,
        None,
        [_Table(name) for name in metadata.files] or None,
        metadata.parser_version,
    )
    builder.Finish(_written(builder, model), IDENTIFIER)
    return bytes(builder.Output())


class _Table:
    """The fields of a table by slot: None is absent, an int is a byte, floats and tables are vectors."""

    def __init__(self, *fields: Any) -> None:
        self.fields = fields


def _tensors(tensors: Sequence[Tensor], kind: int) -> list[_Table]:
    return [_tensor(one, _IMAGE if one.colours and kind == _IMAGE else _FEATURE) for one in tensors]


def _tensor(tensor: Tensor, kind: int) -> _Table:
    properties = _Table(COLOURS.index(tensor.colours)) if kind == _IMAGE else _Table()
    normalisation = _Table(_NORMALISATION, _Table(tensor.mean, tensor.std)) if tensor.mean else None
    labels = [_Table(name, "labels, one a line", AXIS_LABELS) for name in tensor.labels]
    return _Table(
        tensor.name,
        tensor.description or None,
        None,
        _Table(kind, properties),
        [normalisation] if normalisation else None,
        _Table(tensor.high, tensor.low) if tensor.high else None,
        [*labels, *(_Table(name) for name in tensor.files)] or None,
    )


def _written(builder: Any, value: Any) -> int:
    """The offset of a string, a vector or a table; what it points to is written first."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, tuple):
        builder.StartVector(4, len(value), 4)
        for number in reversed(value):
            builder.PrependFloat32(number)
        return int(builder.EndVector())
    if isinstance(value, list):
        offsets = [_written(builder, one) for one in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())
    children = {
        slot: _written(builder, one)
        for slot, one in enumerate(value.fields)
        if one is not None and not isinstance(one, int)
    }
    builder.StartObject(len(value.fields))
    for slot, one in enumerate(value.fields):
        if slot in children:
            builder.PrependUOffsetTRelativeSlot(slot, children[slot], 0)
        elif one is not None:
            builder.PrependUint8Slot(slot, one, 0)
    return int(builder.EndObject())


# --- reading --------------------------------------------------------------------


def read(data: bytes) -> Metadata:
    """What a metadata flatbuffer says; CaseError where it is none, or damaged."""
    if data[4:8] != IDENTIFIER:
        raise CaseError(
            f"the metadata begins with {data[4:8]!r}, expected {IDENTIFIER!r}: readers refuse it. "
            "Write it again",
            stage=Stage.LOAD,
        )
    try:
        return _model(_root(data))
    except Exception as error:  # offsets of a damaged file lead anywhere
        raise CaseError(
            f"the metadata is damaged ({type(error).__name__}: {error}). Write it again", stage=Stage.LOAD
        ) from error


def _model(node: _Node) -> Metadata:
    graphs = node.tables(3)
    if len(graphs) != 1:
        raise ValueError(f"it describes {len(graphs)} graphs, expected 1")
    (graph,) = graphs
    return Metadata(
        name=node.text(0),
        description=node.text(1),
        version=node.text(2),
        author=node.text(4),
        parser_version=node.text(7),
        inputs=tuple(map(_read_tensor, graph.tables(2))),
        outputs=tuple(map(_read_tensor, graph.tables(3))),
        files=tuple(one.text(0) for one in (*node.tables(6), *graph.tables(4))),
    )


def _read_tensor(node: _Node) -> Tensor:
    content = node.table(3)
    image = content.table(1) if content is not None and content.byte(0) == _IMAGE else None
    units = [unit.table(1) for unit in node.tables(4) if unit.byte(0) == _NORMALISATION]
    normalisation = next(iter(filter(None, units)), None)
    stats, files = node.table(5), node.tables(6)
    return Tensor(
        name=node.text(0),
        description=node.text(1),
        colours=COLOURS[image.byte(0)] if image is not None else "",
        mean=normalisation.floats(0) if normalisation else (),
        std=normalisation.floats(1) if normalisation else (),
        low=stats.floats(1) if stats else (),
        high=stats.floats(0) if stats else (),
        labels=tuple(one.text(0) for one in files if one.byte(2) == AXIS_LABELS),
        files=tuple(one.text(0) for one in files if one.byte(2) != AXIS_LABELS),
    )


class _Node:
    """A table being read, field by slot; an absent one is empty, 0 or None."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def text(self, slot: int) -> str:
        """UTF-8."""
        place = self._place(slot)
        return bytes(self._table.String(place)).decode() if place else ""

    def byte(self, slot: int) -> int:
        """Of an enumeration or the type of a union."""
        place = self._place(slot)
        return int(self._table.Bytes[place]) if place else 0

    def floats(self, slot: int) -> tuple[float, ...]:
        """A vector of float32."""
        from flatbuffers import number_types

        start, count = self._vector(slot)
        return tuple(float(self._table.Get(number_types.Float32Flags, start + 4 * i)) for i in range(count))

    def table(self, slot: int) -> _Node | None:
        """A table, or the value of a union."""
        place = self._place(slot)
        return self._at(place) if place else None

    def tables(self, slot: int) -> tuple[_Node, ...]:
        """A vector of tables."""
        start, count = self._vector(slot)
        return tuple(self._at(start + 4 * i) for i in range(count))

    def _place(self, slot: int) -> int:
        offset = int(self._table.Offset(4 + 2 * slot))
        return self._table.Pos + offset if offset else 0

    def _vector(self, slot: int) -> tuple[int, int]:
        if not self._place(slot):
            return 0, 0
        offset = self._place(slot) - self._table.Pos
        start, count = int(self._table.Vector(offset)), int(self._table.VectorLen(offset))
        if start + 4 * count > len(self._table.Bytes):
            raise ValueError(f"a list of {count} entries ends outside of it")
        return start, count

    def _at(self, place: int) -> _Node:
        from flatbuffers.table import Table

        return _Node(Table(self._table.Bytes, self._table.Indirect(place)))


def _root(data: bytes) -> _Node:
    from flatbuffers import encode, packer
    from flatbuffers.table import Table

    return _Node(Table(data, encode.Get(packer.uoffset, data, 0)))

"""Records as lines of JSON: written plain, read back typed and checked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import msgspec

from suite.record import SCHEMA_VERSION, Record


def encode(record: Record) -> bytes:
    """One line of JSON, without the newline."""
    return msgspec.json.encode(record)


class _Unread(msgspec.Struct, gc=False):
    """One entry of a thread sweep, of which merging asks the thread count alone."""

    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lean(Record):
    """A record whose thread sweep is passed over."""

    scaling: tuple[_Unread, ...] = ()  # type: ignore[assignment]


@cache
def _decoder(kind: type[Record] = Record) -> msgspec.json.Decoder[Record]:
    """Made when it is wanted: it takes as long as reading a hundred records."""
    return msgspec.json.Decoder(kind)


def decode_lines(data: bytes, *, lean: bool = False) -> list[Record]:
    """Read lines at once; ValueError when any does not fit the schema.

    `lean` passes over the thread sweeps, most of what a run holds in bytes.
    """
    records = _decoder(_Lean if lean else Record).decode_lines(data)
    for record in records:
        _check_version(record.schema_version)
    return records


def decode(line: bytes) -> Record:
    """Read one line; ValueError names what does not fit the schema."""
    try:
        record = _decoder().decode(line)
    except msgspec.ValidationError:
        _check_version(msgspec.json.decode(line, type=_Version).schema_version)
        raise
    _check_version(record.schema_version)
    return record


def _check_version(version: int) -> None:
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"found schema_version {version}, expected {SCHEMA_VERSION}: "
            "read these results with the Pocketproof that wrote them"
        )


class _Version(msgspec.Struct):
    schema_version: int

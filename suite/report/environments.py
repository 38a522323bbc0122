"""Where cases were measured, each place once and named by a letter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from suite.record import Record
from suite.report import words


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where cases were measured: flattened to names and values."""

    name: str
    items: tuple[tuple[str, str], ...]
    cases: int


def environments(records: Iterable[Record]) -> dict[str, Environment]:
    """Each environment once, by its key."""
    found: dict[str, Environment] = {}
    for record in records:
        if not record.environment:
            continue
        key = key_of(record)
        known = found.get(key) or Environment(
            name=_letter(len(found)), items=tuple(_flat(record.environment)), cases=0
        )
        found[key] = replace(known, cases=known.cases + 1)
    return found


def key_of(record: Record) -> str:
    """What tells one environment from another."""
    return json.dumps(record.environment, sort_keys=True, default=str)


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else f"A{index}"


def _flat(tree: Mapping[str, object], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(str(item) for item in value)
        else:
            yield f"{prefix}{name}", words.NOT_MEASURED if value is None else str(value)

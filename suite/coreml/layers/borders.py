"""Padding as layers state it."""

from __future__ import annotations

from typing import Any

from suite.coreml.ops.registry import OpError, room


def edges(amounts: Any) -> list[int]:
    """[top, bottom, left, right] of a BorderAmounts message."""
    borders = list(amounts.borderAmounts)
    if not borders:
        return [0, 0, 0, 0]
    if len(borders) != 2:
        raise OpError(f"borders of {len(borders)} axes")
    found = [int(size) for one in borders for size in (one.startEdgeSize, one.endEdgeSize)]
    room(found)
    return found


def padding(p: Any, kind: str) -> tuple[str, list[int]]:
    """The kind of padding by its name in ML programs, and its amounts."""
    if kind == "same":
        return ("same_lower" if p.same.asymmetryMode else "same"), [0, 0, 0, 0]
    return "custom", edges(getattr(p, kind).paddingAmounts) if kind else [0, 0, 0, 0]


def borders3(p: Any) -> list[int]:
    """[front, back, top, bottom, left, right]."""
    names = ("Front", "Back", "Top", "Bottom", "Left", "Right")
    return [int(getattr(p, f"customPadding{name}")) for name in names]

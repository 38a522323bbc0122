"""Where in a file a fault can be planted."""

from __future__ import annotations

from typing import Any


class Inapplicable(Exception):
    """The file has nothing that this fault could be planted in."""


def middle(found: list[Any], what: str) -> Any:
    """The one in the middle; Inapplicable where there is none."""
    if not found:
        raise Inapplicable(f"the file has no {what}")
    return found[len(found) // 2]

"""Pocketproof: proof that a deep-learning model survives the trip to a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suite.api import convert, open_model

__all__ = ["convert", "open_model"]


def __getattr__(name: str) -> Any:
    """Load the functions for scripts when first used: the rest of the package does without them."""
    if name in __all__:
        from suite import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

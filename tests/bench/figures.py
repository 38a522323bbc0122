"""How a figure is printed beside its bound."""

from __future__ import annotations


def held(name: str, obtained: float, limit: float, unit: str) -> bool:
    """Print one figure, and say whether it is within its bound."""
    holds = obtained <= limit
    print(f"{'holds' if holds else 'FAILS'}  {name}: {obtained:.3f} {unit}, at most {limit:g}", flush=True)
    return holds


def held_from_below(name: str, obtained: float, limit: float, unit: str) -> bool:
    """Likewise, where the bound is the least."""
    holds = obtained >= limit
    print(f"{'holds' if holds else 'FAILS'}  {name}: {obtained:.3f} {unit}, at least {limit:g}", flush=True)
    return holds

"""What a few samples must show before all the others need not be asked: bounds, with room for chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from suite.spec import Budget, Tolerance
from suite.thresholds import Thresholds

ROOM_DB = 6.0  # noise four times as large: more than a few samples are off from all by


@dataclass(frozen=True, slots=True)
class Widened(Thresholds):
    """Thresholds that only a plain fault exceeds."""

    @classmethod
    def of(cls, thresholds: Thresholds) -> Widened:
        """The same, ROOM_DB further off."""
        return cls(**{item.name: getattr(thresholds, item.name) for item in fields(thresholds)})

    def resolve(
        self, model: str, variant: str, override: Mapping[str, Any] | None = None
    ) -> tuple[Tolerance, Budget]:
        """The bounds in force, widened; shares of samples are left out, as one of few is a large one."""
        tolerance, budget = Thresholds.resolve(self, model, variant, override)
        return _widened(tolerance), budget


def _widened(tolerance: Tolerance) -> Tolerance:
    power = 10 ** (ROOM_DB / 10)

    def lower(bound: float | None) -> float | None:
        return None if bound is None else bound - ROOM_DB

    def looser(cosine: float | None) -> float | None:
        return None if cosine is None else 1 - (1 - cosine) * power

    def wider(margin: float | None) -> float | None:
        return None if margin is None else margin + ROOM_DB

    scaled = tolerance.max_scaled_diff
    return replace(
        tolerance,
        max_scaled_diff=None if scaled is None else scaled * power**0.5,
        min_cosine=looser(tolerance.min_cosine),
        min_sqnr_db=lower(tolerance.min_sqnr_db),
        min_top1_agreement=None,
        min_floor_agreement=None,
        generated_min_cosine=looser(tolerance.generated_min_cosine),
        generated_min_sqnr_db=lower(tolerance.generated_min_sqnr_db),
        floor_margin_db=wider(tolerance.floor_margin_db),
        generated_floor_margin_db=wider(tolerance.generated_floor_margin_db),
    )

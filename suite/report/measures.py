"""What was obtained beside its bound, line by line."""

from __future__ import annotations

from dataclasses import dataclass

from suite.record.answers import Floor, Parity
from suite.report import words
from suite.spec import Tolerance
from suite.thresholds import beside


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One line of a table: what was obtained beside its bound, both as text."""

    name: str
    obtained: str
    bound: str = ""
    generated: str = ""
    generated_bound: str = ""


def of_parity(parity: Parity | None, tolerance: Tolerance) -> tuple[Measure, ...]:
    """Each number of a comparison; nothing where there was none."""
    if parity is None:
        return ()
    real, generated = parity.real, parity.generated
    plain, at_least, at_most = words.plain, _at_least, _at_most
    floor = _floor(parity.floor, parity.generated_floor, tolerance)
    tolerance = beside(tolerance, parity.floor, parity.generated_floor, parity.float32_diff)
    return (
        *floor,
        Measure(
            name="SQNR",
            obtained=words.db(real.sqnr_db),
            bound=at_least(tolerance.min_sqnr_db, " dB"),
            generated=words.db(generated.sqnr_db),
            generated_bound=at_least(tolerance.generated_min_sqnr_db, " dB"),
        ),
        Measure(
            name="cosine",
            obtained=plain(real.cosine_similarity),
            bound=at_least(tolerance.min_cosine),
            generated=plain(generated.cosine_similarity),
            generated_bound=at_least(tolerance.generated_min_cosine),
        ),
        Measure(
            name="cosine, worst sample",
            obtained=plain(real.worst_sample_cosine),
            generated=plain(generated.worst_sample_cosine),
        ),
        Measure(
            name="top-1 agreement",
            obtained=words.percent(real.top1_agreement),
            bound=at_least(_percent(tolerance.min_top1_agreement), " %"),
            generated=words.percent(generated.top1_agreement),
        ),
        Measure(
            name="max scaled diff",
            obtained=plain(real.max_scaled_diff),
            bound=at_most(tolerance.max_scaled_diff),
            generated=plain(generated.max_scaled_diff),
        ),
        Measure(
            name="max abs diff", obtained=plain(real.max_abs_diff), generated=plain(generated.max_abs_diff)
        ),
        Measure(name="samples", obtained=str(real.n), generated=str(generated.n)),
    )


def of_host_parity(parity: Parity | None, tolerance: Tolerance) -> tuple[Measure, ...]:
    """Of 8-bit outputs the steps between them are what counts."""
    if parity is None or parity.max_steps is None:
        return of_parity(parity, tolerance)
    steps = Measure(name="quantisation steps, at most", obtained=words.plain(parity.max_steps), bound="≤ 1")
    return (steps, *of_parity(parity, Tolerance()))


def _floor(floor: Floor | None, generated: Floor | None, tolerance: Tolerance) -> tuple[Measure, ...]:
    """The noise floor, and the artifact on the samples it was computed on."""
    if floor is None:
        return ()
    counts = f"{floor.n}" if generated is None else f"{floor.n} and {generated.n}"
    agreement = Measure(
        name=f"its top-1 agreement, first {floor.n}",
        obtained=words.percent(floor.top1_agreement),
        bound=_at_least(_percent(tolerance.min_floor_agreement), " %"),
    )
    return (
        Measure(
            name=f"noise floor, first {counts}",
            obtained=words.db(floor.sqnr_db),
            bound=_at_least(tolerance.min_floor_db, " dB"),
            generated="" if generated is None else words.db(generated.sqnr_db),
        ),
        *(() if floor.top1_agreement is None else (agreement,)),
        Measure(
            name="SQNR on these",
            obtained=words.db(floor.measured_db),
            bound=_below(floor, tolerance.floor_margin_db),
            generated="" if generated is None else words.db(generated.measured_db),
            generated_bound=_below(generated, tolerance.generated_floor_margin_db),
        ),
    )


def _below(floor: Floor | None, margin: float | None) -> str:
    return _at_least(None if floor is None or margin is None else floor.sqnr_db - margin, " dB")


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _at_least(bound: float | None, unit: str = "") -> str:
    return "" if bound is None else f"≥ {words.plain(bound)}{unit}"


def _at_most(bound: float | None, unit: str = "") -> str:
    return "" if bound is None else f"≤ {words.plain(bound)}{unit}"

"""What does not fail a run and must not be overlooked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from suite import frames, stats
from suite.errors import UsageError
from suite.gates.findings import number
from suite.record import Check, Record, Status
from suite.record.costs import Latency
from suite.spec import Budget, Tolerance
from suite.thresholds import FEWEST_SAMPLES, TOLERANCE_BOUNDS, Thresholds

Cautions = Mapping[str, Sequence[str]]  # by text: the cases it holds for

HELD_BY: Mapping[str, tuple[Check, str]] = {  # by bound: the check that holds it, and the section it measures
    **dict.fromkeys(TOLERANCE_BOUNDS, (Check.PARITY, "parity")),
    "max_accuracy_drop": (Check.ACCURACY, "accuracy"),
    "max_contract_gaps": (Check.CONTRACT, "contract"),
    "max_bytes_per_parameter": (Check.CONVERSION, "artifact"),
    "max_bytes": (Check.CONVERSION, "artifact"),
    "max_p50_ms": (Check.BENCHMARK, "latency"),
    "max_peak_bytes": (Check.BENCHMARK, "memory"),
    "min_processed_fps": (Check.REALTIME, "realtime"),
}


def cautions(cases: Iterable[Record], thresholds: Thresholds) -> Cautions:
    """What a reader must not overlook of these cases."""
    cases_by_text: dict[str, list[str]] = {}
    for record in cases:
        tolerance, budget = _limits(record, thresholds)
        for text in chain(
            _warnings_of(record), _few_samples(record, budget), _not_held(record, tolerance, budget)
        ):
            cases_by_text.setdefault(text, []).append(record.case_id)
    return cases_by_text


def told(held: Cautions) -> list[str]:
    """Each caution once, with the first cases it holds for."""
    return [f"{text} ({_some(case_ids)})" for text, case_ids in held.items()]


def _limits(record: Record, thresholds: Thresholds) -> tuple[Tolerance, Budget]:
    try:
        return thresholds.resolve(record.model, record.variant, record.override)
    except UsageError:  # a finding says so
        return Tolerance(), Budget()


def _warnings_of(record: Record) -> Iterable[str]:
    for check, result in record.checks.items():
        if result.status is Status.SKIPPED:
            yield f"{check} skipped: {result.message or 'no reason was recorded'}"
        elif result.status is Status.PASSED and check is Check.BENCHMARK and record.memory is None:
            yield f"memory not measured: {record.reasons.get('memory', 'no reason was recorded')}"
    if not record.checks and record.status is Status.SKIPPED:
        yield f"skipped: {record.message or 'no reason was recorded'}"
    parity = record.parity
    if parity is not None and parity.no_floor and parity.tolerance.get("floor_margin_db") is not None:
        yield f"no noise floor: {parity.no_floor}"
    for note in record.notes:
        yield f"note: {note}"
    if record.latency is not None and (sound := _soundness(record.latency)) is not stats.Soundness.SOUND:
        yield f"latency is {sound}, and holds a budget only with room to spare. {stats.REMEDY[sound]}"
    if record.realtime is not None and frames.verdict(record.realtime) is not frames.Verdict.YES:
        sound, _ = frames.soundness(record.realtime)
        if sound is not stats.Soundness.SOUND:
            yield f"the verdict on real time is {sound}. {stats.REMEDY[sound]}"


def _few_samples(record: Record, budget: Budget) -> Iterable[str]:
    """Numbers that rest on so few samples that they show less than they seem to."""
    parity, accuracy = record.parity, record.accuracy
    if parity is not None and 0 < parity.real.n < FEWEST_SAMPLES:
        yield (
            f"parity rests on {parity.real.n} real samples, fewer than {FEWEST_SAMPLES}: "
            "give a data set that holds out more"
        )
    if accuracy is None or not accuracy.n > 0:
        return
    limit = budget.max_accuracy_drop
    if limit is not None and 0 <= limit < 1 / accuracy.n:
        yield (
            f"a drop in accuracy of {number(limit)} is less than one of {accuracy.n} samples, so one is "
            "allowed: give more labelled samples"
        )


def _not_held(record: Record, tolerance: Tolerance, budget: Budget) -> Iterable[str]:
    """Bounds that someone stated and that this run did not ask for, and one that has nothing to go by."""
    for bounds in (tolerance, budget):
        for name in bounds.stated:
            check, section = HELD_BY[name]
            asked = check in record.planned or check in record.checks or getattr(record, section) is not None
            if not asked and getattr(bounds, name) is not None:
                why = record.reasons.get(section, f"its check, {check}, did not run")
                yield f"{name} is stated, and was not measured in this run: {why}"
    artifact = record.artifact
    if artifact is not None and artifact.parameters == 0 and budget.max_bytes_per_parameter is not None:
        yield (
            "the size is held to no bytes per parameter, for no parameter of the original was found: "
            "state max_bytes"
        )


def _soundness(latency: Latency) -> stats.Soundness:
    try:
        return stats.soundness(latency)[0]
    except ValueError:  # a finding says so
        return stats.Soundness.SOUND


def _some(case_ids: Sequence[str], shown: int = 3) -> str:
    more = f" and {len(case_ids) - shown} more" if len(case_ids) > shown else ""
    return ", ".join(case_ids[:shown]) + more

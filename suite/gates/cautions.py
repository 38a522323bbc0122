"""What does not fail a run and must not be overlooked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from suite import frames, stats
from suite.record import Check, Record, Status
from suite.record.costs import Latency

Cautions = Mapping[str, Sequence[str]]  # by text: the cases it holds for


def cautions(cases: Iterable[Record]) -> Cautions:
    """What a reader must not overlook of these cases."""
    cases_by_text: dict[str, list[str]] = {}
    for record in cases:
        for text in _warnings_of(record):
            cases_by_text.setdefault(text, []).append(record.case_id)
    return cases_by_text


def told(held: Cautions) -> list[str]:
    """Each caution once, with the first cases it holds for."""
    return [f"{text} ({_some(case_ids)})" for text, case_ids in held.items()]


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


def _soundness(latency: Latency) -> stats.Soundness:
    try:
        return stats.soundness(latency)[0]
    except ValueError:  # a finding says so
        return stats.Soundness.SOUND


def _some(case_ids: Sequence[str], shown: int = 3) -> str:
    more = f" and {len(case_ids) - shown} more" if len(case_ids) > shown else ""
    return ", ".join(case_ids[:shown]) + more

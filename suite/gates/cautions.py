"""What does not fail a run and must not be overlooked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from suite import frames, stats
from suite.errors import UsageError
from suite.gates.findings import number
from suite.record import Check, Record, Status
from suite.record.costs import Latency
from suite.thresholds import FEWEST_SAMPLES, Thresholds

Cautions = Mapping[str, Sequence[str]]  # by text: the cases it holds for


def cautions(cases: Iterable[Record], thresholds: Thresholds) -> Cautions:
    """What a reader must not overlook of these cases."""
    cases_by_text: dict[str, list[str]] = {}
    for record in cases:
        for text in (*_warnings_of(record), *_few_samples(record, thresholds)):
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


def _few_samples(record: Record, thresholds: Thresholds) -> Iterable[str]:
    """Numbers that rest on so few samples that they show less than they seem to."""
    parity, accuracy = record.parity, record.accuracy
    if parity is not None and 0 < parity.real.n < FEWEST_SAMPLES:
        yield (
            f"parity rests on {parity.real.n} real samples, fewer than {FEWEST_SAMPLES}: "
            "give a data set that holds out more"
        )
    if accuracy is None or not accuracy.n > 0:
        return
    try:
        limit = thresholds.resolve(record.model, record.variant, record.override)[1].max_accuracy_drop
    except UsageError:  # a finding says so
        return
    if limit is not None and 0 <= limit < 1 / accuracy.n:
        yield (
            f"a drop in accuracy of {number(limit)} is less than one of {accuracy.n} samples, so one is "
            "allowed: give more labelled samples"
        )


def _soundness(latency: Latency) -> stats.Soundness:
    try:
        return stats.soundness(latency)[0]
    except ValueError:  # a finding says so
        return stats.Soundness.SOUND


def _some(case_ids: Sequence[str], shown: int = 3) -> str:
    more = f" and {len(case_ids) - shown} more" if len(case_ids) > shown else ""
    return ", ".join(case_ids[:shown]) + more

"""A case is seen in several steps, each kept as soon as it has happened: one record of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from suite.record import SECTIONS, Check, CheckResult, Record, Stage, Status

# A case is as bad as its worst check; a skipped check says nothing against the others.
_SEVERITY = (
    Status.SKIPPED,
    Status.PASSED,
    Status.EXPECTED_FAILURE,
    Status.UNSUPPORTED,
    Status.FAILED,
    Status.CRASHED,
    Status.ERROR,
)


def merge(records: Iterable[Record]) -> Record:
    """Everything seen of one case, later sections over earlier ones.

    A check that was planned and has no result becomes an error: absence is a failure.
    """
    merged: Record | None = None
    for record in records:
        merged = record if merged is None else _merge_two(merged, record)
    if merged is None:
        raise ValueError("no record to merge")
    return _judge(merged)


def _merge_two(old: Record, new: Record) -> Record:
    if old.case_id != new.case_id:
        raise ValueError(f"records of two cases: {old.case_id} and {new.case_id}")
    scaling = {entry.threads: entry for entry in (*old.scaling, *new.scaling)}
    changes: dict[str, Any] = {
        name: getattr(new, name) if getattr(new, name) is not None else getattr(old, name)
        for name in SECTIONS
    }
    measured = {name for name in SECTIONS if changes[name] is not None}
    reasons = {**old.reasons, **new.reasons}
    return replace(
        new,
        **changes,
        checks=_worse(old.checks, new.checks),
        planned=tuple(dict.fromkeys((*old.planned, *new.planned))),
        scaling=tuple(scaling[threads] for threads in sorted(scaling)),
        reasons={name: reason for name, reason in reasons.items() if name not in measured},
        engine=new.engine or old.engine,
        static={**old.static, **new.static},
        override=new.override or old.override,
        notes=tuple(dict.fromkeys((*old.notes, *new.notes))),
        environment=new.environment or old.environment,
    )


def _worse(old: Mapping[Check, CheckResult], new: Mapping[Check, CheckResult]) -> dict[Check, CheckResult]:
    """A check seen twice (a benchmark has a test a thread count) is as bad as the worse time."""
    checks = dict(old)
    for check, result in new.items():
        seen = checks.get(check, result)
        checks[check] = max(seen, result, key=lambda item: _SEVERITY.index(item.status))
    return checks


def _judge(record: Record) -> Record:
    """Set status, stage and message from the worst check, missing ones included."""
    checks = dict(record.checks)
    for check in record.planned:
        checks.setdefault(
            check,
            CheckResult(
                status=Status.ERROR, stage=Stage.PLAN, message=f"{check} was planned and has no result"
            ),
        )
    if not checks:
        return record
    worst = max(checks.values(), key=lambda result: _SEVERITY.index(result.status))
    return replace(record, checks=checks, status=worst.status, stage=worst.stage, message=worst.message)

"""Whether a release may ship: records held to thresholds. Pure functions; nothing is read or written.

Numbers are judged anew here, whatever a check said of itself. Every comparison
is written so that NaN, a missing number or a missing case fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from suite.gates.answers import (
    check_accuracy,
    check_floor,
    check_generated_floor,
    check_host,
    check_parity,
)
from suite.gates.artifact import SIZE_ALLOWANCE_BYTES, check_size, check_static
from suite.gates.case import judge_case, word
from suite.gates.cautions import cautions
from suite.gates.contract import PIXEL_ROUNDING, check_contract
from suite.gates.costs import check_latency, check_memory, check_realtime
from suite.gates.findings import Finding, Gate, Verdict, enforce, number
from suite.record import Record, Status
from suite.store import merge_cases
from suite.thresholds import Thresholds

__all__ = [
    "PIXEL_ROUNDING",
    "SIZE_ALLOWANCE_BYTES",
    "Finding",
    "Gate",
    "Verdict",
    "check_accuracy",
    "check_contract",
    "check_floor",
    "check_generated_floor",
    "check_host",
    "check_latency",
    "check_memory",
    "check_parity",
    "check_realtime",
    "check_size",
    "check_static",
    "enforce",
    "judge",
    "judge_case",
    "number",
    "word",
]


def judge(
    records: Iterable[Record],
    thresholds: Thresholds,
    warnings: Sequence[str] = (),
    also: Sequence[Finding] = (),
) -> Verdict:
    """Hold a run to its thresholds.

    `warnings` are carried over, such as those of `store.load`, and so are the
    findings of `also`, such as those on a baseline.
    """
    cases = _merged(records)
    findings = [finding for record in cases for finding in judge_case(record, thresholds)]
    findings += also
    if not any(_proven(record) for record in cases):
        findings.append(_nothing_proven(cases))
    said = (*warnings, *thresholds.misspelt(record.model for record in cases), *cautions(cases))
    counts = Counter(str(record.status) for record in cases)
    return Verdict(
        passed=not findings,
        findings=tuple(findings),
        warnings=said,
        counts={"cases": len(cases), **{status: counts[status] for status in Status if counts[status]}},
    )


def _merged(records: Iterable[Record]) -> list[Record]:
    cases = list(records)
    return cases if len({record.case_id for record in cases}) == len(cases) else merge_cases(cases)


def _proven(record: Record) -> bool:
    return any(result.status is Status.PASSED for result in record.checks.values())


def _nothing_proven(cases: Sequence[Record]) -> Finding:
    what = f"None of {len(cases)} cases has a check that passed" if cases else "The run holds no case"
    advice = "See what was selected (--models, --variants, -m), and why it was skipped."
    return Finding(gate=Gate.NOTHING, message=f"{what}, so nothing is proven. {advice}", obtained=0, limit=1)

"""Whether a release may ship: records held to thresholds. Pure functions, but for `judge_file`.

Numbers are judged anew here, whatever a check said of itself. Every comparison
is written so that NaN, a missing number or a missing case fails.
"""

from __future__ import annotations

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
from suite.gates.contract import PIXEL_ROUNDING, check_contract
from suite.gates.costs import check_latency, check_memory, check_realtime
from suite.gates.file import judge_file
from suite.gates.findings import Finding, Gate, Verdict, enforce, number
from suite.gates.tally import tally
from suite.record import Record
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
    "judge_file",
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
    return tally(_merged(records), thresholds).verdict(thresholds, warnings, also)


def _merged(records: Iterable[Record]) -> list[Record]:
    cases = list(records)
    return cases if len({record.case_id for record in cases}) == len(cases) else merge_cases(cases)

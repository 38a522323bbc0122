"""What a gate keeps of the cases it has seen: enough for its word on all of them, in parts that add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from suite.gates.case import judge_case
from suite.gates.cautions import Cautions, cautions, told
from suite.gates.findings import Finding, Gate, Verdict
from suite.record import Record, Status
from suite.thresholds import Thresholds


@dataclass(frozen=True, slots=True)
class Tally:
    """Some cases of a run, judged; in the order of the cases, as everything here."""

    case_ids: tuple[str, ...]
    counts: Mapping[Status, int]
    findings: tuple[Finding, ...]
    cautions: Cautions
    proven: bool  # whether any check of theirs passed

    def __add__(self, later: Tally) -> Tally:
        """Both, where no case is in both."""
        held = {text: list(case_ids) for text, case_ids in self.cautions.items()}
        for text, case_ids in later.cautions.items():
            held.setdefault(text, []).extend(case_ids)
        return Tally(
            self.case_ids + later.case_ids,
            Counter(self.counts) + Counter(later.counts),
            self.findings + later.findings,
            held,
            self.proven or later.proven,
        )

    def verdict(
        self, thresholds: Thresholds, warnings: Sequence[str] = (), also: Sequence[Finding] = ()
    ) -> Verdict:
        """The word on them as a whole run; `warnings` and findings of `also` are carried over."""
        findings = (*self.findings, *also, *(() if self.proven else (_nothing_proven(len(self.case_ids)),)))
        misspelt = thresholds.misspelt(case_id.partition("/")[0] for case_id in self.case_ids)
        counts = {str(status): self.counts[status] for status in Status if status in self.counts}
        return Verdict(
            passed=not findings,
            findings=findings,
            warnings=(*warnings, *misspelt, *told(self.cautions)),
            counts={"cases": len(self.case_ids), **counts},
        )


def tally(cases: Sequence[Record], thresholds: Thresholds) -> Tally:
    """Hold each case, merged, to its thresholds."""
    return Tally(
        tuple([record.case_id for record in cases]),
        Counter([record.status for record in cases]),
        tuple([finding for record in cases for finding in judge_case(record, thresholds)]),
        cautions(cases, thresholds),
        any(_proven(record) for record in cases),
    )


def _proven(record: Record) -> bool:
    return any(result.status is Status.PASSED for result in record.checks.values())


def _nothing_proven(count: int) -> Finding:
    what = f"None of {count} cases has a check that passed" if count else "The run holds no case"
    advice = "See what was selected (--models, --variants, -m), and why it was skipped."
    return Finding(gate=Gate.NOTHING, message=f"{what}, so nothing is proven. {advice}", obtained=0, limit=1)

"""Records and a verdict, arranged for a reader. No markup here, and nothing is decided anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from suite import frames, stats
from suite.errors import UsageError
from suite.gates import Finding, Verdict, word
from suite.record import Check, Record, Status, unmeasured
from suite.report import words
from suite.report.environments import Environment, environments, key_of
from suite.report.measures import Measure, of_host_parity, of_parity
from suite.report.timings import Timing, timings
from suite.spec import VARIANTS, Budget, Tolerance
from suite.thresholds import Thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything the report says of one case."""

    record: Record
    anchor: str
    status: Status  # failed where a gate says so, whatever the record says
    findings: tuple[Finding, ...]
    parity: tuple[Measure, ...]
    host_parity: tuple[Measure, ...]
    timings: tuple[Timing, ...]
    tolerance: Tolerance
    budget: Budget
    unmeasured: Mapping[str, str]
    environment: str  # name of the environment, a letter
    schemes: tuple[tuple[str, frames.Summary], ...] = ()  # behind a camera
    realtime: str = ""  # the verdict on it, in a sentence
    realtime_doubt: str = ""  # why that can hardly be told
    doubt: str = ""  # why the latency can carry no verdict
    drop: float | None = None  # of sustained throughput, from the first minute to the last

    @property
    def glyph(self) -> str:
        """The sign of its status."""
        return words.GLYPHS[self.status]

    @property
    def word(self) -> str:
        """Its status as one reads it."""
        return word(self.status)

    @property
    def p50_ms(self) -> float | None:
        """With all cores; None where it was not measured."""
        threads = self.record.latency.threads if self.record.latency else None
        return next((t.summary.p50_ms for t in self.timings if t.threads == threads), None)

    @property
    def best_threads(self) -> int | None:
        """The quickest thread count; None where there is no choice."""
        best = min(self.timings, key=lambda timing: timing.summary.p50_ms, default=None)
        return best.threads if best is not None and len(self.timings) > 1 else None

    @property
    def processed_fps(self) -> float | None:
        """Behind a camera, in the better of the schemes; None where there was none."""
        return max((summary.processed_fps for _, summary in self.schemes), default=None)

    @property
    def p95_ms(self) -> float | None:
        """With all cores; None where it was not measured."""
        threads = self.record.latency.threads if self.record.latency else None
        return next((t.summary.p95_ms for t in self.timings if t.threads == threads), None)

    @property
    def numbers(self) -> list[tuple[str, str]]:
        """The key numbers, for a cell of the table: label, value."""
        record = self.record
        found = [
            ("SQNR", words.db(record.parity.real.sqnr_db) if record.parity else ""),
            ("top-1", words.percent(record.accuracy.top1) if record.accuracy else ""),
            ("size", words.size(record.artifact.size_bytes) if record.artifact else ""),
            ("p50", words.ms(self.p50_ms) if self.p50_ms is not None else ""),
        ]
        return [(label, value) for label, value in found if value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A model, on one target, across variants; None where there is no such case."""

    model: str
    target: str
    cells: tuple[Case | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A whole run, arranged."""

    verdict: Verdict
    cases: tuple[Case, ...]
    variants: tuple[str, ...]
    rows: tuple[Row, ...]
    failing: tuple[Case, ...]
    general: tuple[Finding, ...]  # of the run as a whole
    expected: tuple[tuple[Case, Check, str], ...]  # expected failures, with their reasons
    environments: tuple[Environment, ...]
    recorded_at: str

    @property
    def statuses(self) -> list[Status]:
        """Those that occur, worst last as in the enum's order."""
        present = {case.status for case in self.cases}
        return [status for status in Status if status in present]

    @property
    def cameras(self) -> list[tuple[Case, bool]]:
        """Cases that ran behind a camera in both schemes, model by model, the quickest first and marked."""
        models: dict[tuple[str, str], list[Case]] = {}
        for case in self.cases:
            if len(case.schemes) == 2:
                models.setdefault((case.record.model, case.record.target), []).append(case)
        ranked = [sorted(cases, key=_pace) for cases in models.values()]
        return [(case, case is cases[0]) for cases in ranked for case in cases]

    @property
    def localised(self) -> list[Case]:
        """Cases whose difference was placed, those at fault first."""
        found = [case for case in self.cases if case.record.localisation]
        return sorted(found, key=lambda case: not case.findings)

    @property
    def several_targets(self) -> bool:
        """Whether rows need their target to be told apart."""
        return len({row.target for row in self.rows}) > 1

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        if self.verdict.inconclusive:
            return "This release may not ship yet: inconclusive"
        return "This release may ship" if self.verdict.passed else "This release may not ship"

    @property
    def glyph(self) -> str:
        """The sign of the verdict."""
        return words.GLYPHS[Status.PASSED if self.verdict.passed else Status.FAILED]

    @property
    def counts(self) -> str:
        """Cases by status in one line, as the table shows them."""
        total = len(self.cases)
        by_status = ((status, sum(case.status is status for case in self.cases)) for status in Status)
        parts = ", ".join(f"{count} {word(status)}" for status, count in by_status if count)
        return f"{total} case{'s' if total != 1 else ''}" + (f": {parts}" if parts else "")


def view(records: Sequence[Record], verdict: Verdict, thresholds: Thresholds) -> View:
    """Arrange a run; `verdict` is the gate's word on these records."""
    findings: dict[str, list[Finding]] = {}
    for finding in verdict.findings:
        findings.setdefault(finding.case_id, []).append(finding)
    places = environments(records)
    cases = tuple(
        _case(number, record, findings.get(record.case_id, ()), thresholds, places)
        for number, record in enumerate(records, 1)
    )
    variants = _variants(records)
    return View(
        verdict=verdict,
        cases=cases,
        variants=variants,
        rows=_rows(cases, variants),
        failing=tuple(case for case in cases if case.findings),
        general=tuple(findings.get("", ())),
        expected=tuple(_expected(cases)),
        environments=tuple(places.values()),
        recorded_at=max((record.recorded_at for record in records), default=""),
    )


def _case(
    number: int,
    record: Record,
    findings: Iterable[Finding],
    thresholds: Thresholds,
    places: Mapping[str, Environment],
) -> Case:
    found = tuple(findings)
    try:
        tolerance, budget = thresholds.resolve(record.model, record.variant, record.override)
    except UsageError:  # the gate has a finding that says so
        tolerance, budget = Tolerance(), Budget()
    harmless = record.status in (Status.PASSED, Status.EXPECTED_FAILURE, Status.SKIPPED)
    return Case(
        record=record,
        anchor=f"case-{number}",
        status=Status.FAILED if found and harmless else record.status,
        findings=found,
        parity=of_parity(record.parity, tolerance),
        host_parity=of_host_parity(record.host_parity, tolerance),
        timings=timings(record),
        tolerance=tolerance,
        budget=budget,
        unmeasured=unmeasured(record),
        schemes=_schemes(record),
        realtime=frames.sentence(record.realtime) if record.realtime else "",
        realtime_doubt=_told(*frames.soundness(record.realtime)) if record.realtime else "",
        doubt=_doubt(record),
        drop=stats.sustained_drop(record.sustained) if record.sustained else None,
        environment=places[key_of(record)].name if record.environment else "",
    )


def _pace(case: Case) -> tuple[float, float]:
    """What a camera's user would rather have comes first: more answers a second, then sooner ones."""
    best = max((summary for _, summary in case.schemes), key=lambda summary: summary.processed_fps)
    return -round(best.processed_fps, 1), best.latency_p95_ms or 0.0


def _schemes(record: Record) -> tuple[tuple[str, frames.Summary], ...]:
    streams = record.realtime.schemes if record.realtime else ()
    return tuple((frames.scheme(stream), frames.summarise(stream)) for stream in streams)


def _doubt(record: Record) -> str:
    if record.latency is None:
        return ""
    try:
        return _told(*stats.soundness(record.latency))
    except ValueError:  # the gate has a finding that says so
        return ""


def _told(sound: stats.Soundness, why: str) -> str:
    return f"{sound}: {why}. {stats.REMEDY[sound]}" if why else ""


def _variants(records: Iterable[Record]) -> tuple[str, ...]:
    """Variants of the run in the suite's own order, unknown ones last."""
    present = dict.fromkeys(record.variant for record in records)
    known = [variant for variant in VARIANTS if variant in present]
    return (*known, *(variant for variant in present if variant not in VARIANTS))


def _rows(cases: Iterable[Case], variants: Sequence[str]) -> tuple[Row, ...]:
    grid: dict[tuple[str, str], dict[str, Case]] = {}
    for case in cases:
        grid.setdefault((case.record.model, case.record.target), {})[case.record.variant] = case
    return tuple(
        Row(model=model, target=target, cells=tuple(cells.get(variant) for variant in variants))
        for (model, target), cells in grid.items()
    )


def _expected(cases: Iterable[Case]) -> Iterable[tuple[Case, Check, str]]:
    for case in cases:
        for check, result in case.record.checks.items():
            if result.status is Status.EXPECTED_FAILURE:
                yield case, check, result.message

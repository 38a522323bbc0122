"""Records and a verdict, arranged for a reader. No markup here, and nothing is decided anew."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from suite import frames, stats
from suite.errors import UsageError
from suite.gates import Finding, Verdict, word
from suite.record import Check, Record, Status, unmeasured
from suite.record.answers import Floor, Parity
from suite.record.costs import Latency
from suite.report import words
from suite.spec import VARIANTS, Budget, Tolerance
from suite.thresholds import Thresholds, beside


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One line of a table: what was obtained beside its bound, both as text."""

    name: str
    obtained: str
    bound: str = ""
    generated: str = ""
    generated_bound: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One thread count."""

    threads: int
    summary: stats.Summary
    load_ms: float
    first_ms: float
    inferences_per_second: float
    cpu_percent: float | None


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
class Environment:
    """Where cases were measured: flattened to names and values."""

    name: str
    items: tuple[tuple[str, str], ...]
    cases: int


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
    environments = _environments(records)
    cases = tuple(
        _case(number, record, findings.get(record.case_id, ()), thresholds, environments)
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
        environments=tuple(environments.values()),
        recorded_at=max((record.recorded_at for record in records), default=""),
    )


def _case(
    number: int,
    record: Record,
    findings: Iterable[Finding],
    thresholds: Thresholds,
    environments: Mapping[str, Environment],
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
        parity=_parity(record.parity, tolerance),
        host_parity=_host_parity(record.host_parity, tolerance),
        timings=_timings(record),
        tolerance=tolerance,
        budget=budget,
        unmeasured=unmeasured(record),
        schemes=_schemes(record),
        realtime=frames.sentence(record.realtime) if record.realtime else "",
        realtime_doubt=_told(*frames.soundness(record.realtime)) if record.realtime else "",
        doubt=_doubt(record),
        drop=stats.sustained_drop(record.sustained) if record.sustained else None,
        environment=environments[_key(record)].name if record.environment else "",
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


def _host_parity(parity: Parity | None, tolerance: Tolerance) -> tuple[Measure, ...]:
    """Of 8-bit outputs the steps between them are what counts."""
    if parity is None or parity.max_steps is None:
        return _parity(parity, tolerance)
    steps = Measure(name="quantisation steps, at most", obtained=words.plain(parity.max_steps), bound="≤ 1")
    return (steps, *_parity(parity, Tolerance()))


def _parity(parity: Parity | None, tolerance: Tolerance) -> tuple[Measure, ...]:
    if parity is None:
        return ()
    real, generated = parity.real, parity.generated
    plain, at_least, at_most = words.plain, _at_least, _at_most
    floor = _floor(parity.floor, parity.generated_floor, tolerance)
    tolerance = beside(tolerance, parity.floor, parity.generated_floor)
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


def _floor(floor: Floor | None, generated: Floor | None, tolerance: Tolerance) -> tuple[Measure, ...]:
    """The noise floor, and the artifact on the samples it was computed on."""
    if floor is None:
        return ()
    counts = f"{floor.n}" if generated is None else f"{floor.n} and {generated.n}"
    return (
        Measure(
            name=f"noise floor, first {counts}",
            obtained=words.db(floor.sqnr_db),
            bound=_at_least(tolerance.min_floor_db, " dB"),
            generated="" if generated is None else words.db(generated.sqnr_db),
        ),
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


def _timings(record: Record) -> tuple[Timing, ...]:
    entries = {entry.threads: entry for entry in record.scaling}
    if record.latency is not None:
        entries[record.latency.threads] = record.latency
    timings = (_timing(entries[threads], record) for threads in sorted(entries))
    return tuple(timing for timing in timings if timing is not None)


def _timing(latency: Latency, record: Record) -> Timing | None:
    try:
        summary = stats.summary_of(latency)
    except ValueError:  # the gate has a finding that says so
        return None
    wall = max(latency.wall_ns, 1)
    timing = Timing(
        threads=latency.threads,
        summary=summary,
        load_ms=latency.load_ns / stats.NS_PER_MS,
        first_ms=latency.first_ns / stats.NS_PER_MS,
        inferences_per_second=summary.n / wall * 1e9,
        cpu_percent=None if latency.summary_ms else 100 * latency.cpu_ns / wall,
    )
    if record.throughput is not None and record.throughput.threads == latency.threads:
        timing = replace(timing, inferences_per_second=record.throughput.inferences_per_second)
    if record.cpu is not None and record.cpu.threads == latency.threads:
        timing = replace(timing, cpu_percent=record.cpu.percent)
    return timing


# --- environments -----------------------------------------------------------


def _environments(records: Iterable[Record]) -> dict[str, Environment]:
    """Each environment once, named by a letter."""
    found: dict[str, Environment] = {}
    for record in records:
        if not record.environment:
            continue
        key = _key(record)
        known = found.get(key) or Environment(
            name=_letter(len(found)), items=tuple(_flat(record.environment)), cases=0
        )
        found[key] = replace(known, cases=known.cases + 1)
    return found


def _key(record: Record) -> str:
    return json.dumps(record.environment, sort_keys=True, default=str)


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else f"A{index}"


def _flat(tree: Mapping[str, object], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(str(item) for item in value)
        else:
            yield f"{prefix}{name}", words.NOT_MEASURED if value is None else str(value)

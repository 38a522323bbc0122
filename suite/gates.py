"""Whether a release may ship: records held to thresholds. Pure functions; nothing is read or written.

Numbers are judged anew here, whatever a check said of itself. Every comparison
is written so that NaN, a missing number or a missing case fails.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from suite import frames, stats
from suite.errors import UsageError
from suite.record import (
    OK,
    Accuracy,
    Artifact,
    Check,
    CheckResult,
    ErrorStats,
    Latency,
    Memory,
    Parity,
    RealTime,
    Record,
    Stage,
    StaticCheck,
    Status,
)
from suite.spec import COREML, Budget, Tolerance
from suite.store import merge_cases
from suite.thresholds import Thresholds

ONE_STEP = 1.01  # and what float arithmetic on dequantised values adds
SIZE_ALLOWANCE_BYTES = 100_000  # graph and metadata, which a small model has too


class Gate(StrEnum):
    """What a case is held to."""

    STATUS = "status"
    MISSING = "missing"
    PARITY = "parity"
    ACCURACY = "accuracy"
    SIZE = "size"
    STATIC = "static checks"
    LATENCY = "latency"
    MEMORY = "memory"
    BASELINE = "baseline"
    REALTIME = "real time"
    THRESHOLDS = "thresholds"
    NOTHING = "nothing proven"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One reason why the release may not ship.

    `message` says what was obtained, what the limit is and what to do;
    `obtained` and `limit` are the bare numbers, None where there is none.
    `case_id` is empty for a finding on the run as a whole.
    """

    gate: Gate
    message: str
    case_id: str = ""
    check: Check | None = None  # the test that shows it again
    options: str = ""  # of the run, without which the case is not there
    obtained: float | None = None
    limit: float | None = None
    inconclusive: bool = False  # nothing is shown to be wrong, nor to be right


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The gate's word on a run.

    `warnings` are what does not fail a run and must not be overlooked:
    skipped checks, notes. `counts` is cases by status, and "cases" in all.
    """

    passed: bool
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]
    counts: Mapping[str, int]

    @property
    def inconclusive(self) -> bool:
        """Whether all that holds the release back is measurements that cannot carry a verdict."""
        return bool(self.findings) and all(finding.inconclusive for finding in self.findings)


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
    said = (*warnings, *thresholds.misspelt(record.model for record in cases), *_warnings(cases))
    counts = Counter(str(record.status) for record in cases)
    return Verdict(
        passed=not findings,
        findings=tuple(findings),
        warnings=said,
        counts={"cases": len(cases), **{status: counts[status] for status in Status if counts[status]}},
    )


def judge_case(record: Record, thresholds: Thresholds) -> list[Finding]:
    """Everything that keeps one case from shipping."""
    found = [*_check_presence(record), *_check_statuses(record)]
    try:
        tolerance, budget = thresholds.resolve(record.model, record.variant, record.override)
    except UsageError as error:
        found.append(Finding(gate=Gate.THRESHOLDS, message=str(error)))
    else:
        found += _check_numbers(record, tolerance, budget)
    options = str(record.environment.get("options", ""))
    return [replace(finding, case_id=record.case_id, options=options) for finding in found]


def _merged(records: Iterable[Record]) -> list[Record]:
    cases = list(records)
    return cases if len({record.case_id for record in cases}) == len(cases) else merge_cases(cases)


# --- how a case ended -------------------------------------------------------

_REMEDY: Mapping[Status, str] = {
    Status.FAILED: "If this is known and accepted, state it in the fixture as an expected failure.",
    Status.UNSUPPORTED: "Ship a variant that this runtime takes, or state an expected failure.",
    Status.CRASHED: "The runtime died on this artifact, as an app would; run it alone to see its last words.",
    Status.ERROR: "Something outside the model broke; run it alone, and repair what the message names.",
}


def _check_presence(record: Record) -> list[Finding]:
    """Checks that were planned and left no result; a case that claims to have passed without any."""
    missing = [check for check in record.planned if check not in record.checks]
    found = [_missing(check) for check in missing]
    if not record.checks and not missing and record.status is Status.PASSED:
        message = "The case is recorded as passed, but no check was recorded. Run pytest again."
        found.append(Finding(gate=Gate.MISSING, message=message))
    return found


def _missing(check: Check) -> Finding:
    message = f"The {check} check was planned and left no result, so nothing is known. Run pytest again."
    return Finding(gate=Gate.MISSING, check=check, message=message)


def _check_statuses(record: Record) -> list[Finding]:
    """One finding for each way a check ended; several checks often share one cause."""
    causes: dict[tuple[Status, Stage, str], list[Check]] = {}
    for check, result in record.checks.items():
        if result.status not in OK:
            causes.setdefault((result.status, result.stage, result.message), []).append(check)
    found = [_status(checks, record.checks[checks[0]]) for checks in causes.values()]
    if not found and record.status not in OK and all(check in record.checks for check in record.planned):
        found.append(Finding(gate=Gate.STATUS, message=_ended("The case", record)))
    return found


def _status(checks: Sequence[Check], result: CheckResult) -> Finding:
    if result.status is Status.ERROR and result.stage is Stage.PLAN:
        return _missing(checks[0])
    return Finding(gate=Gate.STATUS, check=checks[0], message=_ended(_these(checks), result))


def _these(checks: Sequence[Check]) -> str:
    *others, last = checks
    return f"The {', '.join(others)} and {last} checks" if others else f"The {last} check"


def _ended(what: str, seen: CheckResult | Record) -> str:
    """How it ended, what was said, what to do."""
    text = seen.message.strip() or "it left no message"
    stop = "" if text[-1] in ".!?" else "."
    how = f"{what} ended as {word(seen.status)} at the {seen.stage} stage"
    return f"{how}: {text}{stop} {_REMEDY[seen.status]}"


def word(status: Status) -> str:
    """A status as one reads it."""
    return status.replace("_", " ")


def _proven(record: Record) -> bool:
    return any(result.status is Status.PASSED for result in record.checks.values())


def _nothing_proven(cases: Sequence[Record]) -> Finding:
    what = f"None of {len(cases)} cases has a check that passed" if cases else "The run holds no case"
    advice = "See what was selected (--models, --variants, -m), and why it was skipped."
    return Finding(gate=Gate.NOTHING, message=f"{what}, so nothing is proven. {advice}", obtained=0, limit=1)


# --- the numbers ------------------------------------------------------------


def _check_numbers(record: Record, tolerance: Tolerance, budget: Budget) -> list[Finding]:
    """Judge each section anew, unless its check already failed, was expected to, or did not run.

    A passed check without its section is a finding; a section without a check is judged too.
    """
    found: list[Finding] = []
    for check, section, judge_section in _SECTIONS:
        result = record.checks.get(check)
        unchecked = result is None and getattr(record, section) is not None
        if unchecked or (result is not None and result.status is Status.PASSED):
            found += [replace(item, check=check) for item in judge_section(record, tolerance, budget)]
    return found


_SECTIONS: tuple[tuple[Check, str, Callable[[Record, Tolerance, Budget], list[Finding]]], ...] = (
    (Check.CONVERSION, "artifact", lambda record, _, budget: check_size(record.artifact, budget)),
    (Check.CONVERSION, "static", lambda record, _, __: _static_or_nothing(record)),
    (Check.PARITY, "parity", lambda record, tolerance, _: check_parity(record.parity, tolerance)),
    (Check.ACCURACY, "accuracy", lambda record, _, budget: check_accuracy(record.accuracy, budget)),
    (
        Check.HOST_PARITY,
        "host_parity",
        lambda record, tolerance, _: check_host(record.host_parity, tolerance),
    ),
    (Check.BENCHMARK, "latency", lambda record, _, budget: check_latency(record.latency, budget)),
    (Check.BENCHMARK, "memory", lambda record, _, budget: _memory_or_reason(record, budget)),
    (Check.REALTIME, "realtime", lambda record, _, budget: check_realtime(record.realtime, budget)),
)


def _memory_or_reason(record: Record, budget: Budget) -> list[Finding]:
    """Not every device tells its memory: a stated reason is a warning elsewhere, silence a finding."""
    if record.memory is None and "memory" in record.reasons:
        return []
    return check_memory(record.memory, budget)


def check_parity(parity: Parity | None, tolerance: Tolerance) -> list[Finding]:
    """Findings on the errors of an artifact's outputs, for real and generated inputs."""
    if parity is None:
        return [_unproven(Gate.PARITY, "no error statistics were recorded")]
    made = f"generated inputs, worst {parity.worst_pattern}"
    invalid = [*_check_errors(parity.real, "real inputs"), *_check_errors(parity.generated, made)]
    return invalid or [
        *_check_real(parity.real, tolerance),
        *_at_least(
            "cosine similarity", made, parity.generated.cosine_similarity, tolerance.generated_min_cosine
        ),
        *_at_least("SQNR in dB", made, parity.generated.sqnr_db, tolerance.generated_min_sqnr_db),
    ]


def check_host(parity: Parity | None, tolerance: Tolerance) -> list[Finding]:
    """Findings on a device's answers against this machine's to the same artifact on the same tensors.

    8-bit outputs may differ by one step, as kernels round in their own ways; others by the precision's
    tolerance.
    """
    if parity is None or parity.max_steps is None:
        return [
            replace(item, message=f"{_THERE}: {item.message}") for item in check_parity(parity, tolerance)
        ]
    found = [*_check_errors(parity.real, "real inputs"), *_check_errors(parity.generated, "generated inputs")]
    advice = f"{_THERE}. {_worst(parity.real)}"
    return found or _bound(
        Gate.PARITY, "difference in quantisation steps", parity.max_steps, ONE_STEP, lambda: advice
    )


_THERE = "The device against this machine, on the same artifact"


def _check_errors(errors: ErrorStats, inputs: str) -> list[Finding]:
    """Findings on statistics that say nothing: no sample, or a number that is not finite."""
    if not errors.n > 0:
        return [_unproven(Gate.PARITY, f"no output was compared on {inputs}")]
    values = {
        "max_abs_diff": errors.max_abs_diff,
        "max_scaled_diff": errors.max_scaled_diff,
        "cosine_similarity": errors.cosine_similarity,
        "worst_sample_cosine": errors.worst_sample_cosine,
        "sqnr_db": errors.sqnr_db,
        "top1_agreement": errors.top1_agreement or 0.0,
    }
    if math.isfinite(sum(values.values())):
        return []
    advice = "Look for NaN or infinity in the artifact's outputs."
    return [
        Finding(gate=Gate.PARITY, message=f"{name} on {inputs} is {value}. {advice}", obtained=value)
        for name, value in values.items()
        if not math.isfinite(value)
    ]


_PARITY_ADVICE = "Look at the worst sample, or give this model a tolerance of its own with a reason."


def _check_real(real: ErrorStats, tolerance: Tolerance) -> list[Finding]:
    inputs = "real inputs"
    scaled, limit = real.max_scaled_diff, tolerance.max_scaled_diff
    found = _bound(Gate.PARITY, f"max scaled difference on {inputs}", scaled, limit, lambda: _worst(real))
    found += _at_least("cosine similarity", inputs, real.cosine_similarity, tolerance.min_cosine)
    found += _at_least("SQNR in dB", inputs, real.sqnr_db, tolerance.min_sqnr_db)
    if real.top1_agreement is not None:  # None: the output is not a vector of scores
        found += _at_least("top-1 agreement", inputs, real.top1_agreement, tolerance.min_top1_agreement)
    return found


def _worst(real: ErrorStats) -> str:
    return (
        f"The largest difference is at {list(real.worst_index)}: reference {real.worst_reference:.6g}, "
        f"actual {real.worst_actual:.6g}. {_PARITY_ADVICE}"
    )


def _at_least(name: str, inputs: str, obtained: float, limit: float | None) -> list[Finding]:
    what = f"{name} on {inputs}"
    return _bound(Gate.PARITY, what, obtained, limit, lambda: _PARITY_ADVICE, is_maximum=False)


def check_accuracy(accuracy: Accuracy | None, budget: Budget) -> list[Finding]:
    """Findings on the drop in top-1 accuracy, paired on the same samples."""
    if accuracy is None or not accuracy.n > 0:
        return [_unproven(Gate.ACCURACY, "no labelled sample was answered")]
    for name, value in (("top1", accuracy.top1), ("reference_top1", accuracy.reference_top1)):
        if not 0 <= value <= 1:
            return [_unproven(Gate.ACCURACY, f"{name} is {value}")]
    if not abs(accuracy.reference_top1 - accuracy.top1 - accuracy.drop) < 1e-6:
        return [_unproven(Gate.ACCURACY, f"the drop {accuracy.drop} is not the difference of the accuracies")]
    drop, limit = accuracy.drop, budget.max_accuracy_drop
    return _bound(Gate.ACCURACY, "drop in top-1 accuracy", drop, limit, lambda: _accuracy_advice(accuracy))


def _accuracy_advice(accuracy: Accuracy) -> str:
    low, high = accuracy.drop_interval
    return (
        f"Reference {accuracy.reference_top1:.4f}, artifact {accuracy.top1:.4f}, n {accuracy.n}, "
        f"95 % interval of the drop {low:+.4f} to {high:+.4f}. Calibrate on more real samples, "
        "or ship a variant of higher precision."
    )


def check_size(artifact: Artifact | None, budget: Budget) -> list[Finding]:
    """Findings on the bytes of an artifact, per parameter of the original and in all.

    SIZE_ALLOWANCE_BYTES are granted on top of the bytes per parameter.
    """
    if artifact is None:
        return [_unproven(Gate.SIZE, "no artifact was recorded")]
    size = artifact.size_bytes
    if not size > 0 or not artifact.parameters >= 0:
        return [_unproven(Gate.SIZE, f"a size of {size} bytes, {artifact.parameters} parameters")]
    found = []
    if (rate := budget.max_bytes_per_parameter) is not None:
        limit = rate * artifact.parameters + SIZE_ALLOWANCE_BYTES
        granted = f"That is {rate:g} bytes for each of {artifact.parameters} parameters, and "
        advice = f"{SIZE_ALLOWANCE_BYTES} for the graph. See which operators kept a wider precision."
        found = _bound(Gate.SIZE, "size in bytes", size, limit, lambda: granted + advice)
    smaller = "Choose a narrower variant or a smaller model."
    return found + _bound(Gate.SIZE, "size in bytes", size, budget.max_bytes, lambda: smaller)


def _static_or_nothing(record: Record) -> list[Finding]:
    """Formats other than Core ML have none; a conversion that passed without them proves nothing."""
    if Check.CONVERSION not in record.checks and not record.static:
        return []
    return check_static(record.static, record.variant)


def check_static(static: Mapping[str, StaticCheck], variant: str) -> list[Finding]:
    """Findings on what was read from a saved artifact."""
    if not static and variant in COREML:
        return [_unproven(Gate.STATIC, "no static check was recorded")]
    return [
        Finding(gate=Gate.STATIC, message=f"{name}: {one.message}")
        for name, one in static.items()
        if one.status not in OK
    ]


def check_latency(latency: Latency | None, budget: Budget) -> list[Finding]:
    """Findings on the median time of an inference.

    Where a tool keeps no samples, its own median counts, or its mean where it tells no median.
    """
    if latency is None:
        return [_unproven(Gate.LATENCY, "no latency was recorded")]
    told = latency.summary_ms
    try:
        median = stats.median_ms(latency)
    except ValueError as error:
        return [_unproven(Gate.LATENCY, str(error))]
    count = f"{latency.threads} thread{'s' if latency.threads != 1 else ''}"
    number_of = round(told.get("n", len(latency.samples_ns)))
    advice = f"{count}, n {number_of}. Try another variant or thread count."
    found = _bound(Gate.LATENCY, "p50 latency in ms", median, budget.max_p50_ms, lambda: advice)
    if not found and _far_below(latency, budget.max_p50_ms):
        return []
    sound, why = stats.soundness(latency)
    if sound is stats.Soundness.SOUND:
        return found
    return _undecided(sound, why, median, budget.max_p50_ms) if found or sound is _UNSTABLE else []


_UNSTABLE = stats.Soundness.UNSTABLE


def _far_below(latency: Latency, limit: float | None) -> bool:
    """Whether nearly all samples keep the limit, so that no spread can matter: noise only slows."""
    if limit is None:
        return True
    if latency.summary_ms:
        return latency.summary_ms.get("p95", math.inf) <= limit
    return stats.summarise(latency.samples_ns).p95_ms <= limit


def _undecided(sound: stats.Soundness, why: str, median: float, limit: float | None) -> list[Finding]:
    message = (
        f"p50 latency in ms: inconclusive, because the measurement is {sound}: {why}. "
        f"Obtained {number(median)}, expected at most {number(limit or math.nan)}. {stats.REMEDY[sound]}."
    )
    return [Finding(gate=Gate.LATENCY, message=message, obtained=median, limit=limit, inconclusive=True)]


def check_memory(memory: Memory | None, budget: Budget) -> list[Finding]:
    """Findings on the peak memory of a process that runs the artifact, baseline subtracted."""
    if memory is None:
        return [_unproven(Gate.MEMORY, "no memory use was recorded, nor why")]
    if not memory.peak_bytes > 0:
        return [_unproven(Gate.MEMORY, f"a peak of {memory.peak_bytes} bytes was recorded")]
    advice = f"{memory.loaded_bytes} of them after loading. Choose a narrower variant or a smaller input."
    peak, limit = memory.peak_bytes, budget.max_peak_bytes
    return _bound(Gate.MEMORY, "peak memory in bytes", peak, limit, lambda: advice)


def check_realtime(realtime: RealTime | None, budget: Budget) -> list[Finding]:
    """Findings on how a model keeps up with a camera, in the better of the two schemes."""
    if realtime is None or not realtime.schemes:
        return [_unproven(Gate.REALTIME, "no camera-paced run was recorded")]
    rates = [frames.summarise(stream).processed_fps for stream in realtime.schemes if stream.taken]
    if not rates:
        return [_unproven(Gate.REALTIME, "no frame of the camera was answered")]
    advice = f"Of {realtime.fps:g} a second. Ship a quicker variant, or give the model more threads."
    best, least = max(rates), budget.min_processed_fps
    found = _bound(Gate.REALTIME, "processed fps", best, least, lambda: advice, is_maximum=False)
    busy = any(
        stream.others_cpu_ns is not None
        and stream.cores
        and stream.others_cpu_ns > stats.MAX_OTHERS * stream.wall_ns * stream.cores
        for stream in realtime.schemes
    )
    return [replace(item, inconclusive=busy) for item in found]


def _bound(
    gate: Gate,
    name: str,
    obtained: float,
    limit: float | None,
    advice: Callable[[], str],
    *,
    is_maximum: bool = True,
) -> list[Finding]:
    """At most one finding; NaN breaks any limit, and None is no limit."""
    if limit is None:
        return []
    holds = obtained <= limit if is_maximum else obtained >= limit  # false for NaN
    if holds:
        return []
    side = "at most" if is_maximum else "at least"
    numbers = f"obtained {number(obtained, limit)}, expected {side} {number(limit, obtained)}"
    return [Finding(gate=gate, message=f"{name}: {numbers}. {advice()}", obtained=obtained, limit=limit)]


def number(value: float, other: float = math.nan) -> str:
    """A number as one reads it, with as many digits as tell it from `other`."""
    if math.isfinite(value) and value == int(value):
        return str(int(value))
    texts = (f"{value:.{digits}g}" for digits in (4, 6, 9))
    others = (f"{other:.{digits}g}" for digits in (4, 6, 9))
    return next((text for text, rival in zip(texts, others, strict=True) if text != rival), repr(value))


def _unproven(gate: Gate, what: str) -> Finding:
    return Finding(
        gate=gate, message=f"{what[0].upper()}{what[1:]}: this proves nothing. Run the check again."
    )


# --- warnings ---------------------------------------------------------------


def _warnings(cases: Iterable[Record]) -> list[str]:
    """What a reader must not overlook, once each, with the cases it holds for."""
    cases_by_text: dict[str, list[str]] = {}
    for record in cases:
        for text in _warnings_of(record):
            cases_by_text.setdefault(text, []).append(record.case_id)
    return [f"{text} ({_some(case_ids)})" for text, case_ids in cases_by_text.items()]


def _warnings_of(record: Record) -> Iterable[str]:
    for check, result in record.checks.items():
        if result.status is Status.SKIPPED:
            yield f"{check} skipped: {result.message or 'no reason was recorded'}"
        elif result.status is Status.PASSED and check is Check.BENCHMARK and record.memory is None:
            yield f"memory not measured: {record.reasons.get('memory', 'no reason was recorded')}"
    if not record.checks and record.status is Status.SKIPPED:
        yield f"skipped: {record.message or 'no reason was recorded'}"
    for note in record.notes:
        yield f"note: {note}"
    if record.latency is not None and (sound := _soundness(record.latency)) is not stats.Soundness.SOUND:
        yield f"latency is {sound}, and holds a budget only with room to spare. {stats.REMEDY[sound]}"


def _soundness(latency: Latency) -> stats.Soundness:
    try:
        return stats.soundness(latency)[0]
    except ValueError:  # a finding says so
        return stats.Soundness.SOUND


def _some(case_ids: Sequence[str], shown: int = 3) -> str:
    more = f" and {len(case_ids) - shown} more" if len(case_ids) > shown else ""
    return ", ".join(case_ids[:shown]) + more

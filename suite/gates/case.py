"""Everything that one case is held to: how its checks ended, and its numbers, judged anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from suite.errors import UsageError
from suite.gates.answers import check_accuracy, check_host, check_parity
from suite.gates.artifact import check_size, check_static
from suite.gates.contract import check_contract
from suite.gates.costs import check_latency, check_memory, check_realtime
from suite.gates.findings import Finding, Gate
from suite.record import OK, Check, CheckResult, Record, Stage, Status
from suite.spec import Budget, Tolerance
from suite.thresholds import Thresholds


def judge_case(record: Record, thresholds: Thresholds) -> list[Finding]:
    """Everything that keeps one case from shipping."""
    found = [*_check_presence(record), *_check_statuses(record)]
    try:
        tolerance, budget = thresholds.resolve(record.model, record.variant, record.override)
    except UsageError as error:
        found.append(Finding(gate=Gate.THRESHOLDS, message=str(error)))
    else:
        found += _check_numbers(record, tolerance, budget)
    if not found:
        return found
    options = str(record.environment.get("options", ""))
    return [replace(finding, case_id=record.case_id, options=options) for finding in found]


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


# --- the numbers ------------------------------------------------------------

_PASSED = Status.PASSED  # found once: it is asked for of each check of thousands of cases


def _check_numbers(record: Record, tolerance: Tolerance, budget: Budget) -> list[Finding]:
    """Judge each section anew, unless its check already failed, was expected to, or did not run.

    A passed check without its section is a finding; a section without a check is judged too.
    """
    found: list[Finding] = []
    for check, section, judge_section in _SECTIONS:
        result = record.checks.get(check)
        if (getattr(record, section) is None) if result is None else (result.status is not _PASSED):
            continue
        if items := judge_section(record, tolerance, budget):
            found += [replace(item, check=check) for item in items]
    return found


_SECTIONS: tuple[tuple[Check, str, Callable[[Record, Tolerance, Budget], list[Finding]]], ...] = (
    (Check.CONVERSION, "artifact", lambda record, _, budget: check_size(record.artifact, budget)),
    (Check.CONVERSION, "static", lambda record, _, __: _static_or_nothing(record)),
    (Check.PARITY, "parity", lambda record, tolerance, _: check_parity(record.parity, tolerance)),
    (Check.ACCURACY, "accuracy", lambda record, _, budget: check_accuracy(record.accuracy, budget)),
    (Check.CONTRACT, "contract", lambda record, _, budget: check_contract(record.contract, budget)),
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


def _static_or_nothing(record: Record) -> list[Finding]:
    """Formats other than Core ML have none; a conversion that passed without them proves nothing."""
    if Check.CONVERSION not in record.checks and not record.static:
        return []
    return check_static(record.static, record.variant)

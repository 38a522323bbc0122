"""Gates: a good run passes, and each planted fault is found, named and measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from suite.gates import (
    SIZE_ALLOWANCE_BYTES,
    Finding,
    Gate,
    check_accuracy,
    check_latency,
    check_memory,
    check_parity,
    check_size,
    check_static,
    judge,
    judge_case,
    number,
)
from suite.record import Check, Record, Stage, StaticCheck, Status
from suite.record.answers import Parity
from suite.record.costs import Latency
from suite.spec import Budget, Tolerance
from suite.thresholds import Thresholds
from tests.meta import records

THRESHOLDS = Thresholds()
NAN = math.nan


def gates(record: Record, thresholds: Thresholds = THRESHOLDS) -> list[Gate]:
    return [finding.gate for finding in judge_case(record, thresholds)]


# --- a good run --------------------------------------------------------------


@pytest.mark.parametrize("variant", list(records.SPEED))
def test_a_good_case_has_no_finding(variant: str) -> None:
    assert judge_case(records.passed("mobilenet_v1", variant), THRESHOLDS) == []


def test_a_good_run_passes_and_is_counted() -> None:
    verdict = judge([records.passed("squeezenet"), records.passed("resnet50")], THRESHOLDS)
    assert verdict.passed
    assert verdict.findings == verdict.warnings == ()
    assert verdict.counts == {"cases": 2, "passed": 2}


def test_a_run_with_every_way_to_end() -> None:
    verdict = judge(records.run(), THRESHOLDS)
    assert not verdict.passed
    assert {finding.case_id.rsplit("/", 2)[0]: finding.gate for finding in verdict.findings} == {
        "resnet50/int8": Gate.STATUS,
        "densenet121/dynamic_int8": Gate.STATUS,
        "inception_v3/float16": Gate.STATUS,
        "squeezenet/dynamic_int8": Gate.PARITY,
    }
    assert len(verdict.findings) == 4  # one cause, one finding, however many checks met it
    assert verdict.counts["expected_failure"] == 1
    assert [warning.split(":")[0] for warning in verdict.warnings] == ["benchmark skipped", "note"]


# --- how cases ended ---------------------------------------------------------


@pytest.mark.parametrize("status", [Status.FAILED, Status.UNSUPPORTED, Status.CRASHED, Status.ERROR])
@pytest.mark.parametrize("check", records.CHECKS)
def test_every_bad_ending_of_any_check_fails(check: Check, status: Status) -> None:
    record = records.with_check(records.passed(), check, status, "it says why", stage=Stage.RUN)
    (finding,) = judge_case(record, THRESHOLDS)
    assert (finding.gate, finding.check) == (Gate.STATUS, check)
    assert f"ended as {status} at the run stage: it says why." in finding.message


@pytest.mark.parametrize("status", [Status.EXPECTED_FAILURE, Status.SKIPPED])
@pytest.mark.parametrize("check", records.CHECKS)
def test_what_is_expected_or_skipped_is_not_judged_by_its_numbers(check: Check, status: Status) -> None:
    record = records.with_check(records.passed(), check, status, "known")
    record = replace(record, parity=None, accuracy=None, artifact=None, latency=None, memory=None)
    others = {other: result for other, result in record.checks.items() if other is check}
    assert judge_case(replace(record, checks=others, planned=(check,)), THRESHOLDS) == []


def test_a_skipped_check_is_a_warning_with_its_reason() -> None:
    record = records.with_check(records.passed(), Check.BENCHMARK, Status.SKIPPED, "no quiet machine")
    verdict = judge([record, replace(record, case_id="a/float32/host/x")], THRESHOLDS)
    assert verdict.passed
    assert verdict.warnings == (f"benchmark skipped: no quiet machine ({record.case_id}, a/float32/host/x)",)


def test_a_planned_check_without_result_is_missing() -> None:
    record = records.passed()
    checks = {check: result for check, result in record.checks.items() if check is not Check.PARITY}
    (finding,) = judge_case(replace(record, checks=checks), THRESHOLDS)
    assert (finding.gate, finding.check) == (Gate.MISSING, Check.PARITY)


def test_a_check_that_merging_found_missing_is_missing_here_too() -> None:
    planned = Record(
        case_id="a/int8/host/x", stage=Stage.PLAN, status=Status.SKIPPED, planned=(Check.PARITY,)
    )
    verdict = judge([planned, planned], THRESHOLDS)  # two records of a case: merged
    assert [finding.gate for finding in verdict.findings] == [Gate.MISSING, Gate.NOTHING]


def test_a_case_that_passed_without_a_check_proves_nothing() -> None:
    record = Record(case_id="a/int8/host/x", stage=Stage.RUN, status=Status.PASSED)
    assert Gate.MISSING in gates(record)
    assert not judge([record], THRESHOLDS).passed


def test_a_crash_recorded_without_checks_fails() -> None:
    record = Record(case_id="a/int8/host/x", stage=Stage.RUN, status=Status.CRASHED, message="killed")
    (finding,) = judge_case(record, THRESHOLDS)
    assert "killed" in finding.message


@pytest.mark.parametrize("status", [Status.SKIPPED, Status.EXPECTED_FAILURE])
def test_a_run_in_which_nothing_passed_fails(status: Status) -> None:
    record = replace(records.passed(), checks=records.checks(status), status=status)
    (finding,) = judge([record], THRESHOLDS).findings
    assert (finding.gate, finding.case_id) == (Gate.NOTHING, "")


def test_an_empty_run_fails() -> None:
    assert [finding.gate for finding in judge([], THRESHOLDS).findings] == [Gate.NOTHING]


def test_a_variant_without_thresholds_fails() -> None:
    record = replace(records.passed(), case_id="squeezenet/int9/host/x")
    (finding,) = judge_case(record, THRESHOLDS)
    assert finding.gate is Gate.THRESHOLDS
    assert "did you mean 'int8'" in finding.message


def test_an_override_without_a_reason_fails() -> None:
    record = replace(records.passed(), override={"min_sqnr_db": 1.0})
    assert gates(record) == [Gate.THRESHOLDS]


def test_warnings_of_the_reader_are_carried_over() -> None:
    assert judge([records.passed()], THRESHOLDS, ["line 3 was dropped"]).warnings == ("line 3 was dropped",)


# --- parity ------------------------------------------------------------------

TOLERANCE = Tolerance(
    max_scaled_diff=0.1,
    min_cosine=0.99,
    min_sqnr_db=30,
    min_top1_agreement=0.98,
    generated_min_cosine=0.9,
    generated_min_sqnr_db=20,
)
GOOD = records.parity(40.0)


def real(**changes: object) -> Parity:
    return replace(GOOD, real=replace(GOOD.real, **changes))  # type: ignore[arg-type]


def made(**changes: object) -> Parity:
    return replace(GOOD, generated=replace(GOOD.generated, **changes))  # type: ignore[arg-type]


def test_parity_within_tolerance() -> None:
    assert check_parity(GOOD, TOLERANCE) == []
    assert check_parity(real(top1_agreement=None), TOLERANCE) == []  # no scores: nothing to agree on


@pytest.mark.parametrize(
    ("parity", "words"),
    [
        (
            real(max_scaled_diff=0.11),
            "max scaled difference on real inputs: obtained 0.11, expected at most 0.1",
        ),
        (
            real(cosine_similarity=0.98),
            "cosine similarity on real inputs: obtained 0.98, expected at least 0.99",
        ),
        (real(sqnr_db=29.9), "SQNR in dB on real inputs: obtained 29.9, expected at least 30"),
        (real(top1_agreement=0.97), "top-1 agreement on real inputs: obtained 0.97, expected at least 0.98"),
        (made(cosine_similarity=-0.2), "on generated inputs, worst one hot pixel: obtained -0.2"),
        (made(sqnr_db=19.0), "SQNR in dB on generated inputs"),
    ],
)
def test_parity_outside_tolerance(parity: Parity, words: str) -> None:
    (finding,) = check_parity(parity, TOLERANCE)
    assert words in finding.message
    assert finding.obtained is not None
    assert finding.limit is not None


def test_the_largest_difference_is_located() -> None:
    (finding,) = check_parity(real(max_scaled_diff=3.0), TOLERANCE)
    assert "at [17, 3]: reference 4.183, actual" in finding.message


@pytest.mark.parametrize("plant", [real, made])
@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf])
@pytest.mark.parametrize(
    "name",
    [
        "max_abs_diff",
        "max_scaled_diff",
        "cosine_similarity",
        "worst_sample_cosine",
        "sqnr_db",
        "top1_agreement",
    ],
)
def test_no_number_that_is_not_finite_passes(plant: Callable[..., Parity], name: str, value: float) -> None:
    (finding,) = check_parity(plant(**{name: value}), Tolerance())
    assert f"{name} on" in finding.message


@pytest.mark.parametrize("parity", [None, real(n=0), made(n=0)])
def test_parity_of_nothing_fails(parity: Parity | None) -> None:
    assert [finding.gate for finding in check_parity(parity, Tolerance())] == [Gate.PARITY]


# --- accuracy, size, latency, memory -----------------------------------------


@pytest.mark.parametrize(
    ("accuracy", "budget", "words"),
    [
        (records.accuracy(0.9, 8), 0.02, "obtained 0.02222, expected at most 0.02"),
        (records.accuracy(0.875, 2, n=64), 0.01, "obtained 0.03125, expected at most 0.01562"),
        (records.accuracy(0.875, 1, n=64), -0.01, "expected at most -0.01"),
        (None, 0.02, "No labelled sample"),
        (records.accuracy(n=360) and replace(records.accuracy(), n=0), None, "No labelled sample"),
        (records.accuracy(top1=NAN), None, "Top1 is nan"),
        (records.accuracy(reference_top1=NAN), None, "Reference_top1 is nan"),
        (records.accuracy(drop=NAN), None, "is not the difference"),
        (records.accuracy(0.9, 8, drop=0.0), 0.02, "is not the difference"),
    ],
)
def test_accuracy_out_of_budget(accuracy: object, budget: float | None, words: str) -> None:
    (finding,) = check_accuracy(accuracy, Budget(max_accuracy_drop=budget))  # type: ignore[arg-type]
    assert (finding.gate, words in finding.message) == (Gate.ACCURACY, True)


@pytest.mark.parametrize("lost", [-3, 0, 7])
def test_accuracy_within_budget(lost: int) -> None:
    assert check_accuracy(records.accuracy(0.9, lost), Budget(max_accuracy_drop=0.02)) == []
    assert check_accuracy(records.accuracy(0.9, 300), Budget()) == []


@pytest.mark.parametrize(("n", "limit"), [(64, 0.01), (120, 0.005), (240, 0.0)])
def test_one_sample_of_few_is_no_drop(n: int, limit: float) -> None:
    assert check_accuracy(records.accuracy(0.875, 1, n=n), Budget(max_accuracy_drop=limit)) == []


@pytest.mark.parametrize(
    ("changes", "budget", "found"),
    [
        ({"size_bytes": 1_500_000 + SIZE_ALLOWANCE_BYTES}, Budget(max_bytes_per_parameter=1.5), 0),
        ({"size_bytes": 1_500_001 + SIZE_ALLOWANCE_BYTES}, Budget(max_bytes_per_parameter=1.5), 1),
        ({"size_bytes": 90_000, "parameters": 0}, Budget(max_bytes_per_parameter=1.5), 0),
        ({"size_bytes": 5000}, Budget(max_bytes=5000), 0),
        ({"size_bytes": 5001}, Budget(max_bytes=5000), 1),
        ({"size_bytes": 9_000_000}, Budget(max_bytes_per_parameter=1.5, max_bytes=5000), 2),
        ({"size_bytes": 10**12}, Budget(), 0),
        ({"size_bytes": 0}, Budget(), 1),
        ({"parameters": -1}, Budget(), 1),
    ],
)
def test_size(changes: dict[str, int], budget: Budget, found: int) -> None:
    artifact = replace(records.artifact("unknown", "int8"), **changes)  # type: ignore[arg-type]
    assert [finding.gate for finding in check_size(artifact, budget)] == [Gate.SIZE] * found


def test_no_artifact_fails() -> None:
    assert [finding.gate for finding in check_size(None, Budget())] == [Gate.SIZE]


@pytest.mark.parametrize(
    ("samples_ns", "limit", "found"),
    [
        ((9_000_000, 10_000_000, 99_000_000), 10.0, 0),
        ((9_000_000, 10_000_001, 10_000_002), 10.0, 1),
        ((10**12,), None, 0),
        ((), None, 1),
        ((0, 1), None, 1),
    ],
)
def test_latency(samples_ns: tuple[int, ...], limit: float | None, found: int) -> None:
    latency = replace(records.latency(), samples_ns=samples_ns)
    assert [finding.gate for finding in check_latency(latency, Budget(max_p50_ms=limit))] == [
        Gate.LATENCY
    ] * found


def test_no_latency_fails() -> None:
    assert [finding.gate for finding in check_latency(None, Budget())] == [Gate.LATENCY]


@pytest.mark.parametrize(("peak", "limit", "found"), [(5, 5, 0), (6, 5, 1), (10**12, None, 0), (0, None, 1)])
def test_memory(peak: int, limit: int | None, found: int) -> None:
    memory = records.passed().memory
    assert memory is not None
    memory = replace(memory, peak_bytes=peak)
    assert [finding.gate for finding in check_memory(memory, Budget(max_peak_bytes=limit))] == [
        Gate.MEMORY
    ] * found


@pytest.mark.parametrize(
    ("section", "gate"),
    [
        ("artifact", Gate.SIZE),
        ("parity", Gate.PARITY),
        ("accuracy", Gate.ACCURACY),
        ("contract", Gate.CONTRACT),
        ("latency", Gate.LATENCY),
        ("memory", Gate.MEMORY),
    ],
)
def test_a_passed_check_without_its_numbers_fails(section: str, gate: Gate) -> None:
    record = replace(records.passed(), **{section: None})  # type: ignore[arg-type]
    (finding,) = judge_case(record, THRESHOLDS)
    assert (finding.gate, finding.case_id) == (gate, record.case_id)


def test_memory_that_could_not_be_measured_is_a_warning_with_its_reason() -> None:
    record = replace(records.passed(), memory=None, reasons={"memory": "no permission"})
    verdict = judge([record], THRESHOLDS)
    assert verdict.passed
    assert "memory not measured: no permission" in verdict.warnings[0]


def test_numbers_without_a_check_are_judged_too() -> None:
    record = replace(records.passed(), checks={}, planned=(), parity=records.parity(3.0))
    assert Gate.PARITY in gates(record)


def test_numbers_are_judged_by_the_thresholds_at_hand_not_by_those_of_the_run() -> None:
    record = records.passed("squeezenet", "int8")
    assert gates(record) == []
    assert gates(replace(record, override={"min_sqnr_db": 60, "reason": "strict"})) == [Gate.PARITY]


# --- messages ------------------------------------------------------


def test_every_finding_says_obtained_limit_and_what_to_do() -> None:
    bad = replace(
        records.passed("squeezenet", "int8"),
        parity=records.parity(3.0),
        accuracy=records.accuracy(0.9, 100),
        artifact=records.artifact("squeezenet", "float32"),
        latency=records.latency(5000.0),
        memory=replace(records.passed().memory, peak_bytes=10**10),  # type: ignore[type-var]
    )
    findings = judge_case(bad, THRESHOLDS)
    assert {finding.gate for finding in findings} == {
        Gate.PARITY,
        Gate.ACCURACY,
        Gate.SIZE,
        Gate.LATENCY,
        Gate.MEMORY,
    }
    for finding in findings:
        assert_complete(finding)


def assert_complete(finding: Finding) -> None:
    assert "obtained " in finding.message
    assert ", expected at " in finding.message
    assert len(finding.message.split(". ")) > 1, finding.message
    assert finding.check is not None


@pytest.mark.parametrize(
    ("value", "other", "text"),
    [
        (20.0, 14.2, "20"),
        (0.0200001, 0.02, "0.0200001"),
        (0.02222, 0.02, "0.02222"),
        (NAN, 1.0, "nan"),
        (math.inf, 1.0, "inf"),
        (6_342_448, 1.0, "6342448"),
    ],
)
def test_numbers_tell_obtained_from_limit(value: float, other: float, text: str) -> None:
    assert number(value, other) == text


# --- what cannot carry a verdict ------------------------------------------------------


def wide(p50_ms: float, spread: float = 0.5, **changes: object) -> Latency:
    samples = tuple(int(1e6 * p50_ms * factor) for factor in (1 - spread, 1, 1 + spread)) * 20
    return replace(records.latency(p50_ms), samples_ns=samples, **changes)


@pytest.mark.parametrize(
    ("latency", "limit", "outcome"),
    [
        (wide(10), 20, "holds"),  # nearly every sample keeps it
        (wide(10), 12, "inconclusive"),
        (wide(10), 8, "inconclusive"),
        (records.latency(10), 8, "fails"),
        (replace(records.latency(10), others_cpu_ns=10**12, cores=2), 8, "inconclusive"),
        (replace(records.latency(10), others_cpu_ns=10**12, cores=2), 10.3, "holds"),  # noise only slows
    ],
)
def test_an_unsound_latency_is_not_gated_as_if_it_were_good(
    latency: Latency, limit: float, outcome: str
) -> None:
    found = check_latency(latency, Budget(max_p50_ms=limit))
    seen = "holds" if not found else "inconclusive" if found[0].inconclusive else "fails"
    assert seen == outcome
    if outcome == "inconclusive":
        assert "measure again" in found[0].message


def test_a_verdict_is_inconclusive_only_where_nothing_is_shown_to_be_wrong() -> None:
    unsound = replace(records.passed(), latency=wide(10), override={"max_p50_ms": 12, "reason": "app"})
    verdict = judge([unsound], Thresholds())
    assert (verdict.passed, verdict.inconclusive) == (False, True)
    bad = records.with_check(records.passed("resnet50"), Check.PARITY, Status.FAILED, "off")
    assert not judge([unsound, bad], Thresholds()).inconclusive
    assert not judge([records.passed()], Thresholds()).inconclusive
    assert any("latency is unstable" in text for text in verdict.warnings)


# --- static checks ----------------------------------------------------------------


def test_a_failed_static_check_holds_a_release_and_none_at_all_proves_nothing() -> None:
    good = StaticCheck(status=Status.PASSED, message="RGB")
    bad = StaticCheck(status=Status.FAILED, message="taken as BGR")
    assert check_static({"image": good}, "mlprogram_float32") == []
    (finding,) = check_static({"image": bad, "labels": good}, "mlprogram_float32")
    assert (finding.gate, finding.message) == (Gate.STATIC, "image: taken as BGR")
    (finding,) = check_static({}, "neuralnetwork")
    assert "no static check was recorded: this proves nothing" in finding.message.lower()
    assert check_static({}, "float32") == []

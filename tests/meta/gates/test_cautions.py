"""Cautions: what rests on little, or was not held to what someone stated, is taken, and said to be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.gates import judge
from suite.gates.cautions import HELD_BY
from suite.record import Check
from suite.thresholds import BOUNDS, FEWEST_SAMPLES, Thresholds
from tests.meta import records


def warned(**sections: object) -> tuple[str, ...]:
    record = replace(records.passed("squeezenet", "int8"), **sections)  # type: ignore[arg-type]
    return judge([record], Thresholds()).warnings


@pytest.mark.parametrize(("n", "cautioned"), [(FEWEST_SAMPLES - 1, True), (8, True), (FEWEST_SAMPLES, False)])
def test_parity_on_fewer_real_samples_than_it_is_said_to_rest_on(n: int, cautioned: bool) -> None:
    found = warned(parity=records.parity(26.5, n=n))
    assert bool(found) is cautioned
    assert all(f"parity rests on {n} real samples, fewer than 64" in text for text in found)


@pytest.mark.parametrize(("n", "cautioned"), [(8, True), (49, True), (50, False), (360, False)])
def test_a_budget_finer_than_one_sample(n: int, cautioned: bool) -> None:
    """0.02 of int8 is one sample of 50."""
    found = warned(accuracy=records.accuracy(0.9, 0, n=n))
    assert bool(found) is cautioned
    assert all(f"a drop in accuracy of 0.02 is less than one of {n} samples" in text for text in found)


def test_few_samples_are_judged_by_the_thresholds_at_hand() -> None:
    strict = {"max_accuracy_drop": 0.001, "reason": "medical"}
    assert warned() == ()
    (text,) = warned(override=strict)
    assert "a drop in accuracy of 0.001 is less than one of 360" in text
    assert warned(override={"max_accuracy_drop": -1.0, "reason": "nothing may be lost"}) == ()


# --- bounds that were not held ------------------------------------------------------------

SECTIONS = ("artifact", "parity", "accuracy", "contract", "latency", "memory", "realtime")
STATED = {
    "min_sqnr_db": 1.0,
    "max_accuracy_drop": 0.1,
    "max_contract_gaps": 0,
    "max_bytes": 10**9,
    "max_p50_ms": 1e6,
    "max_peak_bytes": 10**12,
    "min_processed_fps": 0.1,
}


def of_checks(*asked: Check, **changes: object) -> tuple[str, ...]:
    """Warnings of a case of which these checks alone were asked for."""
    good = records.passed("squeezenet", "int8")
    measured = {section for check, section in HELD_BY.values() if check in asked}
    left = dict.fromkeys(set(SECTIONS) - measured - {"artifact"})
    checks = {check: good.checks[check] for check in asked}
    return warned(**{**left, "checks": checks, "planned": asked, **changes})


def test_every_bound_is_held_by_a_check() -> None:
    assert set(HELD_BY) == set(BOUNDS)
    assert {section for _, section in HELD_BY.values()} == set(SECTIONS)


@pytest.mark.parametrize("name", STATED)
def test_a_stated_bound_on_what_was_not_measured_is_told(name: str) -> None:
    override = {name: STATED[name], "reason": "agreed"}
    assert warned(override=override) == ()
    check, _ = HELD_BY[name]
    assert of_checks(check, override=override) == ()
    other = Check.PARITY if check is not Check.PARITY else Check.ACCURACY
    told = f"{name} is stated, and was not measured in this run: its check, {check}, did not run"
    found = of_checks(other, override=override)
    if name == "max_bytes":  # any check leaves the artifact's facts
        assert found == ()
        found = of_checks(other, override=override, artifact=None)
    assert found == (f"{told} (squeezenet/int8/host/litert-xnnpack)",)


def test_a_stated_bound_of_pyproject_is_told_and_one_of_a_variant_only_where_it_was_moved() -> None:
    def found(thresholds: Thresholds) -> tuple[str, ...]:
        record = replace(records.passed(), checks={}, planned=(), latency=None)
        return judge([record], thresholds).warnings

    assert found(Thresholds()) == ()
    model = {("squeezenet", "float32"): {"max_p50_ms": 1500.0, "reason": "the default, confirmed"}}
    (text,) = found(Thresholds(models=model))
    assert "max_p50_ms is stated, and was not measured" in text
    switched_off = {("squeezenet", "float32"): {"max_p50_ms": None, "reason": "nobody waits for it"}}
    assert found(Thresholds(models=switched_off)) == ()


def test_where_it_is_known_why_it_was_not_measured_that_is_told() -> None:
    override = {"max_p50_ms": 40, "reason": "agreed"}
    (text,) = of_checks(Check.PARITY, override=override, reasons={"latency": "engine: evaluator"})
    assert "max_p50_ms is stated, and was not measured in this run: engine: evaluator" in text


def test_a_selection_fails_no_run() -> None:
    record = replace(
        records.passed(),
        checks={Check.PARITY: records.passed().checks[Check.PARITY]},
        planned=(Check.PARITY,),
        override={"max_p50_ms": 1e-6, "reason": "agreed"},
        latency=None,
    )
    verdict = judge([record], Thresholds())
    assert verdict.passed
    assert any("max_p50_ms is stated" in text for text in verdict.warnings)


@pytest.mark.parametrize(("parameters", "cautioned"), [(0, True), (1_235_496, False)])
def test_an_original_whose_parameters_nobody_could_count(parameters: int, cautioned: bool) -> None:
    found = warned(artifact=records.artifact("squeezenet", "int8", parameters=parameters))
    assert bool(found) is cautioned
    assert all("held to no bytes per parameter" in text for text in found)
    unbounded = {"max_bytes_per_parameter": None, "reason": "compressed elsewhere"}
    artifact = records.artifact("squeezenet", "int8", parameters=parameters)
    assert warned(artifact=artifact, override=unbounded) == ()

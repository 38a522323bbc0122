"""Cautions: numbers that rest on few samples are taken, and said to be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.gates import judge
from suite.thresholds import FEWEST_SAMPLES, Thresholds
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

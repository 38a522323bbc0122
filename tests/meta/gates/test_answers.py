"""What an artifact answers: within its tolerance it passes, and each planted fault is found."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from suite.gates import (
    Gate,
    check_accuracy,
    check_parity,
)
from suite.record.answers import Parity
from suite.spec import Budget, Tolerance
from tests.meta import records

NAN = math.nan
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

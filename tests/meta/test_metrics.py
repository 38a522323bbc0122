"""Error statistics: right on what can be reckoned by hand, and refused where they would mean nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from suite import metrics
from suite.errors import CheckFailed
from suite.metrics import SQNR_CAP_DB, check_comparable, check_varied, error_stats, sqnr_db
from suite.record import Stage, Status

scores = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=8),
    elements=st.floats(-100, 100, width=32, allow_subnormal=False),
).filter(lambda values: bool(np.ptp(values) > 1e-3))


def noisy(values: np.ndarray, size: float = 0.1, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, size, values.shape)
    return (values + noise).astype(np.float32)


# --- by hand ----------------------------------------------------------------------


def test_sqnr_by_hand() -> None:
    # Signal 9 + 16 = 25, noise 0.25 + 0 = 0.25: a hundredth, 20 dB.
    assert sqnr_db(np.array([3.0, 4.0]), np.array([3.5, 4.0])) == pytest.approx(20)


def test_all_statistics_by_hand() -> None:
    reference = np.array([[1.0, 3.0], [5.0, 7.0]], np.float32)  # mean 4, deviation sqrt(5)
    actual = np.array([[1.0, 3.0], [7.0, 5.0]], np.float32)  # the second sample's classes change places
    stats = error_stats(reference, actual)
    assert stats.n == 2
    assert stats.max_abs_diff == 2
    assert stats.max_scaled_diff == pytest.approx(2 / math.sqrt(5))
    assert stats.sqnr_db == pytest.approx(10 * math.log10((9 + 1 + 1 + 9) / (4 + 4)))
    assert stats.cosine_similarity == pytest.approx((1 + 9 + 35 + 35) / (1 + 9 + 25 + 49))
    assert stats.worst_sample_cosine == pytest.approx((35 + 35) / (25 + 49))
    assert stats.top1_agreement == 0.5
    assert stats.worst_index == (1, 0)
    assert (stats.worst_reference, stats.worst_actual) == (5, 7)


def test_the_worst_index_is_that_of_the_outputs_own_shape() -> None:
    reference = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    actual = reference.copy()
    actual[1, 2, 0] += 5
    stats = error_stats(reference, actual)
    assert stats.worst_index == (1, 2, 0)
    assert stats.top1_agreement is None  # no vector of scores


def test_an_offset_common_to_all_scores_cannot_hide_an_error() -> None:
    reference = np.random.default_rng(0).normal(0, 1, (8, 4))
    actual = reference + np.random.default_rng(1).normal(0, 0.5, (8, 4))
    far = error_stats(reference + 1000, actual + 1000)
    assert far.sqnr_db == pytest.approx(error_stats(reference, actual).sqnr_db, abs=0.01)
    assert far.sqnr_db < 10


# --- properties ---------------------------------------------------------------------


@given(scores)
def test_equal_to_the_bit_reads_as_the_cap(values: np.ndarray) -> None:
    stats = error_stats(values, values)
    assert stats.sqnr_db == SQNR_CAP_DB
    assert stats.max_abs_diff == stats.max_scaled_diff == 0
    assert stats.cosine_similarity == pytest.approx(1)
    assert stats.worst_sample_cosine == pytest.approx(1)
    assert stats.top1_agreement == 1


@given(scores, st.sampled_from([2.0**-10, 0.25, 8.0, 1024.0]))
def test_a_scale_common_to_both_sides_changes_no_relative_measure(values: np.ndarray, scale: float) -> None:
    one, scaled = (error_stats(values * s, noisy(values) * s) for s in (1.0, scale))
    assert scaled.sqnr_db == pytest.approx(one.sqnr_db, rel=1e-6, abs=1e-6)
    assert scaled.cosine_similarity == pytest.approx(one.cosine_similarity)
    assert scaled.max_scaled_diff == pytest.approx(one.max_scaled_diff)
    assert scaled.max_abs_diff == pytest.approx(scale * one.max_abs_diff)
    assert scaled.top1_agreement == one.top1_agreement


@given(scores, st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(values: np.ndarray, random: object) -> None:
    actual = noisy(values)
    order = list(range(len(values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    one, other = error_stats(values, actual), error_stats(values[order], actual[order])
    for name in (
        "max_abs_diff",
        "max_scaled_diff",
        "cosine_similarity",
        "worst_sample_cosine",
        "sqnr_db",
        "top1_agreement",
    ):
        assert getattr(one, name) == pytest.approx(getattr(other, name)), name


@given(scores, st.floats(0.01, 1))
def test_more_noise_is_never_better(values: np.ndarray, size: float) -> None:
    assert sqnr_db(values, noisy(values, 2 * size)) < sqnr_db(values, noisy(values, size)) + 1e-3


@given(scores)
def test_a_fault_lowers_what_it_ought_to(values: np.ndarray) -> None:
    stats = error_stats(values, -values)
    assert stats.sqnr_db < 10
    assert stats.cosine_similarity == pytest.approx(-1)


def test_no_signal_is_the_worst_and_not_the_best() -> None:
    assert sqnr_db(np.zeros(3), np.ones(3)) == -SQNR_CAP_DB
    stats = error_stats(np.zeros((2, 3)), np.ones((2, 3)))
    assert stats.cosine_similarity == stats.worst_sample_cosine == 0
    assert stats.max_scaled_diff == 1


# --- refusals -------------------------------------------------------------------------

GOOD = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 2.0]], np.float32)


def refused(reference: np.ndarray, actual: np.ndarray) -> CheckFailed:
    with pytest.raises(CheckFailed) as caught:
        check_comparable("scores", reference, actual)
    assert caught.value.status is Status.FAILED
    return caught.value


def test_what_is_alike_can_be_compared() -> None:
    check_comparable("scores", GOOD, noisy(GOOD))
    check_comparable("scores", GOOD, GOOD.astype(np.float64))
    check_varied("scores", GOOD, "the original's")


@pytest.mark.parametrize("shape", [(3, 2), (1, 3), (2, 1), (2, 3, 1), (3,), (6,)])
def test_another_shape_is_refused_also_where_it_would_broadcast(shape: tuple[int, ...]) -> None:
    message = str(refused(GOOD, np.ones(shape, np.float32)))
    assert str(shape) in message
    assert "(2, 3)" in message


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.bool_, np.complex64])
def test_another_kind_of_number_is_refused(dtype: type) -> None:
    message = str(refused(GOOD, GOOD.astype(dtype)))
    assert np.dtype(dtype).name in message
    assert "float32" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_no_number_is_refused_with_its_place(value: float) -> None:
    bad = GOOD.copy()
    bad[1, 2] = value
    error = refused(GOOD, bad)
    assert "1 of 6 values" in str(error)
    assert "(1, 2)" in str(error)
    assert error.stage is Stage.COMPARE


def test_an_original_that_is_no_number_is_its_own_fault() -> None:
    bad = GOOD.copy()
    bad[0, 0] = np.nan
    error = refused(bad, GOOD)
    assert "original" in str(error)
    assert error.stage is Stage.BUILD


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((4, 3)), "the same for all 4 inputs"),
        (np.tile([1.0, 2.0, 3.0], (4, 1)), "the same for all 4 inputs"),
        (np.tile([1.0, 2.0, 3.0], (4, 1)) + 1e-8 * np.arange(4)[:, None], "the same for all 4 inputs"),
        (np.tile([[1.0], [2.0], [3.0], [4.0]], (1, 3)), "the same value"),
        (np.ones((4, 1)), "the same for all 4 inputs"),
        (np.ones((4, 2, 2)), "the same for all 4 inputs"),
    ],
)
def test_answers_that_prove_nothing_are_refused(values: np.ndarray, words: str) -> None:
    with pytest.raises(
        CheckFailed, match=f"vacuous: the artifact's output scores .*{words}|vacuous.*{words}"
    ):
        check_varied("scores", values, "the artifact's")


@pytest.mark.parametrize(
    "values",
    [
        np.arange(4.0)[:, None],  # one number a sample
        np.array([[1.0, 0.0], [0.0, 1.0]]),
        1000 + np.random.default_rng(0).normal(0, 1, (8, 3)),
        1e-20 * np.random.default_rng(0).normal(0, 1, (8, 3)),  # small, but varied
    ],
)
def test_answers_that_vary_are_not(values: np.ndarray) -> None:
    check_varied("scores", values, "the artifact's")


# --- probabilities -----------------------------------------------------------------------


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@given(scores)
def test_probabilities_are_known_and_scores_are_not(values: np.ndarray) -> None:
    assert metrics.is_probabilities(softmax(values))
    assert not metrics.is_probabilities(softmax(values) * 0.5)
    assert not metrics.is_probabilities(softmax(values) - 1e-3)
    assert not metrics.is_probabilities(softmax(values)[:, :1])


@given(hnp.arrays(np.float64, (3, 4), elements=st.floats(-4, 4)))
def test_the_logarithm_of_probabilities_is_the_logits_up_to_a_constant(logits: np.ndarray) -> None:
    centred = logits - logits.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(metrics.log_scores(softmax(logits)), centred, atol=1e-9)


def test_a_probability_of_zero_has_a_floor() -> None:
    assert np.isfinite(metrics.log_scores(np.array([[1.0, 0.0]]))).all()

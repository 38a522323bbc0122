"""Accuracy: counted by hand, ties settled, and labels of another model refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from suite import accuracy
from suite.accuracy import hits
from suite.errors import CaseError, CheckFailed
from suite.gates import check_accuracy
from suite.record import Stage
from suite.record.answers import Accuracy
from suite.spec import Budget


def measure(reference: np.ndarray, actual: np.ndarray, labels: list[int]) -> Accuracy:
    return accuracy.measure(
        reference,
        actual,
        np.array(labels, np.int64),
        dataset="digits",
        dataset_sha256="0" * 64,
        max_drop=0.02,
    )


def one_hot(answers: list[int], classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[answers]


def test_the_drop_is_paired() -> None:
    labels = [0, 1, 2, 3, 4, 5, 6, 0, 0, 0] * 2
    before = one_hot([0, 1, 2, 3, 4, 5, 6, 1, 1, 1] * 2, 7)  # of ten, the first seven are right
    after = one_hot([1, 0, 2, 3, 4, 5, 6, 0, 1, 1] * 2, 7)  # two lost, one gained
    seen = measure(before, after, labels)
    assert (seen.n, seen.reference_top1, seen.top1) == (20, 0.7, 0.6)
    assert seen.drop == pytest.approx(0.1)
    assert seen.drop_interval[0] < 0 < 0.1 < seen.drop_interval[1]
    assert seen.top1_interval[0] < 0.6 < seen.top1_interval[1]
    assert check_accuracy(seen, Budget(max_accuracy_drop=0.1)) == []
    assert len(check_accuracy(seen, Budget(max_accuracy_drop=0.09))) == 1


def test_as_many_lost_as_gained_is_no_drop_but_an_uncertain_one() -> None:
    labels = [0] * 20
    before, after = one_hot([0] * 10 + [1] * 10, 5), one_hot([1] * 10 + [0] * 10, 5)
    changed, same = measure(before, after, labels), measure(before, before, labels)
    assert changed.drop == same.drop == 0
    assert changed.drop_interval[1] > same.drop_interval[1]


def test_top5_counts_the_five_highest() -> None:
    scores = np.tile(np.arange(10, dtype=np.float32), (20, 1))
    seen = measure(scores, scores, [*range(10), *[9] * 10])
    assert (seen.top1, seen.top5, seen.reference_top5) == (11 / 20, 15 / 20, 15 / 20)


def test_an_original_that_only_guesses_is_refused() -> None:
    answers = one_hot([i % 10 for i in range(100)], 10)
    right, off_by_one = [i % 10 for i in range(100)], [(i + 1) % 10 for i in range(100)]
    assert measure(answers, answers, right).drop == 0
    with pytest.raises(CheckFailed, match=r"no better than chance among 10 classes: .*off by one"):
        measure(answers, answers, off_by_one)
    with pytest.raises(CheckFailed, match="right on 10 of 100"):
        measure(answers, answers, [0] * 100)


def test_top5_of_five_classes_would_always_be_one_and_is_not_given() -> None:
    seen = measure(one_hot([0, 1], 5), one_hot([0, 1], 5), [0, 1])
    assert seen.top5 is None
    assert seen.reference_top5 is None


def test_of_equal_scores_the_first_wins_as_in_argmax() -> None:
    tied = np.zeros((3, 3))
    assert hits(tied, np.array([0, 1, 2]), 1).tolist() == [True, False, False]
    assert hits(tied, np.array([0, 1, 2]), 2).tolist() == [True, True, False]


@given(hnp.arrays(np.float32, (6, 4), elements=st.sampled_from([0.0, 1.0, 2.0])), st.integers(0, 3))
def test_the_first_of_k_is_argmax_and_all_of_k_is_certain(scores: np.ndarray, label: int) -> None:
    labels = np.full(6, label)
    np.testing.assert_array_equal(hits(scores, labels, 1), scores.argmax(axis=1) == label)
    assert hits(scores, labels, 4).all()


@pytest.mark.parametrize("labels", [[-1, 0], [0, 3], [1000, 0]])
def test_labels_outside_of_the_classes_are_refused(labels: list[int]) -> None:
    with pytest.raises(
        CaseError, match=f"run from {min(labels)} to {max(labels)}, the model answers 3 classes"
    ) as caught:
        measure(one_hot([0, 1], 3), one_hot([0, 1], 3), labels)
    assert caught.value.stage is Stage.COMPARE


def test_scores_that_are_no_numbers_are_never_right() -> None:
    broken = np.full((2, 3), np.nan)
    seen = measure(one_hot([1, 1], 3), broken, [1, 1])
    assert seen.reference_top1 == 1
    assert check_accuracy(seen, Budget(max_accuracy_drop=0.02))

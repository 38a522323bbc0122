"""Classes of a data set: those of the model are taken, a named count that differs is refused."""

from __future__ import annotations

import numpy as np
import pytest

from suite.card import Card
from suite.converters.interface import labels_of
from suite.data import classes, digits
from suite.data.arrays import Arrays
from suite.errors import CaseError
from suite.record import Stage
from suite.runtimes.base import TensorInfo
from suite.spec import Budget, Dataset, ExpectedFailure, ModelSpec, Tolerance

NAMES = ("tea", "coffee", "milk")


def dataset(*names: str) -> Dataset:
    return Arrays("drinks.npz", np.zeros((9, 4), np.float32), np.arange(9) % 3, names)


def card(*shapes: tuple[int, ...]) -> Card:
    outputs = tuple(TensorInfo(name=f"o{i}", shape=shape, dtype="float32") for i, shape in enumerate(shapes))
    return Card(content="", inputs=(), outputs=outputs, parameters=0, rescales=False, dependencies=())


@pytest.mark.parametrize(
    ("names", "scores", "fits"),
    [(NAMES, 3, True), (NAMES, 4, False), (NAMES, 2, False), (NAMES, None, True), ((), 4, True)],
)
def test_classes_fit_by_their_number_or_without_names(
    names: tuple[str, ...], scores: int | None, fits: bool
) -> None:
    assert classes.fit(dataset(*names), scores) is fits


def test_a_named_count_that_differs_is_refused_with_both_numbers() -> None:
    classes.check(dataset(*NAMES), 3, Stage.COMPARE)
    with pytest.raises(CaseError, match=r"drinks\.npz names 3 classes, the model answers 4 scores") as caught:
        classes.check(dataset(*NAMES), 4, Stage.COMPARE)
    assert caught.value.stage is Stage.COMPARE


# --- the labels that an artifact is given ------------------------------------------------


@pytest.mark.parametrize(
    ("names", "shapes", "expected"),
    [
        (NAMES, [(-1, 3)], NAMES),
        ((), [(-1, 3)], ()),
        (NAMES, [(-1, 8, 8, 4)], ()),  # a map of scores
        (NAMES, [(-1, 4), (-1, 4)], ()),
    ],
)
def test_an_artifact_is_given_the_names_of_its_scores(
    names: tuple[str, ...], shapes: list[tuple[int, ...]], expected: tuple[str, ...]
) -> None:
    assert labels_of(ModelSpec(dataset=lambda: dataset(*names)), card(*shapes)) == expected


def test_an_artifact_is_not_left_without_labels_in_silence() -> None:
    spec = ModelSpec(dataset=lambda: dataset(*NAMES))
    with pytest.raises(CaseError, match="names 3 classes, the model answers 4 scores") as caught:
        labels_of(spec, card((-1, 4)))
    assert caught.value.stage is Stage.BUILD
    named = ModelSpec(dataset=lambda: dataset(*NAMES), labels=("background", *NAMES))
    assert labels_of(named, card((-1, 4))) == named.labels


# --- published weights ---------------------------------------------------------------------


def test_published_weights_may_know_other_classes_than_the_fixtures_data_set() -> None:
    spec = ModelSpec(dataset=digits.load)
    assert labels_of(spec.published(), card((-1, 1000))) == ()
    assert labels_of(spec.published(), card((-1, 10))) == digits.CLASSES


def test_what_is_stated_of_offline_answers_does_not_hold_for_published_weights() -> None:
    stated = ModelSpec(
        tolerances={"int8": Tolerance(min_sqnr_db=3, reason="undamped")},
        budgets={"int8": Budget(max_accuracy_drop=0.1, max_p50_ms=40, reason="conditioned")},
        expected_failures=(ExpectedFailure(variant="int8", check="parity", reason="swish", owner="us"),),
    ).published()
    assert stated.is_published
    assert not ModelSpec().is_published
    assert stated.tolerances == {}
    assert stated.expected_failures == ()
    assert stated.budgets["int8"].max_accuracy_drop is None
    assert stated.budgets["int8"].max_p50_ms == 40

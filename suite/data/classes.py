"""Whose classes a data set labels: a named count that differs from a model's scores is another model's."""

from __future__ import annotations

from suite.errors import CaseError
from suite.record import Stage
from suite.spec import Dataset


def fit(dataset: Dataset, scores: int | None) -> bool:
    """Whether a data set's classes can be those of a model that answers so many scores.

    Classes without names can: each label is held to the range of the scores
    when accuracy is measured. None: the model answers no one vector of scores.
    """
    return not dataset.classes or scores is None or len(dataset.classes) == scores


def check(dataset: Dataset, scores: int, stage: Stage) -> None:
    """Refuse, by a CaseError, a data set that names more or fewer classes than the model answers scores."""
    if fit(dataset, scores):
        return
    raise CaseError(
        f"the data set {dataset.name} names {len(dataset.classes)} classes, the model answers {scores} "
        "scores: the labels are of another model, or off by one. Name one class a score, in their order, "
        "or give the model another data set",
        stage=stage,
    )

"""Accuracy: how often the artifact is right, and what it lost against the original on the same samples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from suite import stats
from suite.errors import CaseError, CheckFailed
from suite.record import Stage
from suite.record.answers import Accuracy
from suite.spec import Array


def measure(
    reference: Array,
    actual: Array,
    labels: npt.NDArray[np.int64],
    *,
    dataset: str,
    dataset_sha256: str,
    max_drop: float | None,
) -> Accuracy:
    """Top-1 and top-5 of (n, k) scores against (n,) labels.

    Raises CaseError where labels lie outside the scores' classes, CheckFailed
    where the original itself is no better than chance.
    """
    classes = reference.shape[-1]
    if labels.min() < 0 or labels.max() >= classes:
        raise CaseError(
            f"the data set's labels run from {labels.min()} to {labels.max()}, "
            f"the model answers {classes} classes: the labels are of another model, or off by one",
            stage=Stage.COMPARE,
        )
    right_before, right_after = hits(reference, labels, 1), hits(actual, labels, 1)
    count = len(labels)
    _check_informed(int(right_before.sum()), count, classes)
    lost = int(np.sum(right_before & ~right_after))
    gained = int(np.sum(right_after & ~right_before))
    return Accuracy(
        n=count,
        dataset=dataset,
        dataset_sha256=dataset_sha256,
        top1=float(right_after.mean()),
        top1_interval=stats.wilson_interval(int(right_after.sum()), count),
        top5=float(hits(actual, labels, 5).mean()) if classes > 5 else None,
        reference_top1=float(right_before.mean()),
        reference_top5=float(hits(reference, labels, 5).mean()) if classes > 5 else None,
        drop=(lost - gained) / count,
        drop_interval=stats.paired_drop_interval(lost, gained, count),
        max_drop=max_drop,
    )


def _check_informed(right: int, count: int, classes: int) -> None:
    """Refuse an original that only guesses: nothing can be lost against it, whatever the artifact does."""
    low, _ = stats.wilson_interval(right, count)
    if low <= 1 / classes:
        raise CheckFailed(
            f"vacuous: the original itself is right on {right} of {count} samples, no better than chance "
            f"among {classes} classes: the labels are not this model's (off by one?), the samples are not "
            "prepared as it was trained on, or they are too few",
            stage=Stage.COMPARE,
        )


def hits(scores: Array, labels: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.bool_]:
    """(n,) whether the label is among the k highest scores.

    Of equal ones the first wins, as in argmax; a NaN is above all, and never right.
    """
    own = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, np.newaxis]
    above = (~(scores <= own) | ((scores == own) & earlier)).sum(axis=1)
    return np.asarray(above < k)

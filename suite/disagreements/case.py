"""The disagreements of one case, from answers that parity has computed already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from suite import disagreements, metrics, parity
from suite.disagreements import search
from suite.errors import CaseError
from suite.feeds import Feed
from suite.lab import Lab
from suite.matrix import Case
from suite.preprocess import preprocess
from suite.record import Stage
from suite.record.disagreements import Disagreements, Search
from suite.recorder import Recorder
from suite.spec import Array, ImageInput


def record(lab: Lab, case: Case, path: Path, sha256: str, recorder: Recorder, budget: int = 0) -> None:
    """Keep the disagreements of a quantised artifact, or why there are none to tell."""
    if not case.variant.quantised:
        return
    found = examine(lab, case, path, sha256, budget)
    if isinstance(found, str):
        recorder.without(disagreements=found)
    else:
        recorder.add(disagreements=found)


def examine(lab: Lab, case: Case, path: Path, sha256: str, budget: int = 0) -> Disagreements | str:
    """Agreement by margin, and what flips; with a `budget` of inputs, a search for the worst of them."""
    actual = lab.answers(case, path, sha256)
    pairs = list(parity.align(lab.reference(case, actual)[0], actual[0]).values())
    if len(pairs) != 1 or pairs[0][0].ndim != 2 or pairs[0][0].shape[1] < 2:
        return "the model does not answer one vector of scores"
    reference, answered = pairs[0]
    metrics.check_comparable("output", reference, answered)
    feeds = lab.subject(case.spec).feeds
    dataset, labels = feeds.dataset, feeds.evaluation().labels
    photos = dataset.evaluation().images if dataset is not None and dataset.photos else None
    classes = case.spec.labels or (dataset.classes if dataset is not None and feeds.labelled else ())
    found = disagreements.measure(
        reference,
        answered,
        photos=photos,
        classes=classes,
        labels=None if labels is None else labels[: len(answered)],
    )
    if not budget or photos is None or feeds.image is None:
        return found
    deviation = float(np.std(reference))
    return replace(found, search=_search(lab, case, path, photos, feeds.image, budget, deviation, classes))


def _search(
    lab: Lab,
    case: Case,
    path: Path,
    photos: Sequence[Array],
    image: ImageInput,
    budget: int,
    deviation: float,
    classes: tuple[str, ...],
) -> Search:
    original = lab.subject(case.spec).original
    name = original.card.inputs[0].name
    with lab.answering(case, path) as answer:

        def ask(photo: Array) -> tuple[Array, Array]:
            feed = Feed.of({name: preprocess([photo], image)})
            (expected,), (found,) = original.asked(feed).values(), answer(feed).values()
            if not np.isfinite(found).all():
                raise CaseError("an answer is NaN or infinite: nothing can be searched", stage=Stage.COMPARE)
            return expected[0], found[0]

        return search.seek(photos, ask, budget=budget, deviation=deviation, classes=classes)

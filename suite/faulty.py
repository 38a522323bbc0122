"""A lab for proving the gate: its artifacts, or the app around them, can be given a fault."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from suite import generated
from suite.converters import artifact as artifacts
from suite.faults import Fault, Inapplicable, app
from suite.faults.quantisation import CALIBRATED_ON
from suite.feeds import Feed
from suite.lab import Answers
from suite.matrix import Case
from suite.seeded import SeededLab
from suite.spec import Array, ImageInput, Preprocessing

# NumPy takes its time: of Core ML, samples that every kind of fault shows on.
EVALUATED_REAL, EVALUATED_GENERATED = 24, 12
# Most faults show at once: only what a few samples leave in doubt is put to all.
GLANCED_REAL, GLANCED_GENERATED = 8, 4
_PIXELS = Preprocessing(name="pixels", scale=(1.0,) * 3, bias=(0.0,) * 3, channel_order="RGB")


class FaultyLab(SeededLab):
    """A lab whose artifact, or the app around it, can be given a fault."""

    fault: Fault | None = None
    glancing = False  # the first few samples stand for all
    _naming = False

    # Of the last artifact by its hash, and the last preparation: parity and accuracy share one pass.
    _few: tuple[tuple[Any, ...], tuple[Answers, Answers]] | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.scratch = Path(tempfile.mkdtemp(prefix="lab-", dir=self.scratch))  # labs work side by side

    def converted(self, case: Case) -> bool:
        """Every artifact here is of this suite's own converter, or pretends to be."""
        return True

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Within it, answers go by the names that the app gives to them."""
        self._naming = self.fault is not None and self.fault.rename is not None
        try:
            yield
        finally:
            self._naming = False

    def _forget(self) -> None:
        super()._forget()
        self._few = None

    def miscalibrated(self, case: Case, calibrate: Callable[..., Array]) -> Path:
        """The model converted anew, its ranges taken from what `calibrate` makes of the photos."""
        if not case.variant.calibrated:
            raise Inapplicable("the variant has no calibrated ranges")
        original, feeds = (subject := self.subject(case.spec)).original, subject.feeds
        if feeds.image is None or feeds.dataset is None or not feeds.dataset.photos:
            raise Inapplicable("the model is not fed with photos")
        photos = feeds.dataset.calibration(CALIBRATED_ON).images
        arrays = {original.card.inputs[0].name: calibrate(photos, feeds.image)}
        return artifacts.artifact(original, case.variant, feeds.calibrated_on(Feed.of(arrays)), self.cache)[0]

    def answers(self, case: Case, path: Path, sha256: str) -> tuple[Answers, Answers]:
        """As the app gets them, by what it does to photos and to names."""
        prepare = self.fault.prepare if self.fault else None
        counts = self._counts(case)
        if prepare is not None or counts is not None:
            key = sha256, prepare, counts
            if self._few is None or self._few[0] != key:
                answers = (
                    self._run_prepared(case, path, prepare, counts or (None, None))
                    if prepare
                    else self._run_first(case, path, *(counts or (0, 0)))
                )
                self._few = key, answers
            return self._few[1]
        real, made = super().answers(case, path, sha256)
        if self._naming and self.fault is not None and self.fault.rename is not None:
            dataset = self.subject(case.spec).feeds.dataset
            classes = case.spec.labels or (dataset.classes if dataset else ())
            if not classes:
                raise Inapplicable("nothing names the model's scores")
            names = self.fault.rename(classes)
            real = {name: by_name(values, names, classes) for name, values in real.items()}
        return real, made

    def _counts(self, case: Case) -> tuple[int, int] | None:
        """How many of the samples, real and generated, an artifact answers; None for all."""
        if self.glancing:
            return GLANCED_REAL, GLANCED_GENERATED
        return (EVALUATED_REAL, EVALUATED_GENERATED) if case.variant.format == "coreml" else None

    def _run_first(self, case: Case, path: Path, real: int, made: int) -> tuple[Answers, Answers]:
        """An artifact's answers on the first samples."""
        feeds = self.subject(case.spec).feeds
        few = feeds.evaluation().first(real), feeds.generated().first(made)
        with self.sessions.open(case.target, path, self.threads) as session:
            given = [feeds.photos(feed) if self.takes_photos(case, session) else feed for feed in few]
            return session.run_many(given[0].arrays), session.run_many(given[1].arrays)

    def _run_prepared(
        self,
        case: Case,
        path: Path,
        prepare: Callable[..., Array],
        counts: tuple[int | None, int | None],
    ) -> tuple[Answers, Answers]:
        """The answers to photos that the app prepared in its own way."""
        feeds = self.subject(case.spec).feeds
        image, dataset = feeds.image, feeds.dataset
        if image is None or dataset is None or not dataset.photos:
            raise Inapplicable("the model is not fed with photos")
        real, made = dataset.evaluation().images, generated.photos(image.height, image.width)
        real, made = real[: counts[0]], made[: counts[1]]
        with self.sessions.open(case.target, path, self.threads) as session:
            if self.takes_photos(case, session):
                image = _as_pixels(image, prepare)
            name = session.inputs[0].name
            answers = session.run_many({name: prepare(real, image)})
            return answers, session.run_many({name: prepare(made, image)})


def _as_pixels(image: ImageInput, prepare: Callable[..., Array]) -> ImageInput:
    """What is left for the app to do where the artifact takes photos as they are."""
    if prepare not in app.ON_PIXELS:
        raise Inapplicable("the artifact takes photos as they are: its own image type scales and shifts")
    return replace(image, preprocessing=_PIXELS)


def by_name(scores: Array, names: tuple[str, ...], classes: tuple[str, ...]) -> Array:
    """Scores (n, k) as the app names them, by class; a class without a name is never the answer."""
    found = np.full((len(scores), len(classes)), -np.inf, np.float32)
    for place, name in enumerate(names[: scores.shape[1]]):
        if name in classes:
            own = classes.index(name)
            found[:, own] = np.maximum(found[:, own], scores[:, place])
    return found

"""Disagreements: counted by margin, shown with both answers, and searched for."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from suite import disagreements
from suite.disagreements import search
from suite.disagreements.pictures import SIDE, Change, thumbnail
from suite.generated import photos
from suite.record.disagreements import Disagreements

CLASSES = ("cat", "dog", "owl")
RANDOM = np.random.default_rng(0)
SCORES = RANDOM.normal(0, 1, (100, 3))
PHOTOS = RANDOM.integers(0, 255, (100, 24, 32, 3)).astype(np.uint8)


def _measured(actual: np.ndarray) -> Disagreements:
    labels = SCORES.argmax(axis=1)
    return disagreements.measure(SCORES, actual, photos=PHOTOS, classes=CLASSES, labels=labels)


def test_an_artifact_that_agrees_has_nothing_to_show() -> None:
    found = _measured(SCORES * 0.9)
    assert (found.n, found.flipped, found.flips) == (100, 0, ())
    assert [(one.n, one.agreed) for one in found.bins] == [(20, 20)] * 5
    assert all(one.high <= other.low for one, other in zip(found.bins, found.bins[1:], strict=False))


def test_noise_turns_answers_where_the_margin_is_small() -> None:
    found = _measured(SCORES + np.random.default_rng(1).normal(0, 0.15, SCORES.shape))
    assert 0 < found.flipped < 20
    assert found.bins[0].agreed < found.bins[-1].agreed == 20
    assert sum(one.n - one.agreed for one in found.bins) == found.flipped


def test_a_planted_flip_is_shown_with_both_answers_and_its_picture() -> None:
    sure = int(disagreements.margins(SCORES).argmax())
    answer = int(SCORES[sure].argmax())
    actual = SCORES.copy()
    actual[sure, answer] = -9
    (flip,) = _measured(actual).flips
    assert (flip.sample, flip.reference, flip.truth) == (sure, CLASSES[answer], CLASSES[answer])
    assert flip.actual != flip.reference
    assert flip.picture is not None
    assert _opened(flip.picture).size == (32, 24)
    assert _measured(actual).bins[-1].agreed == 19


def test_only_the_surest_few_are_shown() -> None:
    found = _measured(-SCORES)
    assert found.flipped == 100
    assert len(found.flips) == disagreements.MOST_FLIPS
    assert min(one.margin for one in found.flips) >= sorted(disagreements.margins(SCORES))[-6] - 1e-4


def test_without_photos_or_names_numbers_remain() -> None:
    flip = disagreements.measure(SCORES, -SCORES).flips[0]
    assert flip.picture is None
    assert flip.truth is None
    assert flip.reference in "012"


# --- pictures -------------------------------------------------------------------------------


def _opened(uri: str) -> Image.Image:
    kind, _, data = uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_thumbnails_are_small() -> None:
    assert all(len(thumbnail(photo)) < 4_000 for photo in photos(224, 224))
    assert max(_opened(thumbnail(photos(224, 300)[0])).size) == SIDE


def test_a_change_does_what_it_says() -> None:
    photo, other = PHOTOS[0], PHOTOS[1]
    assert np.array_equal(Change(sample=0).applied(photo, other), photo)
    assert str(Change(sample=0)) == "sample 0"
    moved = Change(sample=0, right=25, down=-25).applied(photo, other)
    assert np.array_equal(moved[:18, 8:], photo[6:, :24])
    assert np.array_equal(Change(sample=0, blend=100).applied(photo, other), other)
    lighter = Change(sample=0, light=20).applied(photo, other).astype(int)
    assert np.array_equal(lighter, np.minimum(photo.astype(int) + 20, 255))
    assert (Change(sample=0, contrast=0).applied(photo, other) == 128).all()
    noisy = [Change(sample=0, noise=5, seed=seed).applied(photo, other) for seed in (1, 1, 2)]
    assert np.array_equal(noisy[0], noisy[1])
    assert not np.array_equal(noisy[0], noisy[2])
    words = str(Change(sample=3, right=4, light=-9, contrast=90, noise=5, blend=30, other=7))
    assert words == (
        "sample 3, shifted by 4 % and 0 %, 9 darker, contrast 90 %, noise 5 (seed 0), 30 % of sample 7"
    )


# --- the search -----------------------------------------------------------------------------


def _bright(photo: np.ndarray) -> np.ndarray:
    """Scores of a model that tells light photos from dark ones."""
    level = photo.mean() / 255 - 0.5
    return np.array([level, -level, -1.0])


def _clipped(photo: np.ndarray) -> np.ndarray:
    """The same, of a copy whose threshold has moved."""
    level = photo.mean() / 255 - 0.55
    return np.array([level, -level, -1.0])


def test_the_search_finds_inputs_that_no_sample_shows() -> None:
    samples = np.full((8, 24, 32, 3), 90, np.uint8)  # answered alike by both, with room to spare
    assert all(_bright(one).argmax() == _clipped(one).argmax() for one in samples)
    samples[5:] = 150
    assert all(_bright(one).argmax() == _clipped(one).argmax() for one in samples)
    found = search.seek(
        samples, lambda photo: (_bright(photo), _clipped(photo)), budget=80, deviation=1.0, classes=CLASSES
    )
    worst = found.found[0]
    assert found.disagreed > 0
    assert (worst.reference, worst.actual) == ("cat", "dog")
    assert worst.strength > 0
    assert [one.strength for one in found.found] == sorted(
        (one.strength for one in found.found), reverse=True
    )
    assert len({one.sample for one in found.found}) == len(found.found) <= search.SHOWN


def test_a_faithful_copy_is_not_accused() -> None:
    found = search.seek(PHOTOS, lambda photo: (_bright(photo), _bright(photo)), budget=40, deviation=1.0)
    assert found.tried > 20
    assert found.disagreed == 0
    assert all(one.strength < 0 for one in found.found)


def test_the_same_search_finds_the_same() -> None:
    runs = [
        search.seek(PHOTOS, lambda photo: (_bright(photo), _clipped(photo)), budget=30, deviation=1.0)
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


@pytest.mark.parametrize(("actual", "strength"), [([3.0, 1.0, 0.0], -2.0), ([1.0, 0.0, 4.0], 3.0)])
def test_strength_is_the_lead_of_another_answer(actual: list[float], strength: float) -> None:
    assert search.strength(np.array([2.0, 1.0, 0.0]), np.array(actual)) == strength

"""A search for the inputs that a quantised artifact disagrees on most: Hypothesis, from real photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from suite.disagreements import class_name, margins
from suite.disagreements.pictures import Change, thumbnail
from suite.record.disagreements import Search, Sought
from suite.spec import Array

SHOWN = 6
PHOTOS = 64  # to begin from; above 100, Hypothesis draws what it finds in the modules that are loaded

# Both models on the same photo: (classes,) scores of the original and of the artifact.
Ask = Callable[[Array], tuple[Array, Array]]


def seek(
    photos: Sequence[Array], ask: Ask, *, budget: int, deviation: float, classes: Sequence[str] = ()
) -> Search:
    """Change real photos a little, and climb to where the artifact is surest of another answer.

    `photos`: uint8 (height, width, 3), to begin from. `deviation` is of the
    original's scores. The same photos, models and budget give the same answer.
    """
    seen: dict[Change, tuple[float, Sought]] = {}

    def examine(change: Change) -> float:
        if change not in seen:
            picture = change.applied(photos[change.sample], _fitting(photos, change))
            seen[change] = _judge(change, picture, *ask(picture), deviation, classes)
        return seen[change][0]

    _climb(min(PHOTOS, len(photos)), examine, budget)
    ranked = sorted(seen.values(), key=lambda one: -one[0])
    shown: dict[int, Sought] = {}
    for _, one in ranked:  # the worst of each photo: its neighbours would show the same
        shown.setdefault(one.sample, one)
    return Search(
        tried=len(seen),
        disagreed=sum(one.reference != one.actual for _, one in ranked),
        found=tuple(list(shown.values())[:SHOWN]),
    )


def strength(reference: Array, actual: Array) -> float:
    """How much higher the artifact scores another answer than the original's; above 0 they disagree."""
    answer = int(reference.argmax())
    others = np.delete(np.asarray(actual, np.float64), answer)
    return float(others.max() - actual[answer])


def _judge(
    change: Change,
    picture: Array,
    reference: Array,
    actual: Array,
    deviation: float,
    classes: Sequence[str],
) -> tuple[float, Sought]:
    found = strength(reference, actual) / (deviation or 1.0)
    sought = Sought(
        sample=change.sample,
        change=str(change),
        strength=round(found, 4),
        margin=round(float(margins(reference[None])[0] * np.std(reference) / (deviation or 1.0)), 4),
        reference=class_name(classes, int(reference.argmax())),
        actual=class_name(classes, int(actual.argmax())),
        picture=thumbnail(picture),
    )
    return found, sought


def _fitting(photos: Sequence[Array], change: Change) -> Array:
    """The other photo of a blend; the photo itself where their sizes differ."""
    photo, other = photos[change.sample], photos[change.other]
    return other if other.shape == photo.shape else photo


def _climb(count: int, examine: Callable[[Change], float], budget: int) -> None:
    from hypothesis import HealthCheck, Phase, given, settings, target
    from hypothesis import strategies as st

    changes = st.builds(
        Change,
        sample=st.integers(0, count - 1),
        right=st.integers(-8, 8),
        down=st.integers(-8, 8),
        light=st.integers(-32, 32),
        contrast=st.integers(-20, 25).map(lambda value: 100 + value),
        noise=st.integers(0, 12),
        seed=st.integers(0, 9),
        other=st.integers(0, count - 1),
        blend=st.integers(0, 45),
    )

    @settings(
        derandomize=True,
        max_examples=max(1, budget),
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.target],
        suppress_health_check=list(HealthCheck),
    )
    @given(changes)
    def climb(change: Change) -> None:
        target(examine(change))

    climb()

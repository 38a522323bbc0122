"""Where a quantised artifact answers otherwise than its original: which samples, and how sure that one was.

Quantisation moves every score a little, so answers turn where the original's
two best are close. An artifact whose answers turn where they are not close has
another fault.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from suite.disagreements.pictures import thumbnail
from suite.record.disagreements import Disagreements, Flip, MarginBin
from suite.spec import Array

BINS = 5
MOST_FLIPS = 6  # shown; those that the original was surest of

Integers = npt.NDArray[np.int64]


def measure(
    reference: Array,
    actual: Array,
    *,
    photos: Sequence[Array] | None = None,
    classes: Sequence[str] = (),
    labels: Integers | None = None,
) -> Disagreements:
    """Agreement by margin, and the samples that flip.

    `reference` and `actual`: (n, classes) scores of the same samples; `photos`
    uint8 (height, width, 3), as many. Margins are between the original's two
    best scores, in units of the deviation of all its scores.
    """
    answers = reference.argmax(axis=1), actual.argmax(axis=1)
    agreed = answers[0] == answers[1]
    certain = margins(reference)
    flipped = np.flatnonzero(~agreed)
    shown = flipped[np.argsort(-certain[flipped], kind="stable")][:MOST_FLIPS]
    return Disagreements(
        n=len(reference),
        flipped=len(flipped),
        bins=_bins(certain, agreed),
        flips=tuple(
            Flip(
                sample=int(row),
                margin=round(float(certain[row]), 4),
                reference=class_name(classes, int(answers[0][row])),
                actual=class_name(classes, int(answers[1][row])),
                truth=None if labels is None else class_name(classes, int(labels[row])),
                picture=None if photos is None else thumbnail(photos[int(row)]),
            )
            for row in shown
        ),
    )


def margins(scores: Array) -> Array:
    """(n,) differences of the two best of (n, classes) scores, in deviations of all of them."""
    best = np.partition(np.asarray(scores, np.float64), -2, axis=1)
    return np.asarray((best[:, -1] - best[:, -2]) / (float(np.std(scores)) or 1.0))


def class_name(classes: Sequence[str], number: int) -> str:
    """What a class is called; its number where it has no name."""
    return classes[number] if number < len(classes) else str(number)


def _bins(certain: Array, agreed: Array) -> tuple[MarginBin, ...]:
    """Bins of equally many samples, from the least sure up."""
    parts = np.array_split(np.argsort(certain, kind="stable"), min(BINS, len(certain)))
    return tuple(
        MarginBin(
            low=round(float(certain[rows].min()), 4),
            high=round(float(certain[rows].max()), 4),
            n=len(rows),
            agreed=int(agreed[rows].sum()),
        )
        for rows in parts
        if len(rows)
    )

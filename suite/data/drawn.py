"""A data set drawn anew by a seed: other samples to calibrate with, and others held out."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.cache import digest
from suite.spec import Dataset, Samples

_KEPT_TO_CALIBRATE = 256  # samples at most; the others may be held out


class Drawn:
    """Samples of another data set: never one to calibrate with among the held-out ones."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.name, self.photos, self.classes = f"{dataset.name}, seed {seed}", dataset.photos, dataset.classes
        self._dataset, self._seed = dataset, seed

    def calibration(self, count: int) -> Samples:
        """Some of those that the data set gives to calibrate with, in another order."""
        order = self._order[: min(_KEPT_TO_CALIBRATE, max(1, len(self._order) // 2))]
        return _take(self._pool, order[:count])

    def evaluation(self) -> Samples:
        """As many as the data set holds out, of those and of what is not there to calibrate with."""
        rest = self._order[min(_KEPT_TO_CALIBRATE, max(1, len(self._order) // 2)) :]
        held_out = self._dataset.evaluation()
        places = np.random.default_rng((self._seed, 1)).permutation(len(rest) + len(held_out))
        places = places[: len(held_out)]
        own, others = places[places >= len(rest)] - len(rest), rest[places[places < len(rest)]]
        return _joined(_take(held_out, own), _take(self._pool, others))

    def sha256(self) -> str:
        """Of the data set and the seed."""
        return digest({"of": self._dataset.sha256(), "seed": self._seed})

    @cached_property
    def _pool(self) -> Samples:
        return self._dataset.calibration(1 << 30)

    @cached_property
    def _order(self) -> npt.NDArray[np.intp]:
        return np.random.default_rng((self._seed, 0)).permutation(len(self._pool)).astype(np.intp)


def _take(samples: Samples, places: npt.NDArray[np.intp]) -> Samples:
    images: Any = samples.images
    taken = images[places] if isinstance(images, np.ndarray) else [images[place] for place in places]
    return Samples(images=taken, labels=None if samples.labels is None else samples.labels[places])


def _joined(one: Samples, other: Samples) -> Samples:
    labels = (
        None if one.labels is None or other.labels is None else np.concatenate([one.labels, other.labels])
    )
    if isinstance(one.images, np.ndarray) and isinstance(other.images, np.ndarray):
        return Samples(images=np.concatenate([one.images, other.images]), labels=labels)
    return Samples(images=[*one.images, *other.images], labels=labels)

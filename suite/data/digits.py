"""scikit-learn's handwritten digits as photos: 1797 real images that need no download.

Each 8x8 image is coloured, so that channel order matters, and framed 4:3, so
that the geometry of a resize matters: on grey squares both faults would pass.
"""

from __future__ import annotations

import hashlib
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from suite.spec import Samples

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
EVALUATION_PER_CLASS = 24

_PAPER = np.array([12, 24, 96], np.float32)  # dark blue, value 0
_INK = np.array([255, 214, 80], np.float32)  # warm yellow, value 16
_ENLARGE = 3  # an 8x8 digit becomes 24x24
_MARGIN = 4  # columns of paper on the left and on the right: 24x32 in all


class Digits:
    """1797 photos, uint8 (n, 24, 32, 3) RGB: 240 held out, 24 a class, and 1557 to train on.

    `evaluated` of those held out are evaluated, the first: a large net takes a
    second for a few of them.
    """

    name = "digits"
    photos = True
    classes = CLASSES

    def __init__(self, evaluated: int = EVALUATION_PER_CLASS * len(CLASSES)) -> None:
        self._evaluated = evaluated

    def train(self) -> Samples:
        """Everything that is not held out, classes taking turns; calibration samples are its first ones."""
        return self._take(self._split[0])

    def calibration(self, count: int) -> Samples:
        """The first `count` training samples, at most all of them."""
        return self._take(self._split[0][:count])

    def evaluation(self) -> Samples:
        """Held-out samples, as many of each class, classes taking turns."""
        return self._take(self._split[1][: self._evaluated])

    def sha256(self) -> str:
        """Hash of every photo and label, with the split."""
        return self._sha256

    @cached_property
    def _all(self) -> Samples:
        table = np.loadtxt(_file(), delimiter=",")
        return Samples(images=render(table[:, :64].reshape(-1, 8, 8)), labels=table[:, 64].astype(np.int64))

    @cached_property
    def _split(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Indices of the training and of the held-out samples."""
        labels = self._all.labels
        assert labels is not None
        generator = np.random.RandomState(0)  # its stream is frozen, unlike default_rng's
        shuffled = [generator.permutation(np.flatnonzero(labels == digit)) for digit in range(len(CLASSES))]
        held_out = [indices[:EVALUATION_PER_CLASS] for indices in shuffled]
        rest = [indices[EVALUATION_PER_CLASS:] for indices in shuffled]
        return _take_turns(rest), _take_turns(held_out)

    @cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for samples in (self.train(), self.evaluation()):
            assert samples.labels is not None
            digest.update(np.ascontiguousarray(samples.images).tobytes())
            digest.update(samples.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def _take(self, indices: npt.NDArray[np.intp]) -> Samples:
        labels = self._all.labels
        assert labels is not None
        return Samples(images=self._all.images[indices], labels=labels[indices])


def _file() -> Path:
    """scikit-learn's own table: to import its code as well takes longer than to check a small model."""
    found = find_spec("sklearn")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"


def render(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Ink values 0..16, (n, 8, 8), as photos, uint8 (n, 24, 32, 3) RGB."""
    large = values.repeat(_ENLARGE, axis=1).repeat(_ENLARGE, axis=2)
    framed = np.pad(large, ((0, 0), (0, 0), (_MARGIN, _MARGIN)))
    share = (framed / 16.0).astype(np.float32)[..., None]
    photos: npt.NDArray[np.uint8] = np.rint(_PAPER + share * (_INK - _PAPER)).astype(np.uint8)
    return photos


@cache
def load() -> Digits:
    """The data set; one object a process, so that it is read and hashed once."""
    return Digits()


@cache
def half() -> Digits:
    """The data set with half as many to evaluate, for nets of billions of multiply-adds."""
    return Digits(evaluated=120)


def _take_turns(groups: list[npt.NDArray[np.intp]]) -> npt.NDArray[np.intp]:
    """First of each group, second of each group, ...: every prefix is balanced."""
    longest = max(len(group) for group in groups)
    turns = [group[turn] for turn in range(longest) for group in groups if turn < len(group)]
    return np.array(turns, np.intp)

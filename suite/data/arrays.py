"""An .npz file as a data set: `images` as the model takes them, and, if known, `labels`."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.errors import UsageError
from suite.spec import Array, FloatArray, Samples

_CALIBRATION_SHARE = 4  # one sample in four is set aside to calibrate with
_CALIBRATION_MOST = 256
_HOW_TO_SAVE = "save it with numpy.savez(file, images=..., labels=...)"


class Arrays:
    """Tensors from a file: one in four, at most 256, to calibrate with, the others held out."""

    photos = False

    def __init__(
        self,
        name: str,
        images: FloatArray,
        labels: npt.NDArray[np.int64] | None,
        classes: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.classes = classes
        self._images = images
        self._labels = labels

    def calibration(self, count: int) -> Samples:
        """The first `count` samples of those set aside, at most all of them."""
        return self._take(self._order[: self._set_aside][:count])

    def evaluation(self) -> Samples:
        """Every sample that is not set aside for calibration."""
        return self._take(self._order[self._set_aside :])

    def sha256(self) -> str:
        """Hash of every sample and label."""
        return self._sha256

    @property
    def _set_aside(self) -> int:
        return max(1, min(len(self._images) // _CALIBRATION_SHARE, _CALIBRATION_MOST))

    @cached_property
    def _order(self) -> npt.NDArray[np.intp]:
        # Shuffled, because files are often sorted by class.
        return np.random.RandomState(0).permutation(len(self._images)).astype(np.intp)

    @cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256(repr(self._images.shape).encode())
        digest.update(np.ascontiguousarray(self._images).tobytes())
        if self._labels is not None:
            digest.update(self._labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def _take(self, indices: npt.NDArray[np.intp]) -> Samples:
        labels = None if self._labels is None else self._labels[indices]
        return Samples(images=self._images[indices], labels=labels)


def load(path: Path) -> Arrays:
    """Read and check FILE.npz; UsageError says what is wrong with it and what to do."""
    content = _read(path)
    if "images" not in content:
        raise UsageError(f"{path} holds {_listed(content)}, and no 'images': {_HOW_TO_SAVE}")
    images = _images(path, content["images"])
    labels = _labels(path, content["labels"], len(images)) if "labels" in content else None
    classes = _classes(path, content["classes"], labels) if "classes" in content else ()
    return Arrays(path.name, images, labels, classes)


def _read(path: Path) -> dict[str, Array]:
    if not path.is_file():
        raise UsageError(f"no such file: {path}: give --dataset an .npz file that exists")
    try:
        with path.open("rb") as file:  # which NumPy leaves open where it finds it damaged
            content: Any = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                raise UsageError(f"{path} is a single array (.npy), not an .npz: {_HOW_TO_SAVE}")
            with content:
                return {key: content[key] for key in content.files}
    except UsageError:
        raise
    except Exception as error:  # zlib's, tokenize's and others', by where the file is damaged
        raise UsageError(f"{path} cannot be read as .npz ({error}): {_HOW_TO_SAVE}") from error


def _images(path: Path, images: Array) -> FloatArray:
    if images.dtype.kind not in "fiub" or images.ndim < 2:
        raise UsageError(
            f"'images' in {path} is {images.dtype} {images.shape}: "
            "save numbers, (samples, ...), as the model takes them"
        )
    if len(images) < 2:
        raise UsageError(
            f"'images' in {path} holds {len(images)} samples: "
            "give at least 2, one to calibrate with and one to compare"
        )
    with np.errstate(over="ignore"):  # what overflows float32 is reported below
        converted: FloatArray = np.ascontiguousarray(images, np.float32)
    finite = np.isfinite(converted)
    if not finite.all():
        where = tuple(int(axis[0]) for axis in np.nonzero(~finite))
        raise UsageError(
            f"'images' in {path} holds {np.count_nonzero(~finite)} values that are NaN or infinite "
            f"as float32, the first is {images[where]} at {where}: remove those samples or repair them"
        )
    return converted


def _labels(path: Path, labels: Array, count: int) -> npt.NDArray[np.int64]:
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise UsageError(
            f"'labels' in {path} is {labels.dtype} {labels.shape}, expected one integer class index "
            "a sample: save labels.astype('int64'), or labels.argmax(-1) of one-hot rows"
        )
    if len(labels) != count:
        raise UsageError(
            f"{path} holds {count} images and {len(labels)} labels: "
            "save as many labels as images, in the same order"
        )
    if labels.min() < 0 or labels.max() > np.iinfo(np.int64).max:
        raise UsageError(
            f"'labels' in {path} run from {labels.min()} to {labels.max()}: a class index is 0 or more; "
            "remove samples without a class"
        )
    return labels.astype(np.int64)


def _classes(path: Path, classes: Array, labels: npt.NDArray[np.int64] | None) -> tuple[str, ...]:
    if classes.dtype.kind != "U" or classes.ndim != 1:
        raise UsageError(
            f"'classes' in {path} is {classes.dtype} {classes.shape}: "
            "save one name a class, numpy.array(['cat', ...])"
        )
    if labels is not None and labels.max() >= len(classes):
        raise UsageError(
            f"{path} names {len(classes)} classes and holds label {labels.max()}: indices start at 0; "
            "name every class, in the order of the model's answer"
        )
    return tuple(str(name) for name in classes)


def _listed(content: dict[str, Array]) -> str:
    return ", ".join(repr(key) for key in sorted(content)) or "nothing"

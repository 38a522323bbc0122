"""A folder of photos as a data set: ImageNet's validation set, or one laid out like it.

Either DIR holds `labels.txt` or `val.txt`, a line "filename index" a photo, or
it holds a folder a class. Indices start at 0 and follow the model's answer. A
folder's index is its name where all names are integers, its place in sorted
order where there are exactly 1000, and else its line in `synsets.txt` or
`classes.txt`, which name all classes in order. Indices alone name no class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from suite.errors import UsageError
from suite.preprocess import Photo, decode
from suite.spec import Samples

LABEL_FILES = ("labels.txt", "val.txt")
CLASS_FILES = ("synsets.txt", "classes.txt")
IMAGENET_CLASSES = 1000
_CALIBRATION_SHARE = 5  # one photo in five is set aside to calibrate with
_CALIBRATION_MOST = 512

Labelled = tuple[str, int]  # path relative to the data set's folder, class index


class LazyPhotos(Sequence[Photo]):
    """Photos that are decoded each time they are asked for, never all at once."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Photo]:
        return (decode(path) for path in self.paths)

    @overload
    def __getitem__(self, index: int) -> Photo: ...
    @overload
    def __getitem__(self, index: slice) -> LazyPhotos: ...
    def __getitem__(self, index: int | slice) -> Photo | LazyPhotos:
        """One photo, uint8 RGB (h, w, 3), or a range of them, not yet decoded."""
        if isinstance(index, slice):
            return LazyPhotos(self.paths[index])
        return decode(self.paths[index])


class PhotoFolder:
    """Labelled photos: one in five, at most 512, to calibrate with, the others held out.

    `limit` bounds how many are held out; which ones does not depend on it.
    """

    photos = True

    def __init__(
        self, directory: Path, samples: Sequence[Labelled], classes: tuple[str, ...], limit: int | None = None
    ) -> None:
        self.name = directory.name
        self.classes = classes
        self._directory = directory
        # By hash of the name: shuffled, the same on every machine, and steady as photos are added.
        shuffled = sorted(samples, key=lambda sample: hashlib.sha256(sample[0].encode()).digest())
        set_aside = max(1, min(len(shuffled) // _CALIBRATION_SHARE, _CALIBRATION_MOST))
        self._calibration = shuffled[:set_aside]
        self._evaluation = shuffled[set_aside:][:limit]

    def calibration(self, count: int) -> Samples:
        """The first `count` photos of those set aside, at most all of them."""
        return self._take(self._calibration[:count])

    def evaluation(self) -> Samples:
        """Photos that are not set aside for calibration, at most `limit`."""
        return self._take(self._evaluation)

    def sha256(self) -> str:
        """Hash of the bytes of every file in use, with its label."""
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for name, label in (*self._calibration, *self._evaluation):
            with (self._directory / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
            digest.update(label.to_bytes(8, "little"))
        return digest.hexdigest()

    def _take(self, samples: Sequence[Labelled]) -> Samples:
        return Samples(
            images=LazyPhotos([self._directory / name for name, _ in samples]),
            labels=np.array([label for _, label in samples], np.int64),
        )


def load(directory: Path, limit: int | None = None) -> PhotoFolder:
    """Read and check a folder of photos; UsageError says what is wrong with it and what to do."""
    if not directory.is_dir():
        raise UsageError(f"no such directory: {directory}: give --dataset imagenet:DIR a folder that exists")
    if limit is not None and limit < 1:
        raise UsageError(f"found limit={limit}: give at least 1")
    names = _class_names(directory)
    label_file = _first_file(directory, LABEL_FILES)
    if label_file is not None:
        samples, classes = _from_label_file(label_file), names
    else:
        samples, classes = _from_folders(directory, names)
    if len(samples) < 2:
        raise UsageError(
            f"{directory} holds {len(samples)} labelled images: give at least 2, one to calibrate with and "
            f"one to compare, in class folders or named in {' or '.join(LABEL_FILES)}"
        )
    _check_range(directory, samples, classes)
    return PhotoFolder(directory, samples, classes, limit)


def _from_label_file(label_file: Path) -> list[Labelled]:
    samples = [
        _labelled_line(label_file, number, line)
        for number, line in enumerate(_lines(label_file), 1)
        if line.strip()
    ]
    missing = [name for name, _ in samples if not (label_file.parent / name).is_file()]
    if missing:
        raise UsageError(
            f"{label_file} names {len(missing)} files that are not in {label_file.parent}, "
            f"the first is {missing[0]}: add them, or remove their lines"
        )
    return samples


def _labelled_line(label_file: Path, number: int, line: str) -> Labelled:
    name, _, label = line.strip().rpartition(" ")
    if not name or not label.isdecimal():
        raise UsageError(
            f"{label_file}, line {number} is {line.strip()!r}, expected 'filename index', "
            "the index 0 or more: correct the line"
        )
    return name.strip(), int(label)


def _from_folders(directory: Path, names: tuple[str, ...]) -> tuple[list[Labelled], tuple[str, ...]]:
    folders = sorted(entry.name for entry in directory.iterdir() if entry.is_dir() and _visible(entry))
    index, classes = _folder_indices(directory, folders, names)
    samples = [
        (f"{folder}/{photo.name}", index[folder])
        for folder in folders
        for photo in sorted((directory / folder).iterdir())
        if photo.is_file() and _visible(photo)
    ]
    return samples, classes


def _folder_indices(
    directory: Path, folders: list[str], names: tuple[str, ...]
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Class index of each folder, and the names of all classes; no names where folders are numbered."""
    if all(folder.isdecimal() for folder in folders):
        return {folder: int(folder) for folder in folders}, names
    if names:
        return _named_indices(directory, folders, names), names
    if len(folders) == IMAGENET_CLASSES:
        return {folder: place for place, folder in enumerate(folders)}, tuple(folders)
    raise UsageError(
        f"{directory} holds {len(folders)} class folders ({folders[0]}, ...), so their class indices are "
        f"not known: name all classes in order in {' or '.join(CLASS_FILES)}, or name the folders by index"
    )


def _named_indices(directory: Path, folders: list[str], names: tuple[str, ...]) -> dict[str, int]:
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        for key in {name, name.split()[0]}:  # "n01440764" or "n01440764 tench, Tinca tinca"
            places.setdefault(key, []).append(place)
    for folder in folders:
        found = places.get(folder, [])
        if len(found) != 1:
            raise UsageError(
                f"class folder {directory / folder} is named {len(found)} times in "
                f"{' or '.join(CLASS_FILES)}: give every folder exactly one line there"
            )
    return {folder: places[folder][0] for folder in folders}


def _class_names(directory: Path) -> tuple[str, ...]:
    """All classes in order, or nothing where no file names them."""
    file = _first_file(directory, CLASS_FILES)
    if file is None:
        return ()
    return tuple(line.strip() for line in _lines(file) if line.strip())


def _lines(file: Path) -> list[str]:
    """Lines of a text file; UsageError where it cannot be read as such."""
    try:
        return file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read ({error}): save it as UTF-8 text") from error


def _check_range(directory: Path, samples: list[Labelled], classes: tuple[str, ...]) -> None:
    """Labels beyond the classes that are named; those without names are held to a model's scores."""
    name, label = max(samples, key=lambda sample: sample[1])
    if classes and label >= len(classes):
        raise UsageError(
            f"{directory / name} has class index {label}, and there are {len(classes)} classes, "
            f"0..{len(classes) - 1}: count from 0, or name all classes in {' or '.join(CLASS_FILES)}"
        )


def _first_file(directory: Path, names: tuple[str, ...]) -> Path | None:
    return next((directory / name for name in names if (directory / name).is_file()), None)


def _visible(path: Path) -> bool:
    return not path.name.startswith(".")

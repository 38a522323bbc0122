"""What a model is fed: real samples, generated ones, and those that quantisation calibrates on.

Each set is prepared once by the model's own input contract and written to a
scratch folder, from which workers map it.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from suite import generated, preprocess
from suite.cache import digest, full_disk_explained, sha256_file
from suite.data import classes, digits
from suite.errors import CaseError
from suite.record import Stage
from suite.runtimes.base import TensorInfo, load, load_feed
from suite.spec import Array, Dataset, ImageInput, ModelSpec, Preprocessing, TensorInput

CALIBRATION_COUNT = 64
RANDOM_COUNT = 64  # samples for a model that no data set fits
_SMALL_BYTES = 1 << 20  # sent to a worker rather than mapped by it
_PHOTOS_KEPT = 2  # feeds: the real and the generated samples that an artifact answers
_PART = 8  # samples that are prepared at a time, and stay in a processor's cache until they are written
_numbers = itertools.count()  # of files


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Some samples of one model.

    `arrays`: (n, ...) by input name, or the .npy file that holds them.
    """

    arrays: Mapping[str, Array | Path]
    count: int
    sha256: str
    labels: npt.NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()  # of generated samples

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Feed:
        """A feed of arrays that come from nowhere else: known by their bytes."""
        hasher = hashlib.sha256()
        for name, array in sorted(arrays.items()):
            hasher.update(f"{name}{array.shape}{array.dtype}".encode())
            hasher.update(np.ascontiguousarray(array).tobytes())
        return cls(arrays=arrays, count=len(next(iter(arrays.values()))), sha256=hasher.hexdigest())

    def first(self, count: int) -> Feed:
        """The first samples; all of them as they are. None is read before it is looked at."""
        if count >= self.count:
            return self
        return Feed(
            arrays=_Later(self.arrays, lambda name: np.array(load(self.arrays[name])[:count])),
            count=count,
            sha256=digest({"of": self.sha256, "first": count}),
            labels=None if self.labels is None else self.labels[:count],
            names=self.names[:count],
        )

    def sample(self, index: int) -> dict[str, Array]:
        """One sample, as (1, ...) arrays."""
        return {name: np.array(array[index : index + 1]) for name, array in load_feed(self.arrays).items()}


class _Later(Mapping[str, Array | Path]):
    """Arrays that are prepared when they are first looked at: an identity alone costs no preparing."""

    def __init__(self, names: Iterable[str], prepare: Callable[[str], Array | Path]) -> None:
        self._names, self._prepare = tuple(names), prepare
        self._prepared: dict[str, Array | Path] = {}

    def __getitem__(self, name: str) -> Array | Path:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._prepared:
            self._prepared[name] = self._prepare(name)
        return self._prepared[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Feeds:
    """The three feeds of one model, made when first asked for.

    `dataset` is what the user gave, in place of the fixture's own; `bounds`
    the value range of a model without a fixture; `scores` how many scores the
    model answers, where that is one vector; `seed` what generated inputs are
    drawn by.
    """

    def __init__(
        self,
        spec: ModelSpec,
        inputs: tuple[TensorInfo, ...],
        *,
        scratch: Path,
        dataset: Dataset | None = None,
        bounds: tuple[float, float] | None = None,
        rescales: bool = False,
        scores: int | None = None,
        seed: int = 0,
    ) -> None:
        self._seed = seed
        self._spec, self._inputs, self._scratch = spec, inputs, scratch
        self._given, self._scores = dataset, scores
        self.notes: tuple[str, ...] = ()
        self._given_bounds = bounds
        self.image = self._image(bounds, rescales)
        self.dataset = self._dataset(dataset)
        self._made: dict[str, Feed] = {}
        self._photos: dict[str, Feed] = {}  # by hash, the oldest first
        self._files: list[Path] = []

    def evaluation(self) -> Feed:
        """Held-out real samples."""
        return self._get("evaluation")

    def one(self) -> dict[str, Array]:
        """The first held-out sample, as (1, ...) arrays, without preparing the others."""
        if self.dataset is None or "evaluation" in self._made:
            return self.evaluation().sample(0)
        images = self.dataset.evaluation().images[:1]
        return {self._inputs[0].name: self._prepared(self.dataset, images)}

    def calibration(self) -> Feed:
        """Real samples that are not among the held-out ones."""
        return self._get("calibration")

    def calibrate_with(self, feed: Feed) -> None:
        """Calibrate on these samples instead."""
        self._made["calibration"] = feed

    def calibrated_on(self, feed: Feed) -> Feeds:
        """The same feeds, but these samples to calibrate on; they share their files."""
        other = copy.copy(self)
        other._made = {**self._made, "calibration": feed}
        return other

    def generated(self) -> Feed:
        """Extremes, constants, hot pixels, checkerboards, noise."""
        return self._get("generated")

    def photos(self, feed: Feed) -> Feed:
        """The pictures that a feed was prepared from, for an artifact that prepares them itself."""
        sha256 = digest({"photos of": feed.sha256})
        if (known := self._photos.get(sha256)) is not None:  # of the variant before
            return known
        arrays = {name: self._pixels(np.asarray(array)) for name, array in load_feed(feed.arrays).items()}
        if len(self._photos) == _PHOTOS_KEPT:
            self._photos.pop(next(iter(self._photos)), None)
        return self._photos.setdefault(sha256, replace(feed, arrays=arrays, sha256=sha256))

    def photo(self, sample: Mapping[str, Array]) -> dict[str, Array]:
        """The picture that one sample was prepared from, (1, height, width, channels)."""
        return {name: self._pixels(array) for name, array in sample.items()}

    def _pixels(self, tensors: Array) -> Array:
        if self.image is None:
            raise CaseError(
                f"the artifact takes a photo, the model {_shapes(self._inputs)}: "
                "write a fixture with an ImageInput, or convert without an image input",
                stage=Stage.RUN,
            )
        return preprocess.pixels(tensors, self.image)

    def _get(self, split: str) -> Feed:
        if split not in self._made:
            self._made[split] = self._generate() if split == "generated" else self._take(split)
        return self._made[split]

    def _image(self, bounds: tuple[float, float] | None, rescales: bool) -> ImageInput | None:
        """The image contract: the fixture's, or one guessed from the shape of the only input."""
        if isinstance(self._spec.input, ImageInput):
            return self._spec.input
        shape = self._inputs[0].shape[1:]
        if len(self._inputs) != 1 or len(shape) != 3 or shape[2] not in (1, 3):
            return None
        low, high = self._bounds(bounds, rescales)
        scale = ((high - low) / 255,) * 3
        mode = Preprocessing(
            name=f"range {low:g}..{high:g}", scale=scale, bias=(low,) * 3, channel_order="RGB"
        )
        return ImageInput(height=shape[0], width=shape[1], channels=shape[2], preprocessing=mode)

    def _bounds(self, bounds: tuple[float, float] | None, rescales: bool) -> tuple[float, float]:
        spec = self._spec.input
        if bounds is not None:
            return bounds
        if spec != TensorInput() and isinstance(spec, TensorInput):
            return spec.low, spec.high
        assumed = (0.0, 255.0) if rescales else (0.0, 1.0)
        why = "its first layer rescales" if rescales else "nothing says otherwise"
        self.notes += (
            f"the input range is assumed to be {assumed[0]:g}..{assumed[1]:g} ({why}): "
            "give --input-range LO,HI",
        )
        return assumed

    def _dataset(self, given: Dataset | None) -> Dataset | None:
        if given is not None:
            return given
        if self._spec.dataset is not None:
            return self._spec.dataset()
        if self.image is not None:
            self.notes += (
                "no data set was given: photos of handwritten digits stand in for real inputs, "
                "and accuracy cannot be measured: give --dataset FILE.npz",
            )
            return digits.load()
        self.notes += (
            "no data set was given: inputs are uniform noise in the input range: give --dataset FILE.npz",
        )
        return None

    @property
    def labelled(self) -> bool:
        """Whether the labels are meant for the model, so that accuracy is measured.

        A user's data set and a fixture's are, and labels that do not fit are a
        failure; but for a fixture's under published weights, which may know
        other classes (digits are none of ImageNet's).
        """
        if self._given is not None:
            return True
        if self.dataset is None or self._spec.dataset is None:
            return False
        return not self._spec.is_published or classes.fit(self.dataset, self._scores)

    def _take(self, split: str) -> Feed:
        dataset = self.dataset
        if dataset is None:
            return self._noise(split)
        samples = dataset.evaluation() if split == "evaluation" else dataset.calibration(CALIBRATION_COUNT)
        if len(samples) == 0:
            raise CaseError(f"the data set {dataset.name} has no {split} samples: give more", stage=Stage.RUN)
        self._check_taken(dataset, samples.images)
        identity = {"dataset": dataset.sha256(), "split": split, "count": len(samples), **self._contract()}
        sha256, name = digest(identity), self._inputs[0].name
        return Feed(
            arrays=_Later([name], lambda _: self._prepared_and_placed(dataset, samples.images, sha256)),
            count=len(samples),
            sha256=sha256,
            labels=samples.labels if self.labelled else None,
        )

    def _prepared_and_placed(self, dataset: Dataset, images: Any, sha256: str) -> Array | Path:
        """All samples of a data set; those of one array part by part."""
        name = self._inputs[0].name
        if not isinstance(images, np.ndarray) or len(images) <= _PART:
            return self._placed(name, self._prepared(dataset, images), sha256)
        parts = (self._prepared(dataset, images[at : at + _PART]) for at in range(0, len(images), _PART))
        first = next(parts)
        if first.nbytes // len(first) * len(images) <= _SMALL_BYTES:
            small: Array = np.concatenate([first, *parts])
            return small
        return self._written(name, itertools.chain([first], parts), len(images), sha256)

    def _prepared(self, dataset: Dataset, images: Any) -> Array:
        """Samples of a data set as the model takes them."""
        self._check_taken(dataset, images)
        if dataset.photos and self.image is not None:
            return preprocess.preprocess(images, self.image)
        return np.asarray(images).astype(self._inputs[0].dtype, copy=False)

    def _check_taken(self, dataset: Dataset, images: Any) -> None:
        """Refuse a data set that holds nothing the model takes; known before anything is prepared."""
        wanted = _shapes(self._inputs)
        if dataset.photos:
            if self.image is None:
                raise CaseError(
                    f"the data set {dataset.name} holds photos, the model takes {wanted}: "
                    "give --dataset FILE.npz with images as the model takes them",
                    stage=Stage.RUN,
                )
            return
        shape = np.shape(images)[1:]
        if len(self._inputs) != 1 or shape != self._inputs[0].shape[1:]:
            raise CaseError(
                f"the data set {dataset.name} holds images of {shape}, the model takes {wanted}: "
                "save them as the model takes them",
                stage=Stage.RUN,
            )

    def _generate(self) -> Feed:
        image = self.image
        if image is None:
            return self._noise("generated", names=_NOISE_NAMES)
        photos = generated.photos(image.height, image.width, seed=self._seed)
        names = tuple(str(pattern) for pattern in generated.patterns(len(photos), self._seed))
        identity = {"patterns": names, **self._contract()}
        # Already of the model's size: only channels, order, scale and bias are left to do.
        tensors = preprocess.preprocess(photos, image)
        return self._stored({self._inputs[0].name: tensors}, digest(identity), names)

    def _noise(self, split: str, names: tuple[str, ...] = ()) -> Feed:
        """Uniform samples in range, for inputs that are no image; generated ones begin with the extremes."""
        spec = self._spec.input
        stated = (spec.low, spec.high) if isinstance(spec, TensorInput) else (0.0, 1.0)
        low, high = self._given_bounds or stated
        random = np.random.default_rng(int(digest(split)[:8], 16) + self._seed)
        arrays = {}
        for info in self._inputs:
            shape = (RANDOM_COUNT, *info.shape[1:])
            values = random.uniform(low, high, shape)
            if split == "generated":
                for row, level in enumerate((0.0, low, high, (low + high) / 2)):
                    values[row] = np.clip(level, low, high)
            kind = np.dtype(info.dtype).kind
            arrays[info.name] = (np.rint(values) if kind in "iu" else values).astype(info.dtype)
        identity = digest(
            {
                "noise": split,
                "low": low,
                "high": high,
                "inputs": [asdict(i) for i in self._inputs],
                **({"seed": self._seed} if self._seed else {}),
            }
        )
        return self._stored(arrays, identity, names)

    def _contract(self) -> dict[str, object]:
        """All that turns a sample into the model's input."""
        return {
            "input": asdict(self.image) if self.image else None,
            "mode": asdict(self.image.mode) if self.image else None,
            "shape": [info.shape for info in self._inputs],
            "code": sha256_file(Path(preprocess.__file__)),
        }

    def _stored(self, arrays: Mapping[str, Array], sha256: str, names: tuple[str, ...] = ()) -> Feed:
        places = {name: self._placed(name, array, sha256) for name, array in arrays.items()}
        return Feed(arrays=places, count=len(next(iter(arrays.values()))), sha256=sha256, names=names)

    def _placed(self, name: str, array: Array, sha256: str) -> Array | Path:
        """A small array as it is, a larger one as a file for workers to map."""
        if array.nbytes <= _SMALL_BYTES:
            return array
        return self._written(name, iter([array]), len(array), sha256)

    def _written(self, name: str, parts: Iterator[Array], count: int, sha256: str) -> Path:
        """Parts of an array of so many rows, as one .npy file."""
        # Numbered, for two models may be fed the same, and each removes its own.
        path = self._scratch / f"{next(_numbers)}-{sha256[:16]}-{name}.npy"
        self._files.append(path)
        first, npy = next(parts), cast("Any", np.lib.format)  # which NumPy leaves untyped
        header = {
            "descr": npy.dtype_to_descr(first.dtype),
            "fortran_order": False,
            "shape": (count, *first.shape[1:]),
        }
        # By write(), which says that a disk is full; np.save says how much it wrote.
        with full_disk_explained(self._scratch), path.open("wb") as file:
            npy.write_array_header_1_0(file, header)
            for part in itertools.chain([first], parts):
                file.write(np.ascontiguousarray(part).data)
        return path

    def discard(self) -> None:
        """Remove what this model's feeds left in the scratch folder."""
        while self._files:
            self._files.pop().unlink(missing_ok=True)
        self._made.clear()
        self._photos.clear()


_NOISE_NAMES = ("zeros", "lowest", "highest", "middle", *(f"noise {i}" for i in range(RANDOM_COUNT - 4)))


def _shapes(inputs: tuple[TensorInfo, ...]) -> str:
    return ", ".join(f"{info.name} {info.shape[1:]}" for info in inputs)


def scratch_folder(root: Path) -> Path:
    """A folder of this process under `root`; those of processes that are gone are removed."""
    root.mkdir(parents=True, exist_ok=True)
    for folder in root.iterdir():
        if folder.name.isdigit() and not _alive(int(folder.name)):
            shutil.rmtree(folder, ignore_errors=True)
    own = root / str(os.getpid())
    own.mkdir(exist_ok=True)
    return own


def _alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        try:
            os.kill(pid, 0)
        except PermissionError:
            return True
        return True
    return False

"""Data sets: what they hold, that their splits are honest, and how they refuse bad files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from suite.data import arrays, digits, imagenet, open_dataset
from suite.errors import UsageError
from suite.preprocess import preprocess
from suite.spec import Dataset, ImageInput, Resize

# --- digits -------------------------------------------------------------------


def test_digits_are_1797_labelled_photos() -> None:
    data = digits.load()
    train, held_out = data.train(), data.evaluation()
    assert len(train) + len(held_out) == 1797
    assert train.images.shape == (1557, 24, 32, 3)
    assert train.images.dtype == np.uint8
    assert set(train.labels) == set(range(10))
    assert len(data.classes) == 10


def test_digits_held_out_are_240_stratified() -> None:
    labels = digits.load().evaluation().labels
    assert labels is not None
    np.testing.assert_array_equal(np.bincount(labels), [24] * 10)


def test_digits_train_and_held_out_are_disjoint() -> None:
    train, held_out = digits.Digits()._split
    assert not set(train) & set(held_out)
    assert len({*train, *held_out}) == 1797
    photos = {photo.tobytes() for photo in digits.load().train().images}
    assert not photos & {photo.tobytes() for photo in digits.load().evaluation().images}


def test_digits_calibration_is_a_balanced_part_of_train() -> None:
    data = digits.load()
    some = data.calibration(50)
    np.testing.assert_array_equal(some.images, data.train().images[:50])
    assert some.labels is not None
    np.testing.assert_array_equal(np.bincount(some.labels), [5] * 10)
    assert len(data.calibration(10_000)) == 1557


def test_digits_hash_is_the_same_in_every_object() -> None:
    assert digits.Digits().sha256() == digits.Digits().sha256()
    assert digits.load().sha256() == digits.Digits().sha256()


def test_digits_reveal_channel_order_and_geometry() -> None:
    photos = digits.load().evaluation().images
    red, blue = photos[..., 0].astype(int), photos[..., 2].astype(int)
    assert np.abs(red - blue).mean() > 50
    squashed = preprocess(photos, ImageInput(height=24, width=24))
    cropped = preprocess(photos, ImageInput(height=24, width=24, resize=Resize.CENTRE_CROP))
    assert np.abs(squashed - cropped).mean() > 10


# --- npz ----------------------------------------------------------------------

IMAGES = np.random.RandomState(0).random_sample((12, 4, 4, 3)).astype(np.float32)
LABELS = np.arange(12) % 3


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(**content: object) -> Path:
        np.savez(tmp_path / "samples.npz", **content)  # type: ignore[arg-type]
        return tmp_path / "samples.npz"

    return save


def test_npz_gives_tensors_as_they_are(saved: Callable[..., Path]) -> None:
    data = open_dataset(str(saved(images=IMAGES, labels=LABELS, classes=["a", "b", "c"])))
    assert not data.photos
    assert data.classes == ("a", "b", "c")
    calibration, evaluation = data.calibration(100), data.evaluation()
    assert (len(calibration), len(evaluation)) == (3, 9)
    for samples in (calibration, evaluation):
        for image, label in zip(samples.images, samples.labels, strict=True):
            index = next(index for index in range(12) if np.array_equal(IMAGES[index], image))
            assert LABELS[index] == label
    together = {image.tobytes() for samples in (calibration, evaluation) for image in samples.images}
    assert len(together) == 12


def test_npz_labels_may_be_absent(saved: Callable[..., Path]) -> None:
    data = open_dataset(str(saved(images=IMAGES)))
    assert data.evaluation().labels is None
    assert data.classes == ()


def test_npz_integers_and_doubles_become_float32(saved: Callable[..., Path]) -> None:
    for images in (IMAGES.astype(np.float64), (IMAGES * 255).astype(np.uint8)):
        assert open_dataset(str(saved(images=images))).evaluation().images.dtype == np.float32


def test_npz_hash_follows_images_and_labels(saved: Callable[..., Path]) -> None:
    hashes = [
        arrays.load(saved(**content)).sha256()
        for content in (
            {"images": IMAGES, "labels": LABELS},
            {"images": IMAGES, "labels": LABELS},
            {"images": IMAGES},
            {"images": IMAGES, "labels": LABELS[::-1]},
            {"images": IMAGES[::-1], "labels": LABELS},
            {"images": IMAGES.reshape(12, 2, 8, 3), "labels": LABELS},
        )
    ]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 5


def _with(value: float) -> np.ndarray:
    images = IMAGES.astype(np.float64)
    images[5, 1, 2, 0] = value
    return images


@pytest.mark.parametrize(
    ("content", "found", "remedy"),
    [
        ({"pictures": IMAGES}, "holds 'pictures', and no 'images'", "numpy.savez"),
        ({}, "holds nothing, and no 'images'", "numpy.savez"),
        ({"images": IMAGES[:0]}, "holds 0 samples", "at least 2"),
        ({"images": IMAGES[:1]}, "holds 1 samples", "at least 2"),
        ({"images": np.array(["a", "b"])}, "<U1 (2,)", "save numbers"),
        ({"images": np.array([{}, {}])}, "cannot be read as .npz", "numpy.savez"),
        (
            {"images": _with(np.nan)},
            "1 values that are NaN or infinite as float32, the first is nan",
            "repair",
        ),
        ({"images": _with(-np.inf)}, "the first is -inf at (5, 1, 2, 0)", "remove those samples"),
        ({"images": _with(1e39)}, "the first is 1e+39 at (5, 1, 2, 0)", "remove those samples"),
        ({"images": IMAGES, "labels": LABELS[:7]}, "12 images and 7 labels", "as many labels as images"),
        ({"images": IMAGES, "labels": LABELS / 2}, "float64 (12,)", "astype('int64')"),
        ({"images": IMAGES, "labels": np.eye(12, dtype=int)}, "(12, 12)", "argmax(-1)"),
        ({"images": IMAGES, "labels": LABELS - 1}, "run from -1 to 1", "without a class"),
        ({"images": IMAGES, "labels": LABELS, "classes": ["a"]}, "1 classes and holds label 2", "name every"),
        ({"images": IMAGES, "classes": [1, 2]}, "'classes' in", "one name a class"),
    ],
)
def test_npz_with_a_planted_fault(
    saved: Callable[..., Path], content: dict[str, object], found: str, remedy: str
) -> None:
    path = saved(**content)
    with pytest.raises(UsageError) as error:
        open_dataset(str(path))
    assert str(path) in str(error.value)
    assert found in str(error.value)
    assert remedy in str(error.value)


def test_npz_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such file: .*gone\.npz: give --dataset"):
        open_dataset(str(tmp_path / "gone.npz"))
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(UsageError, match=r"text\.npz cannot be read as \.npz .*: save it with numpy\.savez"):
        open_dataset(str(tmp_path / "text.npz"))
    with (tmp_path / "single.npz").open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(UsageError, match=r"single\.npz is a single array .*: save it with numpy\.savez"):
        open_dataset(str(tmp_path / "single.npz"))


def test_npz_that_is_damaged_anywhere_is_a_message(tmp_path: Path) -> None:
    """A bit of a compressed file is wrong: what reads it raises many kinds of errors."""
    np.savez_compressed(tmp_path / "good.npz", images=IMAGES[:2], labels=LABELS[:2])
    good, refused = (tmp_path / "good.npz").read_bytes(), 0
    for place in range(0, len(good), 5):
        flipped = bytearray(good)
        flipped[place] ^= 1 << place % 8
        (tmp_path / "bad.npz").write_bytes(flipped)
        with contextlib.suppress(UsageError):
            open_dataset(str(tmp_path / "bad.npz"))
            continue
        refused += 1
    assert refused > 20


# --- folders of photos --------------------------------------------------------


def _photo(path: Path, level: int = 0, size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, 0, 255 - level)).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Three synset folders of four photos each, whose red level is their class."""
    root = tmp_path / "photos"
    for place, synset in enumerate(("n03", "n01", "n02")):
        for number in range(4):
            _photo(root / synset / f"{number}.png", level=place, size=(6 + number, 4))
    (root / "n01" / ".hidden").write_text("left by a file manager")
    return root


def _pairs(data: Dataset) -> list[tuple[int, int]]:
    """(red level, label) of every photo."""
    both = (data.calibration(100), data.evaluation())
    return [
        (int(photo[0, 0, 0]), int(label))
        for samples in both
        for photo, label in zip(samples.images, samples.labels, strict=True)  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("name", ["synsets.txt", "classes.txt"])
@pytest.mark.parametrize("described", ["", " tench, Tinca tinca"])
def test_folders_take_their_index_from_the_class_file(folders: Path, name: str, described: str) -> None:
    (folders / name).write_text("".join(f"{synset}{described}\n" for synset in ("n03", "n01", "n02", "n04")))
    data = open_dataset(f"imagenet:{folders}")
    assert data.photos
    assert data.classes == tuple(f"{synset}{described}" for synset in ("n03", "n01", "n02", "n04"))
    assert len(_pairs(data)) == 12
    assert all(level == label for level, label in _pairs(data))


def test_folders_named_by_index(folders: Path) -> None:
    for place, synset in enumerate(("n03", "n01", "n02")):
        (folders / synset).rename(folders / str(place * 100))
    data = open_dataset(f"imagenet:{folders}")
    assert all(label == level * 100 for level, label in _pairs(data))
    assert data.classes == ()  # a number is no name


def test_a_thousand_folders_count_in_sorted_order(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"n{number:04}").mkdir()
    _photo(tmp_path / "n0007" / "a.png", level=7)
    _photo(tmp_path / "n0200" / "b.png", level=200)
    data = open_dataset(f"imagenet:{tmp_path}")
    assert sorted(_pairs(data)) == [(7, 7), (200, 200)]
    assert data.classes[7] == "n0007"


@pytest.mark.parametrize("name", ["labels.txt", "val.txt"])
def test_labels_file(tmp_path: Path, name: str) -> None:
    for level in range(5):
        _photo(tmp_path / "flat" / f"photo {level}.png", level=level)
    lines = [f"flat/photo {level}.png {level}\n" for level in range(5)]
    (tmp_path / name).write_text("\n".join(lines))
    data = open_dataset(f"imagenet:{tmp_path}")
    assert sorted(_pairs(data)) == [(level, level) for level in range(5)]
    assert data.classes == ()
    (tmp_path / "classes.txt").write_text("a\nb\nc\nd\ne\n")
    assert open_dataset(f"imagenet:{tmp_path}").classes == tuple("abcde")


def test_photos_are_decoded_when_asked_for(folders: Path) -> None:
    (folders / "synsets.txt").write_text("n03\nn01\nn02\n")
    images = imagenet.load(folders).evaluation().images
    assert isinstance(images[:3], imagenet.LazyPhotos)
    assert len(images[:3]) == 3
    assert preprocess(images, ImageInput(height=5, width=5)).shape == (len(images), 5, 5, 3)
    images.paths[0].write_text("not a photo any more")
    with pytest.raises(UsageError, match=rf"{re.escape(str(images.paths[0]))} cannot be read as an image"):
        images[0]


def test_folder_split_is_disjoint_steady_and_limited(folders: Path) -> None:
    (folders / "synsets.txt").write_text("n03\nn01\nn02\n")
    data, again, limited = imagenet.load(folders), imagenet.load(folders), imagenet.load(folders, limit=4)
    held_out = data.evaluation().images.paths
    calibration = data.calibration(100).images.paths
    assert (len(held_out), len(calibration)) == (10, 2)
    assert not set(held_out) & set(calibration)
    assert again.evaluation().images.paths == held_out
    assert limited.evaluation().images.paths == held_out[:4]
    assert limited.calibration(100).images.paths == calibration


def test_folder_hash_follows_bytes_and_labels(folders: Path) -> None:
    classes = folders / "synsets.txt"
    classes.write_text("n03\nn01\nn02\n")
    first, again = imagenet.load(folders).sha256(), imagenet.load(folders).sha256()
    classes.write_text("n01\nn03\nn02\n")
    relabelled = imagenet.load(folders).sha256()
    _photo(folders / "n01" / "0.png", level=99)
    assert first == again
    assert len({first, relabelled, imagenet.load(folders).sha256()}) == 3


def _refused(directory: Path) -> str:
    with pytest.raises(UsageError) as error:
        open_dataset(f"imagenet:{directory}")
    return str(error.value)


def test_folder_that_is_absent_or_empty(tmp_path: Path) -> None:
    message = _refused(tmp_path / "gone")
    assert "no such directory" in message
    assert "gone" in message
    message = _refused(tmp_path)
    assert "holds 0 labelled images" in message
    assert "class folders or named in labels.txt or val.txt" in message


def test_folders_whose_index_is_unknown(folders: Path) -> None:
    message = _refused(folders)
    assert "3 class folders (n01, ...)" in message
    assert "synsets.txt or classes.txt" in message
    (folders / "synsets.txt").write_text("n01\nn02\n")
    message = _refused(folders)
    assert "n03 is named 0 times" in message
    assert "exactly one line" in message
    (folders / "synsets.txt").write_text("n01\nn02\nn03 crane\nn03 crane\n")
    assert "n03 is named 2 times" in _refused(folders)


def test_index_that_no_class_has(folders: Path) -> None:
    for place, synset in enumerate(("n03", "n01", "n02"), start=1):
        (folders / synset).rename(folders / str(place))
    assert open_dataset(f"imagenet:{folders}").classes == ()  # held to the scores of the model
    (folders / "classes.txt").write_text("a\nb\nc\n")
    message = _refused(folders)
    assert "class index 3, and there are 3 classes, 0..2" in message
    assert "count from 0" in message


@pytest.mark.parametrize("line", ["a.png", "a.png one", "a.png -1", "12"])
def test_labels_file_with_a_bad_line(tmp_path: Path, line: str) -> None:
    _photo(tmp_path / "a.png")
    (tmp_path / "labels.txt").write_text(f"a.png 1\n{line}\n")
    message = _refused(tmp_path)
    assert f"line 2 is {line!r}" in message
    assert "correct the line" in message


@pytest.mark.parametrize("name", ["labels.txt", "classes.txt"])
def test_a_file_that_is_no_text_is_a_message(tmp_path: Path, name: str) -> None:
    _photo(tmp_path / "a.png")
    (tmp_path / "labels.txt").write_text("a.png 0\n")
    (tmp_path / name).write_bytes("Löwe.png 0\n".encode("latin-1"))
    message = _refused(tmp_path)
    assert f"{name} cannot be read" in message
    assert "save it as UTF-8" in message


def test_labels_file_that_names_missing_photos(tmp_path: Path) -> None:
    _photo(tmp_path / "a.png")
    (tmp_path / "labels.txt").write_text("a.png 1\nb.png 2\nc.png 3\n")
    message = _refused(tmp_path)
    assert "names 2 files that are not in" in message
    assert "the first is b.png" in message
    assert "remove their lines" in message


def test_limit_below_one_is_refused(folders: Path) -> None:
    with pytest.raises(UsageError, match="limit=0: give at least 1"):
        imagenet.load(folders, limit=0)


@pytest.mark.parametrize("text", ["", "digits", "imagenet:", "photos.npy", "folder/"])
def test_open_dataset_says_what_it_accepts(text: str) -> None:
    with pytest.raises(UsageError) as error:
        open_dataset(text)
    assert repr(text) in str(error.value)
    assert "FILE.npz" in str(error.value)
    assert "imagenet:DIR" in str(error.value)

"""What models are fed: real samples, generated ones, and what stands in where nothing was given."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from suite import generated
from suite.data import digits
from suite.data.arrays import Arrays
from suite.errors import CaseError, PocketproofError
from suite.feeds import CALIBRATION_COUNT, RANDOM_COUNT, Feed, Feeds, scratch_folder
from suite.preprocess import preprocess
from suite.runtimes.base import TensorInfo, load_feed
from suite.spec import Array, ImageInput, ModelSpec, TensorInput

IMAGE = TensorInfo(name="image", shape=(-1, 8, 8, 3), dtype="float32")
LARGE = TensorInfo(name="image", shape=(-1, 224, 224, 3), dtype="float32")
VECTOR = TensorInfo(name="numbers", shape=(-1, 5), dtype="float32")


def feeds(tmp_path: Path, *inputs: TensorInfo, spec: ModelSpec | None = None, **options: object) -> Feeds:
    return Feeds(spec or ModelSpec(name="m"), inputs, scratch=tmp_path, **options)  # type: ignore[arg-type]


def only(feed: Feed) -> Array:
    (array,) = load_feed(feed.arrays).values()
    return array


def test_a_fixtures_photos_are_fed_by_its_contract(tmp_path: Path) -> None:
    spec = ModelSpec(name="m", input=ImageInput(height=8, width=8, preprocessing="tf"), dataset=digits.load)
    made = feeds(tmp_path, IMAGE, spec=spec)
    real, calibration = made.evaluation(), made.calibration()
    assert real.count == len(only(real)) >= 64
    assert only(real).shape[1:] == (8, 8, 3)
    assert -1 <= only(real).min() < 0 < only(real).max() <= 1
    assert real.labels is not None
    assert len(real.labels) == real.count
    assert calibration.count == CALIBRATION_COUNT
    assert made.notes == ()
    seen = {sample.tobytes() for sample in only(real)}
    assert not any(sample.tobytes() in seen for sample in only(calibration))


def test_generated_photos_go_the_same_way(tmp_path: Path) -> None:
    spec = ModelSpec(name="m", input=ImageInput(height=8, width=8, preprocessing="tf"))
    feed = feeds(tmp_path, IMAGE, spec=spec).generated()
    assert feed.count == len(feed.names) == generated.COUNT
    assert (only(feed)[0] == -1).all()  # black
    assert (only(feed)[1] == 1).all()  # white
    assert feed.labels is None


def test_a_feed_is_known_by_all_that_made_it(tmp_path: Path) -> None:
    def sha256(mode: str, size: int = 8) -> str:
        spec = ModelSpec(name="m", input=ImageInput(height=size, width=size, preprocessing=mode))
        info = TensorInfo(name="image", shape=(-1, size, size, 3), dtype="float32")
        return feeds(tmp_path, info, spec=spec, dataset=digits.load()).evaluation().sha256

    assert sha256("tf") == sha256("tf")
    assert len({sha256("tf"), sha256("unit"), sha256("tf", 9)}) == 3


def test_a_given_data_set_takes_the_place_of_the_fixtures(tmp_path: Path) -> None:
    images = np.random.default_rng(0).uniform(0, 1, (40, 8, 8, 3)).astype(np.float32)
    given = Arrays("mine.npz", images, np.arange(40))
    spec = ModelSpec(name="m", input=ImageInput(height=8, width=8), dataset=digits.load)
    real = feeds(tmp_path, IMAGE, spec=spec, dataset=given).evaluation()
    assert real.count == 30
    assert real.labels is not None
    np.testing.assert_array_equal(only(real), images[real.labels])


def test_a_data_set_of_another_shape_names_both(tmp_path: Path) -> None:
    given = Arrays("mine.npz", np.zeros((40, 9, 9, 3), np.float32), None)
    with pytest.raises(CaseError, match=r"mine\.npz holds images of \(9, 9, 3\), .*image \(8, 8, 3\)"):
        feeds(tmp_path, IMAGE, dataset=given).evaluation()


def test_photos_for_a_model_of_vectors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="holds photos, the model takes numbers"):
        feeds(tmp_path, VECTOR, dataset=digits.load()).evaluation()


# --- models without a fixture -----------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "low", "high", "noted"),
    [
        ({}, 0, 1, True),
        ({"rescales": True}, 0, 255, True),
        ({"bounds": (-1.0, 1.0)}, -1, 1, False),
    ],
)
def test_the_range_of_an_image_is_given_or_guessed_with_a_note(
    tmp_path: Path, options: dict[str, object], low: float, high: float, noted: bool
) -> None:
    made = feeds(tmp_path, IMAGE, **options)
    values = only(made.generated())
    assert (values.min(), values.max()) == (low, high)
    assert any("--input-range" in note for note in made.notes) is noted


def test_stand_in_photos_have_no_labels_of_this_model(tmp_path: Path) -> None:
    made = feeds(tmp_path, IMAGE)
    assert made.evaluation().labels is None
    assert not made.labelled
    assert any("--dataset" in note for note in made.notes)


@pytest.mark.parametrize("scores", [10, 1000, None])
def test_a_fixtures_labels_are_the_models_but_for_other_classes_of_published_weights(
    tmp_path: Path, scores: int | None
) -> None:
    spec = ModelSpec(name="m", input=ImageInput(height=8, width=8), dataset=digits.load)
    assert feeds(tmp_path, IMAGE, spec=spec, scores=scores).evaluation().labels is not None
    published = feeds(tmp_path, IMAGE, spec=spec.published(), scores=scores)
    assert (published.evaluation().labels is not None) is (scores != 1000)


def test_labels_without_names_are_those_of_a_model_of_any_size(tmp_path: Path) -> None:
    unnamed = Arrays("mine.npz", np.zeros((40, 8, 8, 3), np.float32), np.arange(40) % 5)
    spec = ModelSpec(name="m", dataset=lambda: unnamed)
    for stated in (spec, spec.published()):
        assert feeds(tmp_path, IMAGE, spec=stated, scores=5).evaluation().labels is not None


@pytest.mark.parametrize("bounds", [None, (-2.0, 3.0)])
def test_vectors_are_fed_noise_in_their_range(tmp_path: Path, bounds: tuple[float, float] | None) -> None:
    made = feeds(tmp_path, VECTOR, bounds=bounds)
    low, high = bounds or (0, 1)
    real, extremes = only(made.evaluation()), only(made.generated())
    assert real.shape == (RANDOM_COUNT, 5)
    assert low <= real.min() < low + 0.1 * (high - low)
    assert high >= real.max() > high - 0.1 * (high - low)
    assert (extremes[1] == low).all()
    assert (extremes[2] == high).all()
    assert not np.array_equal(real, only(made.calibration()))
    assert len(made.generated().names) == len(extremes)


def test_a_fixtures_own_range_holds_for_its_vectors(tmp_path: Path) -> None:
    spec = ModelSpec(name="m", input=TensorInput(low=5, high=6))
    assert only(feeds(tmp_path, VECTOR, spec=spec).evaluation()).min() >= 5


def test_noise_is_the_same_at_each_run_and_another_for_each_split(tmp_path: Path) -> None:
    one, two = feeds(tmp_path, VECTOR), feeds(tmp_path, VECTOR)
    np.testing.assert_array_equal(only(one.evaluation()), only(two.evaluation()))
    assert one.evaluation().sha256 == two.evaluation().sha256 != one.calibration().sha256
    wider = feeds(tmp_path, VECTOR, bounds=(0.0, 2.0))
    assert wider.evaluation().sha256 != one.evaluation().sha256


def test_several_inputs_are_fed_each_in_its_type(tmp_path: Path) -> None:
    tokens = TensorInfo(name="tokens", shape=(-1, 7), dtype="int32")
    made = feeds(tmp_path, IMAGE, tokens, bounds=(0.0, 9.0))
    arrays = load_feed(made.evaluation().arrays)
    assert arrays["tokens"].dtype == np.int32
    assert arrays["tokens"].max() == 9
    assert arrays["image"].shape == (RANDOM_COUNT, 8, 8, 3)


# --- feeds and files -----------------------------------------------------------------------


def test_large_feeds_are_files_and_go_when_they_are_put_away(tmp_path: Path) -> None:
    spec = ModelSpec(name="m", input=ImageInput(height=64, width=64))
    info = TensorInfo(name="image", shape=(-1, 64, 64, 3), dtype="float32")
    made = feeds(tmp_path, info, spec=spec)
    feed = made.generated()
    (path,) = feed.arrays.values()
    assert isinstance(path, Path)
    assert feed.sample(3)["image"].shape == (1, 64, 64, 3)
    made.discard()
    assert not path.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_feed_of_arrays_is_known_by_every_byte() -> None:
    zeros = np.zeros((2, 3), np.float32)
    known = {
        Feed.of(arrays).sha256
        for arrays in (
            {"a": zeros},
            {"b": zeros},
            {"a": zeros.reshape(3, 2)},
            {"a": zeros.astype(np.int32)},
            {"a": zeros + 1e-30},
        )
    }
    assert len(known) == 5
    assert Feed.of({"a": zeros, "b": zeros}).sha256 == Feed.of({"b": zeros, "a": zeros}).sha256
    assert Feed.of({"a": zeros}).count == 2


def test_scratch_folders_of_processes_that_are_gone_are_removed(tmp_path: Path) -> None:
    for name in ("1", "999999999", "keep"):
        (tmp_path / name).mkdir()
    own = scratch_folder(tmp_path)
    assert own == tmp_path / str(os.getpid())
    assert {path.name for path in tmp_path.iterdir()} == {"1", "keep", own.name}
    assert scratch_folder(tmp_path) == own


def test_many_samples_are_prepared_in_parts_and_as_in_one(tmp_path: Path) -> None:
    spec = ModelSpec(name="m", input=ImageInput(height=224, width=224), dataset=digits.load)
    made = feeds(tmp_path, LARGE, spec=spec)
    feed = made.calibration()
    (path,) = feed.arrays.values()
    assert isinstance(path, Path)
    assert isinstance(spec.input, ImageInput)
    whole = preprocess(digits.load().calibration(feed.count).images, spec.input)
    np.testing.assert_array_equal(np.load(path), whole)
    np.testing.assert_array_equal(feed.sample(feed.count - 1)["image"], whole[-1:])


def test_an_identity_prepares_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec(name="m", input=ImageInput(height=224, width=224), dataset=digits.load)
    made = feeds(tmp_path, LARGE, spec=spec)
    monkeypatch.setattr(made, "_prepared", None)
    feed = made.evaluation()
    assert (feed.count, len(feed.sha256)) == (240, 64)
    with pytest.raises(TypeError):
        dict(feed.arrays)


def test_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.feeds._numbers", itertools.repeat(7))
    spec = ModelSpec(name="m", input=ImageInput(height=224, width=224), dataset=digits.load)
    feed = feeds(tmp_path, LARGE, spec=spec).evaluation()
    (tmp_path / f"7-{feed.sha256[:16]}-image.npy").symlink_to("/dev/full")
    with pytest.raises(PocketproofError, match=r"No space left on device\. Free some space there"):
        dict(feed.arrays)


def test_the_first_samples_are_read_when_they_are_looked_at(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(12.0).reshape(6, 2))
    whole = Feed(arrays={"x": tmp_path / "x.npy"}, count=6, sha256="6", labels=np.arange(6))
    few = whole.first(2)
    assert whole.first(6) is whole
    assert few.count == 2
    assert list(few.arrays) == ["x"]
    np.testing.assert_array_equal(few.labels, [0, 1])
    np.save(tmp_path / "x.npy", np.ones((6, 2)))  # not read yet
    np.testing.assert_array_equal(few.arrays["x"], np.ones((2, 2)))
    (tmp_path / "x.npy").unlink()  # and not read again
    np.testing.assert_array_equal(only(few.first(1)), np.ones((1, 2)))
    assert few.first(1).sha256 == whole.first(2).first(1).sha256 != few.sha256


def test_photos_are_made_once_for_the_variants_of_a_model(tmp_path: Path) -> None:
    spec = ModelSpec(name="m", input=ImageInput(height=8, width=8, preprocessing="tf"), dataset=digits.load)
    made = feeds(tmp_path, IMAGE, spec=spec)
    real, generated_ones = made.evaluation(), made.generated()
    photos = made.photos(real)
    assert made.photos(real) is photos
    assert made.photos(generated_ones) is not photos
    assert made.photos(real) is photos
    np.testing.assert_allclose(only(photos), (only(real) + 1) * 127.5, atol=1e-4)
    made.photos(real.first(1))  # the oldest makes room
    assert made.photos(real) is not photos
    made.discard()
    assert not made._photos


def test_two_models_that_are_fed_the_same_share_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.feeds._SMALL_BYTES", 0)
    spec = ModelSpec(name="m", input=ImageInput(height=8, width=8, preprocessing="tf"), dataset=digits.load)
    one, other = (feeds(tmp_path, IMAGE, spec=spec) for _ in range(2))
    assert one.evaluation().sha256 == other.evaluation().sha256
    expected = np.array(only(one.evaluation()))
    dict(other.evaluation().arrays)
    one.discard()
    np.testing.assert_array_equal(only(other.evaluation()), expected)
    other.discard()
    assert not list(tmp_path.iterdir())

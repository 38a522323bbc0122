"""The image contract, step by step, and as a whole against Keras."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from suite.errors import UsageError
from suite.preprocess import centre_crop, decode, grey, pixels, preprocess
from suite.spec import PREPROCESSING, ImageInput, Preprocessing, Resize


@pytest.fixture
def photos() -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, (3, 20, 30, 3)).astype(np.uint8)


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
def test_modes_agree_with_keras(mode: str, photos: np.ndarray) -> None:
    from keras.applications.imagenet_utils import preprocess_input

    ours = preprocess(photos, ImageInput(height=20, width=30, preprocessing=mode))
    theirs = preprocess_input(photos.astype(np.float32), data_format="channels_last", mode=mode)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4 if mode == "caffe" else 1e-6)


def test_the_modes_differ(photos: np.ndarray) -> None:
    """A comparison against Keras proves little if all modes gave the same."""
    answers = [
        preprocess(photos, ImageInput(height=20, width=30, preprocessing=mode)) for mode in PREPROCESSING
    ]
    for index, answer in enumerate(answers):
        assert all(np.abs(answer - other).max() > 0.1 for other in answers[index + 1 :])


def test_answer_is_contiguous_float32(photos: np.ndarray) -> None:
    answer = preprocess(photos, ImageInput(height=8, width=12, preprocessing="caffe"))
    assert answer.shape == (3, 8, 12, 3)
    assert answer.dtype == np.float32
    assert answer.flags.c_contiguous


def test_no_photos_give_an_empty_batch() -> None:
    assert preprocess([], ImageInput(height=8, width=12)).shape == (0, 8, 12, 3)


def test_photos_of_differing_size(photos: np.ndarray) -> None:
    contract = ImageInput(height=8, width=8)
    mixed = [photos[0], photos[1][:10, :10]]
    answer = preprocess(mixed, contract)
    np.testing.assert_array_equal(answer[:1], preprocess(photos[:1], contract))
    np.testing.assert_array_equal(answer[1:], preprocess(photos[1:2, :10, :10], contract))


def test_bgr_swaps_red_and_blue() -> None:
    red = np.zeros((1, 2, 2, 3), np.uint8)
    red[..., 0] = 200
    swapped = Preprocessing(name="bgr", scale=(1.0,) * 3, bias=(0.0,) * 3, channel_order="BGR")
    answer = preprocess(red, ImageInput(height=2, width=2, preprocessing=swapped))
    np.testing.assert_array_equal(answer[0, 0, 0], [0, 0, 200])


def test_squash_keeps_the_edges_and_centre_crop_cuts_them() -> None:
    photo = np.zeros((1, 4, 8, 3), np.uint8)
    photo[:, :, :2] = 255  # a white bar on the left, outside the centred square
    squashed = preprocess(photo, ImageInput(height=4, width=4, resize=Resize.SQUASH))
    cropped = preprocess(photo, ImageInput(height=4, width=4, resize=Resize.CENTRE_CROP))
    assert squashed[:, :, 0].min() > 200
    assert cropped.max() == 0


@pytest.mark.parametrize(
    ("have", "want", "box"),
    [
        ((24, 32), (10, 10), (24, 24)),
        ((32, 24), (10, 10), (24, 24)),
        ((30, 30), (10, 20), (15, 30)),
        ((5, 5), (7, 7), (5, 5)),
        ((1, 9), (9, 1), (1, 1)),
    ],
)
def test_centre_crop_takes_the_largest_box(
    have: tuple[int, int], want: tuple[int, int], box: tuple[int, int]
) -> None:
    assert centre_crop(np.zeros((*have, 3), np.uint8), *want).shape[:2] == box


def test_interpolations_differ() -> None:
    photo = np.zeros((1, 2, 2, 3), np.uint8)
    photo[:, :, 1] = 255
    rows = {
        name: preprocess(photo, ImageInput(height=8, width=8, interpolation=name))[0, 0, :, 0]
        for name in ("nearest", "bilinear", "bicubic")
    }
    assert set(rows["nearest"]) == {0, 255}
    assert len(set(rows["bilinear"])) > 2
    assert not np.array_equal(rows["bilinear"], rows["bicubic"])


def test_grey_is_the_luma() -> None:
    photo = np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]], np.uint8)
    answer = preprocess(photo, ImageInput(height=1, width=3, channels=1, preprocessing="unit"))
    np.testing.assert_allclose(answer[0, 0, :, 0], [0.299, 0.587, 0.114], rtol=1e-5)


@pytest.mark.parametrize("mode", ["unit", "tf", "caffe"])
def test_what_was_prepared_is_led_back_to_its_pixels(mode: str, photos: np.ndarray) -> None:
    size = photos.shape[1:3]
    contract = ImageInput(height=size[0], width=size[1], preprocessing=mode)
    found = pixels(preprocess(photos, contract), contract)
    np.testing.assert_array_equal(found, photos)
    assert found.dtype == np.uint8


def test_grey_pixels_are_not_rounded(photos: np.ndarray) -> None:
    size = photos.shape[1:3]
    contract = ImageInput(height=size[0], width=size[1], channels=1, preprocessing="unit")
    prepared = preprocess(photos, contract)
    found = pixels(prepared, contract)
    np.testing.assert_allclose(found, np.stack([grey(photo) for photo in photos]), atol=1e-3)
    assert found.dtype == np.float32
    assert (found % 1).any()
    assert 0 <= found.min() <= found.max() <= 255
    for wrong in (prepared + 1, prepared - 1, prepared * np.nan):
        with pytest.raises(UsageError, match=r"no photos prepared as unit: .* expected ones of 0..255"):
            pixels(wrong, contract)
    coloured = ImageInput(height=size[0], width=size[1], preprocessing="unit")
    with pytest.raises(UsageError, match=r"expected whole ones of 0..255"):
        pixels(preprocess(photos, coloured) + 0.5 / 255, coloured)


@pytest.mark.parametrize(
    ("contract", "found", "remedy"),
    [
        (ImageInput(height=2, width=2, preprocessing="coffee"), "'coffee'", "caffe"),
        (ImageInput(height=2, width=2, interpolation="lanczos"), "'lanczos'", "bilinear"),
        (ImageInput(height=2, width=2, channels=1, preprocessing="torch"), "'torch'", "the same for all"),
        (ImageInput(height=2, width=2, channels=4), "channels=4", "expected 3"),
    ],
)
def test_contracts_that_make_no_sense(contract: ImageInput, found: str, remedy: str) -> None:
    with pytest.raises(UsageError) as error:
        preprocess(np.zeros((1, 2, 2, 3), np.uint8), contract)
    assert found in str(error.value)
    assert remedy in str(error.value)


@pytest.mark.parametrize(
    "photo", [np.zeros((2, 2, 3), np.float32), np.zeros((2, 2), np.uint8), np.zeros((2, 2, 4), np.uint8)]
)
def test_what_is_no_photo_is_refused(photo: np.ndarray) -> None:
    good = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(UsageError, match=r"photo 1 is .* expected uint8 \(height, width, 3\)"):
        preprocess([good, photo], ImageInput(height=2, width=2))


def _encoded(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, **options)
    return stream.getvalue()


def test_decode_gives_the_pixels(photos: np.ndarray, tmp_path: Path) -> None:
    data = _encoded(Image.fromarray(photos[0]), format="PNG")
    (tmp_path / "photo.png").write_bytes(data)
    np.testing.assert_array_equal(decode(data), photos[0])
    np.testing.assert_array_equal(decode(tmp_path / "photo.png"), photos[0])
    np.testing.assert_array_equal(decode(str(tmp_path / "photo.png")), photos[0])


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda stored: stored),
        (2, lambda stored: stored[:, ::-1]),
        (3, lambda stored: np.rot90(stored, 2)),
        (4, lambda stored: stored[::-1]),
        (5, lambda stored: np.rot90(stored, -1)[:, ::-1]),
        (6, lambda stored: np.rot90(stored, -1)),
        (7, lambda stored: np.rot90(stored, 1)[:, ::-1]),
        (8, lambda stored: np.rot90(stored, 1)),
    ],
)
def test_decode_turns_the_photo_upright(orientation: int, upright: object, photos: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = photos[0]
    answer = decode(_encoded(Image.fromarray(stored), format="PNG", exif=exif))
    np.testing.assert_array_equal(answer, upright(stored))  # type: ignore[operator]


def test_decode_gives_rgb_whatever_the_file_holds() -> None:
    levels = np.array([[0, 128, 255]], np.uint8)
    for image in (
        Image.fromarray(levels),
        Image.fromarray(levels.astype(np.uint16) * 257),
        Image.fromarray(levels).convert("RGBA"),
        Image.fromarray(levels).convert("RGB").quantize(4),
    ):
        answer = decode(_encoded(image, format="PNG"))
        np.testing.assert_array_equal(answer, np.repeat(levels[..., None], 3, -1))


def test_decode_names_what_is_no_image(tmp_path: Path, photos: np.ndarray) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("not a photo")
    with pytest.raises(UsageError, match=r"notes\.jpg cannot be read as an image .*: remove it"):
        decode(text)
    broken = tmp_path / "broken.png"
    broken.write_bytes(_encoded(Image.fromarray(photos[0]), format="PNG")[:200])
    with pytest.raises(UsageError, match=r"broken\.png cannot be read as an image .*: remove it"):
        decode(broken)
    with pytest.raises(UsageError, match=r"no such image: .*gone\.png: check the path"):
        decode(tmp_path / "gone.png")
    with pytest.raises(UsageError, match="the given bytes cannot be read"):
        decode(b"")

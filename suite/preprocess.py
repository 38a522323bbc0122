"""Photos in, model input out: the whole image contract of a model, step by step, in NumPy and Pillow.

The order is fixed: geometry, interpolation, grey, channel order, scale and
bias. An app that does otherwise is wrong for the model, however well its
artifact was converted.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from suite.errors import UsageError
from suite.spec import FloatArray, ImageInput, Preprocessing, Resize

if TYPE_CHECKING:
    from PIL import Image

Photo = npt.NDArray[np.uint8]

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
_ROUNDING = 0.01  # of a pixel; what scale and bias lose in float32 is a hundredth of that
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601


def preprocess(photos: Iterable[Any], input: ImageInput) -> FloatArray:
    """Photos as the model takes them: float32 (n, height, width, channels).

    `photos` are uint8 RGB, one array (n, h, w, 3) or a sequence of (h, w, 3)
    whose sizes may differ; each is read once, in order.
    """
    mode = _mode(input)
    batch = [_pixels(_checked(photo, index), input) for index, photo in enumerate(photos)]
    if not batch:
        return np.empty((0, *input.shape), np.float32)
    return normalise(np.stack(batch), mode, input.channels)


def normalise(pixels: npt.NDArray[Any], mode: Preprocessing, channels: int = 3) -> FloatArray:
    """RGB or grey pixels 0..255, (..., channels), to the model's channel order, scale and bias."""
    if channels == 3 and mode.channel_order == "BGR":
        pixels = pixels[..., ::-1]
    # Whole rows at once: NumPy's inner loop over three channels takes ten times as long.
    rows = pixels.reshape(*pixels.shape[:-2], -1)
    scale, bias = _along_a_row(mode, pixels.shape)
    tensors = np.multiply(rows, scale, dtype=np.float32)
    tensors += bias
    return tensors.reshape(pixels.shape)


def pixels(tensors: npt.NDArray[Any], input: ImageInput) -> Photo | FloatArray:
    """The pixels, (n, height, width, channels), that `normalise` made `tensors` of.

    RGB ones are uint8; grey ones float32, for luma is not rounded. For
    artifacts that prepare their photos themselves. UsageError for tensors that
    no photo gives.
    """
    mode = _mode(input)
    tensors = np.asarray(tensors, np.float32)
    photos: npt.NDArray[Any] = np.empty(tensors.shape, np.float32 if input.channels == 1 else np.uint8)
    for photo, tensor in zip(photos, tensors, strict=True):  # one fits into a processor's cache
        photo[...] = _photo(tensor, mode)
    if input.channels == 3 and mode.channel_order == "BGR":
        return photos[..., ::-1].copy()
    return photos


def _photo(tensor: FloatArray, mode: Preprocessing) -> FloatArray:
    """The pixels of one tensor (height, width, channels), in its own order of channels."""
    whole = tensor.shape[-1] == 3
    scale, bias = _along_a_row(mode, tensor.shape)
    exact = (tensor.reshape(len(tensor), -1) - bias) / scale
    nearest = np.clip(np.rint(exact) if whole else exact, 0, 255)
    if not (np.abs(exact - nearest) <= _ROUNDING).all():
        raise UsageError(
            f"the samples are no photos prepared as {mode.name}: pixels from {exact.min():.4g} to "
            f"{exact.max():.4g} would be needed, expected {'whole ' if whole else ''}ones of "
            "0..255. Give the data set as photos, or state the preprocessing that they were made with"
        )
    return nearest.reshape(tensor.shape)


def _along_a_row(mode: Preprocessing, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """Scale and bias of each value in a row of pixels (..., width, channels), (width * channels,)."""
    *_, width, channels = shape
    scale, bias = (np.array(values[:channels], np.float32) for values in (mode.scale, mode.bias))
    return np.tile(scale, width), np.tile(bias, width)


def decode(source: Path | str | bytes) -> Photo:
    """An image file, or its bytes, as uint8 RGB (h, w, 3), turned upright as its EXIF orientation says."""
    from PIL import Image, ImageOps

    name = "the given bytes" if isinstance(source, bytes) else str(source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return np.asarray(_rgb(ImageOps.exif_transpose(image)), np.uint8)
    except FileNotFoundError:
        raise UsageError(f"no such image: {name}: check the path") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(
            f"{name} cannot be read as an image ({_one_line(error)}): "
            "remove it, or replace it by a whole image file"
        ) from error


def resize(photo: Photo, input: ImageInput) -> Photo:
    """One photo (h, w, 3) at the model's height and width, still uint8 RGB."""
    from PIL import Image

    if input.resize is Resize.CENTRE_CROP:
        photo = centre_crop(photo, input.height, input.width)
    if photo.shape[:2] == (input.height, input.width):
        return photo
    method = Image.Resampling[input.interpolation.upper()]
    return np.asarray(Image.fromarray(photo).resize((input.width, input.height), method))


def centre_crop(photo: Photo, height: int, width: int) -> Photo:
    """The largest centred box of the aspect ratio width:height, in whole pixels, not scaled."""
    have_height, have_width = photo.shape[:2]
    top, left, box_height, box_width = crop_box(have_height, have_width, height, width)
    return photo[top : top + box_height, left : left + box_width]


def crop_box(have_height: int, have_width: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the box that `centre_crop` cuts out."""
    scale = min(have_height / height, have_width / width)
    box_height = min(have_height, max(1, round(height * scale)))
    box_width = min(have_width, max(1, round(width * scale)))
    return (have_height - box_height) // 2, (have_width - box_width) // 2, box_height, box_width


def grey(photo: Photo) -> npt.NDArray[np.float32]:
    """ITU-R 601 luma of a photo, (h, w, 1), 0..255, not rounded."""
    return (photo.astype(np.float32) @ _LUMA)[..., None]


def _pixels(photo: Photo, input: ImageInput) -> npt.NDArray[Any]:
    resized = resize(photo, input)
    return grey(resized) if input.channels == 1 else resized


def _checked(photo: Any, index: int) -> Photo:
    array = np.asarray(photo)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3 or 0 in array.shape:
        raise UsageError(
            f"photo {index} is {array.dtype} {array.shape}, expected uint8 (height, width, 3) in RGB: "
            "convert it, or give the data set as tensors (photos=False)"
        )
    return array


def _mode(input: ImageInput) -> Preprocessing:
    """The preprocessing, once the contract is known to make sense."""
    try:
        mode = input.mode
    except KeyError:
        from suite.spec import PREPROCESSING

        raise UsageError(
            f"unknown preprocessing {input.preprocessing!r}: "
            f"name one of {', '.join(PREPROCESSING)}, or give a Preprocessing"
        ) from None
    if input.interpolation not in INTERPOLATIONS:
        raise UsageError(
            f"unknown interpolation {input.interpolation!r}: name one of {', '.join(INTERPOLATIONS)}"
        )
    if mode.channel_order not in ("RGB", "BGR"):
        raise UsageError(f"unknown channel order {mode.channel_order!r}: it is RGB or BGR")
    if input.channels == 1 and (len(set(mode.scale)) > 1 or len(set(mode.bias)) > 1):
        raise UsageError(
            f"preprocessing {mode.name!r} treats the three channels differently, and a grey image has one: "
            "give a Preprocessing whose scale and bias are the same for all channels"
        )
    if input.channels not in (1, 3):
        raise UsageError(f"found channels={input.channels}, expected 3, or 1 for grey")
    return mode


def _rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I;16"):  # converting as it is would clip at 255, not scale
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8)).convert("RGB")
    # By way of RGBA a palette's transparency is dropped rather than warned of.
    return image.convert("RGBA").convert("RGB") if image.mode == "P" else image.convert("RGB")


def _one_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__

"""Faults of the app around a good file: how it prepares photos, and how it names answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from suite.preprocess import preprocess
from suite.spec import FloatArray, ImageInput, Preprocessing, Resize


def channels_exchanged(photos: Any, image: ImageInput) -> FloatArray:
    """The camera's BGR goes in where the model takes RGB, or the other way round."""
    order = "RGB" if image.mode.channel_order == "BGR" else "BGR"
    return preprocess(photos, _with(image, channel_order=order))


def mean_of_unit_values(photos: Any, image: ImageInput) -> FloatArray:
    """-123.68/255 and its like are added to pixels of 0..255: nothing is centred."""
    scale = (image.mode.scale[0] * 255,) * 3 if image.mode.scale[0] < 1 / 100 else (1.0,) * 3
    bias = tuple(value / 255 for value in (-123.68, -116.779, -103.939))
    return preprocess(photos, _with(image, scale=scale, bias=bias))


def scaling_missing(photos: Any, image: ImageInput) -> FloatArray:
    """Pixels of 0..255 go in as they are, in the right order."""
    return preprocess(photos, _with(image, scale=(1.0,) * 3, bias=(0.0,) * 3))


def scaling_doubled(photos: Any, image: ImageInput) -> FloatArray:
    """Pixels were divided by 255 before the model's own preprocessing."""
    return preprocess(photos, _with(image, scale=tuple(value / 255 for value in image.mode.scale)))


def mean_order_wrong(photos: Any, image: ImageInput) -> FloatArray:
    """The means are those of the channels in reverse order."""
    return preprocess(photos, _with(image, bias=image.mode.bias[::-1], scale=image.mode.scale[::-1]))


def geometry_exchanged(photos: Any, image: ImageInput) -> FloatArray:
    """One app crops a square from the centre, the other squashes the frame."""
    other = Resize.SQUASH if image.resize is Resize.CENTRE_CROP else Resize.CENTRE_CROP
    return preprocess(photos, replace(image, resize=other))


def interpolation_nearest(photos: Any, image: ImageInput) -> FloatArray:
    """Photos are resized to the nearest pixel where they are to be interpolated."""
    return preprocess(photos, replace(image, interpolation="nearest"))


def rotated(photos: Any, image: ImageInput) -> FloatArray:
    """The sensor's orientation was not applied: photos lie on their side."""
    return preprocess([np.rot90(photo) for photo in photos], image)


def off_by_one(names: tuple[str, ...]) -> tuple[str, ...]:
    """The first line of the label file is missing."""
    return names[1:]


def background_first(names: tuple[str, ...]) -> tuple[str, ...]:
    """1001 lines for 1000 classes: `background` comes first."""
    return ("background", *names)


def shuffled(names: tuple[str, ...]) -> tuple[str, ...]:
    """The label file is in the order of another data set."""
    order = np.random.default_rng(0).permutation(len(names))
    return tuple(names[place] for place in order)


def duplicate_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Two classes share a name (`crane`), and answers are kept by name."""
    return (names[0], names[0], *names[2:])


def _with(image: ImageInput, **changes: Any) -> ImageInput:
    mode: Preprocessing = image.mode
    return replace(image, preprocessing=replace(mode, **changes))


PREPROCESSING: tuple[Callable[[Any, ImageInput], FloatArray], ...] = (
    channels_exchanged,
    mean_of_unit_values,
    scaling_missing,
    scaling_doubled,
    mean_order_wrong,
    geometry_exchanged,
    interpolation_nearest,
    rotated,
)
ON_PIXELS = (channels_exchanged, geometry_exchanged, interpolation_nearest, rotated)  # before any scaling
LABELS = (off_by_one, background_first, shuffled, duplicate_names)

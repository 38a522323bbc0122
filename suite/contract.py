"""From photo to label: what a file tells an app to do, held to what the fixture states.

The same files of photos go through the reference pipeline and through an app
that knows nothing but the artifact: the prepared tensors are equal within
rounding, and so are the names of the answers.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from suite.converters.contract import Stated, Told
from suite.preprocess import decode, preprocess
from suite.record.answers import Contract
from suite.spec import Array, FloatArray, ImageInput, Preprocessing, Resize

PHOTOS = 16
_PIXELS = Preprocessing(name="pixels", scale=(1.0,) * 3, bias=(0.0,) * 3, channel_order="RGB")
_SHOWN = 3  # labels that are named in a message


class Wrong(Exception):
    """What the artifact tells, what it should, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photos:
    """Some photos as files, and the scores (n, k) that the artifact gives to tensors of theirs."""

    files: Sequence[bytes]
    scores: Array | None  # by the reference pipeline; None where it answers no vector of scores
    answer: Callable[[FloatArray], Array | None]  # to tensors that an app prepared


def file(photo: Array) -> bytes:
    """A photo, uint8 (h, w, 3) RGB, as the bytes of a PNG."""
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(photo).save(written, "PNG", compress_level=1)
    return written.getvalue()


def measure(stated: Stated, told: Told, photos: Photos, *, converted: bool) -> Contract:
    """Both ways from the photos' bytes to the names of the answers.

    `converted` by this suite, an artifact tells all that is stated; one made
    elsewhere may leave something open.
    """
    wrong = missing(stated, told) if converted else []
    difference = same = None
    if stated.image is not None and told.described:
        try:
            prepared, difference = _both_ways(tuple(photos.files), stated.image, told)
        except Wrong as error:
            wrong.append(str(error))
        else:
            if told.labels is not None and stated.labels and photos.scores is not None:
                same = _same(
                    _names(photos.scores, stated.labels), _names(photos.answer(prepared), told.labels)
                )
    wrong += wrong_labels(stated.labels, told.labels)
    return Contract(
        photos=len(photos.files) if stated.image is not None else 0,
        max_pixel_diff=difference,
        labels=len(told.labels or ()),
        same_label=same,
        wrong=tuple(wrong),
        gaps=gaps(stated, told),
        in_words=in_words(stated, told),
        float16=told.float16,
    )


_kept: tuple[Any, tuple[FloatArray, float]] | None = None  # what was asked last, and found


def _both_ways(files: tuple[bytes, ...], image: ImageInput, told: Told) -> tuple[FloatArray, float]:
    """What an app makes of some photos, and how far from the reference pipeline that is, in pixel steps.

    The variants of a model tell the same, one after another: they share the answer.
    """
    global _kept
    asked, kept = (files, image, told), _kept
    if kept is None or kept[0] != asked:
        pictures = [decode(one) for one in files]
        prepared = app_tensors(pictures, image, told)
        prepared.setflags(write=False)
        kept = asked, (prepared, _in_pixels(preprocess(pictures, image), prepared, image))
        _kept = kept  # at once: other threads read it
    return kept[1]


def missing(stated: Stated, told: Told) -> list[str]:
    """What a .tflite of this suite must tell and does not."""
    if not told.by_metadata:
        return []
    if not told.described:
        return ["the artifact carries no metadata, and the fixture states a contract: convert it again"]
    if told.labels is None and stated.labels:
        return [f"the artifact names no scores, expected {len(stated.labels)} labels: convert it again"]
    return []


def app_tensors(photos: Iterable[Any], image: ImageInput, told: Told) -> FloatArray:
    """What an app feeds that does as it is told, and as the fixture states where it is told nothing."""
    channels = told.channels or _order(image)
    if (channels == "grey") != (image.channels == 1) or channels not in ("RGB", "BGR", "grey"):
        raise Wrong(
            f"the artifact tells an app to feed {channels}, the model takes {_order(image)}: "
            "write the metadata again"
        )
    try:
        geometry = Resize(told.resize) if told.resize else image.resize
        method = told.interpolation or image.interpolation
        as_told = replace(image, preprocessing=_PIXELS, resize=geometry, interpolation=method)
        pixels = preprocess(photos, as_told)
    except ValueError as error:
        raise Wrong(f"the artifact tells what no app can do ({error}): write the metadata again") from error
    mean, std = (np.array(values, np.float32) for values in (told.mean or (0.0,), told.std or (1.0,)))
    if not {len(mean), len(std)} <= {1, image.channels} or not (np.isfinite(mean).all() and (std > 0).all()):
        raise Wrong(
            f"the artifact tells of mean {told.mean} and deviation {told.std}, "
            f"expected {image.channels} numbers each, deviations above 0: write the metadata again"
        )
    if channels == "BGR":
        pixels = pixels[..., ::-1]
    return np.ascontiguousarray((pixels - mean) / std, np.float32)


def gaps(stated: Stated, told: Told) -> tuple[str, ...]:
    """What the artifact leaves to the app's author to know."""
    found = []
    if not told.described:
        found.append("the artifact carries no metadata: nothing tells an app how photos are prepared")
    elif stated.image is not None:
        open_words = {
            # What readers take for granted: the whole photo, bilinear.
            "how a photo is resized": not told.resize and stated.image.resize is not Resize.SQUASH,
            "how pixels are interpolated": not told.interpolation
            and stated.image.interpolation != "bilinear",
            "the order of channels": not told.channels,
        }
        found += [f"the artifact does not say {what}" for what, missing in open_words.items() if missing]
    if told.labels is None and stated.labels:
        found.append("the artifact does not name its scores")
    elif not stated.labels:
        found.append("nothing names the model's scores: give the fixture `labels`")
    return tuple(found)


def in_words(stated: Stated, told: Told) -> tuple[str, ...]:
    """What the artifact says in a description alone, because the format has no field for it."""
    if stated.image is None:
        return ()
    said = {
        f"the resize, {told.resize}": bool(told.resize) and told.resize != Resize.SQUASH,
        f"the interpolation, {told.interpolation}": told.interpolation not in ("", "bilinear"),
        "red and blue exchanged, BGR": told.channels == "BGR" and told.by_metadata,
    }
    return tuple(what for what, so in said.items() if so)


def wrong_labels(stated: tuple[str, ...], told: tuple[str, ...] | None) -> list[str]:
    """Why an app would name answers wrongly; nothing where either side names none."""
    if told is None or not stated:
        return []
    twice = sorted(label for label, count in Counter(told).items() if count > 1)
    if twice:
        return [
            f"the labels {', '.join(twice[:_SHOWN])} stand for several scores each: in a dictionary by label "
            "they overwrite one another. Make every label its own, for example with the class number in it"
        ]
    if len(told) != len(stated):
        return [
            f"found {len(told)} labels, expected {len(stated)}: every index is off after the first gap. "
            "Is a `background` too much, or missing?"
        ]
    off = [place for place, (one, other) in enumerate(zip(told, stated, strict=True)) if one != other]
    if off:
        return [
            f"label {off[0]} is {told[off[0]]!r}, expected {stated[off[0]]!r}, and so for {len(off)} of "
            f"{len(stated)}: answers get wrong names. Give the labels in the model's order"
        ]
    return []


def _order(image: ImageInput) -> str:
    return "grey" if image.channels == 1 else image.mode.channel_order


def _in_pixels(expected: FloatArray, found: FloatArray, image: ImageInput) -> float:
    """The largest difference, in steps of a photo's 0..255."""
    scale = np.abs(np.array(image.mode.scale[: image.channels], np.float64))
    by_channel = [  # one by one: NumPy is slow along an axis of three
        np.abs(np.subtract(expected[..., channel], found[..., channel], dtype=np.float64)).max()
        for channel in range(image.channels)
    ]
    return float((by_channel / scale).max())


def _names(scores: Array | None, labels: tuple[str, ...]) -> list[str]:
    """The label of each sample's highest score; empty where it has none."""
    best = [] if scores is None else np.argmax(scores, axis=-1)
    return [labels[place] if place < len(labels) else "" for place in best]


def _same(expected: list[str], found: list[str]) -> float:
    pairs = list(zip(expected, found, strict=True))
    return sum(one == other != "" for one, other in pairs) / len(pairs)

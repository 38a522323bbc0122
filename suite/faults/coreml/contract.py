"""Faults of what the file tells an app: how photos are read, and what the scores are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from suite.coreml.checks.subject import PHOTO_STEPS
from suite.faults.coreml.package import Package
from suite.faults.sites import Inapplicable
from suite.spec import Array


def image_colours_exchanged(package: Package) -> None:
    """The image type says RGB where the model takes BGR, or the other way round: the flag was forgotten."""
    for feature in package.spec.description.input:
        kind = feature.type.imageType
        if feature.type.HasField("imageType") and kind.colorSpace in (kind.RGB, kind.BGR):
            kind.colorSpace = kind.RGB if kind.colorSpace == kind.BGR else kind.BGR
            return
    raise Inapplicable("the model takes no photo in colour")


def image_scale_wrong(package: Package) -> None:
    """The image type scales photos to half of what the model was trained on."""
    operation = _photo_step(package, PHOTO_STEPS[0])
    values = package.constant(operation, "y")
    package.put(operation, "y", values / 2)


def image_scale_missing(package: Package) -> None:
    """The image type has no scale: pixels of 0..255 go in."""
    operation = _photo_step(package, PHOTO_STEPS[0])
    package.put(operation, "y", np.ones_like(package.constant(operation, "y")))


def image_shift_missing(package: Package) -> None:
    """The image type has no bias: nothing is centred."""
    operation, shift = _shift(package)
    package.put(operation, "y", np.zeros_like(shift))


def image_shift_reversed(package: Package) -> None:
    """The image type's biases are those of the channels in reverse order."""
    operation, shift = _shift(package)
    if shift.size != 3 or np.array_equal(shift.reshape(-1), shift.reshape(-1)[::-1]):
        raise Inapplicable("all channels are shifted alike")
    package.put(operation, "y", shift.reshape(-1)[::-1])


def relabel(package: Package, rename: Callable[[tuple[str, ...]], tuple[str, ...]]) -> None:
    """Write other class labels into the file."""
    found = package.operations("classify")
    message = package.value(found[0], "classes") if found else None
    if message is None or message.WhichOneof("value") != "immediateValue":
        raise Inapplicable("the file holds no labels")
    values = message.immediateValue.list.values
    texts = tuple(one.immediateValue.tensor.strings.values[0] for one in values)
    first = type(values[0]).FromString(values[0].SerializeToString())
    del values[:]
    for text in rename(texts):
        values.add().CopyFrom(first)
        values[-1].immediateValue.tensor.strings.values[:] = [text]
    if message.type.listType.length.HasField("constant"):
        message.type.listType.length.constant.size = len(values)


def _photo_step(package: Package, suffix: str) -> Any:
    for operation in package.operations("mul", "add"):
        if operation.outputs[0].name.endswith(suffix) and package.values(operation, "y") is not None:
            return operation
    raise Inapplicable("the file does not do that to photos")


def _shift(package: Package) -> tuple[Any, Array]:
    operation = _photo_step(package, PHOTO_STEPS[1])
    shift = package.constant(operation, "y")
    if not shift.any():
        raise Inapplicable("the file shifts no photo")
    return operation, shift


FAULTS = (
    image_colours_exchanged,
    image_scale_wrong,
    image_scale_missing,
    image_shift_missing,
    image_shift_reversed,
)

"""Sizes that an input leaves open: ranges, and lists of shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from suite.coreml.ops.registry import integers
from suite.errors import CaseError
from suite.record import Stage

Range = tuple[int, int]  # both ends may be taken; the upper is -1 where there is none


def check(feature: Any, shape: Sequence[int]) -> None:
    """Raise CaseError for a shape that the description of an input does not allow.

    `shape` is (height, width) of a picture. An input of one fixed shape is not
    looked at here.
    """
    kind, sizes = feature.type.WhichOneof("Type"), tuple(shape)
    if kind == "multiArrayType":
        allowed, ranges = _of_array(feature.type.multiArrayType)
    elif kind == "imageType":
        allowed, ranges = _of_picture(feature.type.imageType)
    else:
        return
    if allowed and sizes not in allowed:
        raise _wrong(feature.name, sizes, " or ".join(_words(one) for one in allowed))
    if ranges and not (
        len(sizes) == len(ranges)
        and all(
            low <= size and (high < 0 or size <= high)
            for size, (low, high) in zip(sizes, ranges, strict=True)
        )
    ):
        raise _wrong(
            feature.name, sizes, " x ".join(f"{low}..{'' if high < 0 else high}" for low, high in ranges)
        )


def _of_array(array: Any) -> tuple[list[tuple[int, ...]], list[Range]]:
    """The shapes that are listed, or a range for each axis."""
    listed = [tuple(integers(one.shape)) for one in array.enumeratedShapes.shapes]
    return listed, [_range(one) for one in array.shapeRange.sizeRanges]


def _of_picture(picture: Any) -> tuple[list[tuple[int, ...]], list[Range]]:
    listed = [(int(one.height), int(one.width)) for one in picture.enumeratedSizes.sizes]
    if not picture.HasField("imageSizeRange"):
        return list(listed), []
    return [], [_range(picture.imageSizeRange.heightRange), _range(picture.imageSizeRange.widthRange)]


def _range(message: Any) -> Range:
    return int(message.lowerBound), int(message.upperBound)


def _words(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _wrong(name: str, shape: Sequence[int], allowed: str) -> CaseError:
    return CaseError(
        f"the input {name} is {_words(shape)}, the model takes {allowed}: Core ML refuses it. "
        "Give it in an allowed size, or convert with a wider range",
        stage=Stage.RUN,
    )

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
    sizes = tuple(shape)
    ranges, listed = allowed(feature.type)
    if listed and sizes not in listed:
        raise _wrong(feature.name, sizes, " or ".join(_words(one) for one in listed))
    if ranges and not (
        len(sizes) == len(ranges)
        and all(
            low <= size and (high < 0 or size <= high)
            for size, (low, high) in zip(sizes, ranges, strict=True)
        )
    ):
        raise _wrong(feature.name, sizes, " x ".join(range_words(*one) for one in ranges))


def allowed(kind: Any) -> tuple[list[Range], list[tuple[int, ...]]]:
    """A range for each axis, or the shapes that are listed; neither for a fixed shape.

    `kind` is the type of a feature; the axes of a picture are height and width.
    """
    if kind.WhichOneof("Type") == "imageType":
        picture = kind.imageType
        if not picture.HasField("imageSizeRange"):
            return [], [(int(one.height), int(one.width)) for one in picture.enumeratedSizes.sizes]
        return [_range(picture.imageSizeRange.heightRange), _range(picture.imageSizeRange.widthRange)], []
    array = kind.multiArrayType  # empty where it is something else
    shapes = [tuple(integers(one.shape)) for one in array.enumeratedShapes.shapes]
    return [_range(one) for one in array.shapeRange.sizeRanges], shapes


def range_words(low: int, high: int) -> str:
    """`3`, `3..5`, `3..`."""
    return str(low) if low == high else f"{low}..{'' if high < 0 else high}"


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

"""Pictures as Core ML's image inputs take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.errors import CaseError, UsageError
from suite.record import Stage
from suite.spec import Array

_SPACES = {10: "GRAY", 20: "RGB", 30: "BGR", 40: "GRAY_FLOAT16"}


@dataclass(frozen=True, slots=True)
class Picture:
    """An image input or output: `space` is RGB, BGR, GRAY or GRAY_FLOAT16; sizes of 0 are free."""

    height: int
    width: int
    space: str

    @property
    def channels(self) -> int:
        """3, or 1 for grey."""
        return 3 if self.space in ("RGB", "BGR") else 1

    @property
    def dtype(self) -> str:
        """Of the pixels that an app hands over."""
        return "float16" if self.space == "GRAY_FLOAT16" else "uint8"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels), -1 where the size is free."""
        return self.height or -1, self.width or -1, self.channels


def picture(feature: Any) -> Picture:
    """The image type of a feature description; CaseError for a colour space that is not known."""
    kind = feature.type.imageType
    if kind.colorSpace not in _SPACES:
        raise CaseError(
            f"the input {feature.name} has colour space {kind.colorSpace}: known are {_SPACES}",
            stage=Stage.LOAD,
        )
    free = kind.WhichOneof("SizeFlexibility") is not None
    height, width = (0, 0) if free else (int(kind.height), int(kind.width))
    return Picture(height, width, _SPACES[kind.colorSpace])


def planes(image: Any, kind: Picture, name: str) -> Array:
    """A picture as the first operation sees it: float32 (1, channels, height, width).

    `image` is a PIL image, of mode F where grey is float16, or an array
    (height, width, 3) in RGB; grey is (height, width) or (height, width, 1).
    Pixels are 0..255, whole or not; the planes are in the declared order of
    colours. UsageError where it does not fit.
    """
    if hasattr(image, "convert"):
        whole = "RGB" if kind.channels == 3 else "L"
        image = image if image.mode == "F" and kind.dtype == "float16" else image.convert(whole)
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if (
        pixels.ndim != 3
        or pixels.dtype.kind not in "uif"
        or any(want not in (-1, have) for have, want in zip(pixels.shape, kind.shape, strict=True))
    ):
        raise UsageError(
            f"the input {name} takes a picture of {kind.shape}, pixels 0..255 in "
            f"{'RGB' if kind.channels == 3 else 'grey'}; found {pixels.dtype} {pixels.shape}"
        )
    if kind.space == "BGR":
        pixels = pixels[..., ::-1]
    return np.moveaxis(np.ascontiguousarray(pixels, np.float32), -1, 0)[None]

"""Small pictures that stand in a page, and small changes to photos."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np

from suite.spec import Array

SIDE = 48  # pixels of a thumbnail's longer side, at most
_QUALITY = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A real photo, changed so little that a person would not mind.

    `right` and `down` are in hundredths of the width and height; `light` in
    pixel values; `contrast` in hundredths of the distance to mid grey; `noise`
    the deviation in pixel values; `blend` in hundredths of `other`.
    """

    sample: int
    right: int = 0
    down: int = 0
    light: int = 0
    contrast: int = 100
    noise: int = 0
    seed: int = 0
    other: int = 0
    blend: int = 0

    def __str__(self) -> str:
        words = [f"sample {self.sample}"]
        if self.right or self.down:
            words.append(f"shifted by {self.right} % and {self.down} %")
        if self.light:
            words.append(f"{abs(self.light)} {'lighter' if self.light > 0 else 'darker'}")
        if self.contrast != 100:
            words.append(f"contrast {self.contrast} %")
        if self.noise:
            words.append(f"noise {self.noise} (seed {self.seed})")
        if self.blend:
            words.append(f"{self.blend} % of sample {self.other}")
        return ", ".join(words)

    def applied(self, photo: Array, other: Array) -> Array:
        """The photo, uint8 (height, width, 3); `other` is of the same size."""
        height, width = photo.shape[:2]
        rows = np.clip(np.arange(height) - round(self.down * height / 100), 0, height - 1)
        columns = np.clip(np.arange(width) - round(self.right * width / 100), 0, width - 1)
        values = photo[rows][:, columns].astype(np.float64)
        values += (other.astype(np.float64) - values) * (self.blend / 100)
        values = (values - 127.5) * (self.contrast / 100) + 127.5 + self.light
        if self.noise:
            values += np.random.default_rng(self.seed).normal(0, self.noise, values.shape)
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def thumbnail(photo: Array) -> str:
    """A data URI of uint8 (height, width, 3), at most SIDE pixels each way; about a kilobyte."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(photo))
    image.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"

"""How a variant is told from the others in every plot: a shape of its own, and a colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

COLOURS = 6  # series of the style sheet
# SVG paths about the origin, of much the same area. One for each variant there is:
# shapes alone tell them apart, on paper and to who sees no colours.
SHAPES: tuple[str, ...] = (
    "M1,0A1,1,0,1,1,-1,0A1,1,0,1,1,1,0Z",  # circle
    "M-.9,-.9H.9V.9H-.9Z",  # square
    "M0,-1.2L1.1,.8H-1.1Z",  # triangle
    "M0,-1.25L1.05,0L0,1.25L-1.05,0Z",  # diamond
    "M0,1.2L1.1,-.8H-1.1Z",  # triangle, downwards
    "M-.38,-1.15H.38V-.38H1.15V.38H.38V1.15H-.38V.38H-1.15V-.38H-.38Z",  # plus
    "M0,-.5L.6,-1.1L1.1,-.6L.5,0L1.1,.6L.6,1.1L0,.5L-.6,1.1L-1.1,.6L-.5,0L-1.1,-.6L-.6,-1.1Z",  # cross
    "M-1.3,-.5H1.3V.5H-1.3Z",  # bar, lying
    "M-.5,-1.3H.5V1.3H-.5Z",  # bar, upright
    "M-1.2,0L.8,-1.1V1.1Z",  # triangle, to the left
    "M0,-1.3L.38,-.45L1.3,-.4L.6,.2L.8,1.1L0,.6L-.8,1.1L-.6,.2L-1.3,-.4L-.38,-.45Z",  # star
    "M1.2,0L-.8,-1.1V1.1Z",  # triangle, to the right
)


@dataclass(frozen=True, slots=True)
class Mark:
    """One variant's."""

    series: int  # of the style sheet, from 1
    path: str


def marks(variants: Sequence[str]) -> dict[str, Mark]:
    """By variant; beyond COLOURS colours come again, beyond SHAPES shapes do, of another colour."""
    return {
        variant: Mark((place + place // len(SHAPES)) % COLOURS + 1, SHAPES[place % len(SHAPES)])
        for place, variant in enumerate(variants)
    }

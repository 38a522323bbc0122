"""Where the names of points go, so that none lies on another: pixels, from the top left of a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LETTER = 6.2  # width of a letter of 11 pixels, generously
LINE = 14.0  # from one line of text to the next
GAP = 9.0  # between a point and its name
MARK = 6.0  # half the width of a point
_ON_A_MARK = 40.0  # as bad as so many pixels further away
_ON_THE_LEFT = 4.0  # names stand on the right unless that is worse


@dataclass(frozen=True, slots=True)
class Label:
    """A name, where its text begins, and the point that it belongs to."""

    text: str
    x: float  # left edge
    y: float  # middle
    point_x: float
    point_y: float

    @property
    def width(self) -> float:
        """Of the text, at most."""
        return LETTER * len(self.text)

    @property
    def far(self) -> bool:
        """Whether a line must lead from the point to the name."""
        return abs(self.y - self.point_y) > LINE

    @property
    def near_edge(self) -> float:
        """Where such a line ends."""
        return self.x - 2 if self.x > self.point_x else self.x + self.width + 2

    def overlaps(self, other: Label) -> bool:
        """Whether the texts lie on one another."""
        apart = self.x + self.width <= other.x or other.x + other.width <= self.x
        return not apart and abs(self.y - other.y) < LINE

    def covers(self, x: float, y: float) -> bool:
        """Whether the text lies on a point."""
        return self.x - MARK < x < self.x + self.width + MARK and abs(self.y - y) < LINE / 2 + MARK


def place(
    named: Sequence[tuple[str, float, float]], marks: Sequence[tuple[float, float]], width: float
) -> list[Label]:
    """A label for each (name, x, y): beside its point where there is room, else as near as can be.

    `marks` are all points of the drawing, which is `width` wide; a name may
    cover one where nothing else is left, but never another name.
    """
    placed: list[Label] = []
    for text, x, y in sorted(named, key=lambda point: (point[2], point[1])):
        free = (
            label
            for label in _places(text, x, y, len(named))
            if not any(label.overlaps(other) for other in placed)
        )
        placed.append(min(free, key=lambda label: _cost(label, marks, width)))
    return placed


def _places(text: str, x: float, y: float, count: int) -> list[Label]:
    """Right and left of the point, and line by line away from it: one more than other names can take."""
    steps = [direction * step * LINE / 2 for step in range(2 * count + 3) for direction in (1, -1)]
    sides = (x + GAP, x - GAP - LETTER * len(text))
    return [Label(text, side, y + step, x, y) for step in steps for side in sides]


def _cost(label: Label, marks: Sequence[tuple[float, float]], width: float) -> float:
    outside = max(0.0, -label.x) + max(0.0, label.x + label.width - width)
    on_marks = sum(label.covers(x, y) for x, y in marks)
    left = _ON_THE_LEFT if label.x < label.point_x else 0.0
    return abs(label.y - label.point_y) + _ON_A_MARK * on_marks + left + 10 * outside

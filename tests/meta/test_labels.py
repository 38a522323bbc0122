"""Names of points never lie on one another, stand beside their point where they can, and stay inside."""

from __future__ import annotations

from itertools import combinations

import pytest

from suite.report import labels

WIDTH = 390.0


def overlapping(placed: list[labels.Label]) -> list[tuple[str, str]]:
    return [(a.text, b.text) for a, b in combinations(placed, 2) if a.overlaps(b)]


@pytest.mark.parametrize(
    "points",
    [
        [(f"model_{index}", 100.0, 100.0) for index in range(16)],  # all in one place
        [(f"inception_v{index}", 200.0 + index, 50.0 + 4 * index) for index in range(12)],
        [("a" * 30, 380.0, 10.0), ("b" * 30, 385.0, 12.0), ("c", 0.0, 290.0)],
    ],
)
def test_no_two_names_lie_on_one_another(points: list[tuple[str, float, float]]) -> None:
    placed = labels.place(points, [(x, y) for _, x, y in points], WIDTH)
    assert sorted(label.text for label in placed) == sorted(name for name, _, _ in points)
    assert overlapping(placed) == []


def test_names_beside_their_points_would_lie_on_one_another() -> None:
    """The planted bad way, which the check finds."""
    beside = [labels.Label(f"model_{i}", 109.0, 100.0 + 5 * i, 100.0, 100.0 + 5 * i) for i in range(3)]
    assert overlapping(beside) == [("model_0", "model_1"), ("model_0", "model_2"), ("model_1", "model_2")]


def test_a_name_with_room_stands_right_of_its_point_and_needs_no_line() -> None:
    (label,) = labels.place([("squeezenet", 100.0, 50.0)], [(100.0, 50.0)], WIDTH)
    assert (label.x, label.y, label.far) == (100.0 + labels.GAP, 50.0, False)


def test_a_name_at_the_right_edge_goes_to_the_left() -> None:
    (label,) = labels.place([("squeezenet", 385.0, 50.0)], [], WIDTH)
    assert label.x + label.width < 385.0


def test_a_name_does_not_cover_another_point_where_there_is_room() -> None:
    marks = [(100.0, 50.0), (130.0, 50.0)]
    (label,) = labels.place([("squeezenet", 100.0, 50.0)], marks, WIDTH)
    assert not any(label.covers(*mark) for mark in marks)


def test_a_line_leads_to_a_name_far_from_its_point() -> None:
    points = [(f"model_{index}", 100.0, 100.0) for index in range(8)]
    far = [label for label in labels.place(points, [], WIDTH) if label.far]
    assert far
    assert all(abs(label.near_edge - label.point_x) < labels.GAP + 1 for label in far)

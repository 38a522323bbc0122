"""Marks: told apart by shape alone, whatever the colours; and by both where shapes run out."""

from __future__ import annotations

from suite.report.marks import COLOURS, SHAPES, marks
from suite.spec import VARIANTS


def test_every_variant_has_a_shape_of_its_own() -> None:
    own = marks(tuple(VARIANTS)).values()
    assert len({mark.path for mark in own}) == len(VARIANTS) == 11
    assert {mark.series for mark in own} == set(range(1, COLOURS + 1))


def test_more_variants_than_shapes_share_no_mark() -> None:
    many = [f"variant {index}" for index in range(4 * len(SHAPES))]
    assert len(set(marks(many).values())) == len(many)


def test_a_variant_keeps_its_mark_whatever_comes_after_it() -> None:
    assert marks(("a", "b"))["b"] == marks(("a", "b", "c"))["b"]

"""Scores by the names that an app gives to them."""

from __future__ import annotations

import numpy as np

from suite.faulty import by_name


def test_scores_by_name_follow_the_label_file() -> None:
    scores, classes = np.array([[3.0, 2.0, 1.0]], np.float32), ("a", "b", "c")
    assert by_name(scores, classes, classes).tolist() == scores.tolist()
    assert by_name(scores, ("background", *classes), classes).argmax() == 0
    assert by_name(scores, ("background", *classes), classes)[0].tolist() == [2.0, 1.0, -np.inf]
    assert by_name(scores, ("a", "a", "c"), classes)[0].tolist() == [3.0, -np.inf, 1.0]

"""Lists and classifiers."""

from __future__ import annotations

import numpy as np
import pytest

from suite.coreml.ops import OpError
from tests.meta.coreml.ops.asking import near, run, values


def test_a_list_is_filled_and_read() -> None:
    one = run("make_list", np.int32([2]), np.int32(2))
    more = run("list_write", one, np.int32(3), values(1, 2))
    assert len(one) == 2
    near(run("list_length", more), np.int32(4))
    near(run("list_read", more, np.int32(3)), values(1, 2))
    near(run("list_gather", more, np.int32([3, 0])), np.stack([values(1, 2), np.zeros(2, np.float32)]))
    changed = run("list_scatter", more, np.int32([0, 1]), values(2, 2, 2))
    near(run("list_read", changed, 1), values(2, 2, 2)[1])
    with pytest.raises(OpError, match="element 9"):
        run("list_read", one, 9)
    with pytest.raises(OpError, match="element"):
        run("list_write", one, 1 << 30, values(1, 2))


def test_the_highest_score_wins() -> None:
    label, scores = run("classify", np.float32([[0.1, 0.7, 0.2]]), ["a", "b", "c"])
    assert label == "b"
    near(scores, np.float32([0.1, 0.7, 0.2]))
    with pytest.raises(OpError, match="classes"):
        run("classify", np.float32([[0.1]]), ["a", "b"])

"""Gathering and scattering, against TensorFlow's and NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.coreml.ops import OpError
from tests.meta.coreml.ops.asking import Ask, near, run, some, values


@some
@given(axis=st.integers(0, 2), batch=st.integers(0, 1), seed=st.integers(0, 99))
def test_gather(tf: Ask, axis: int, batch: int, seed: int) -> None:
    x = values(seed, 3, 4, 5)
    axis = max(axis, batch)
    places = np.random.default_rng(seed).integers(0, x.shape[axis], (3, 2) if batch else (2, 2))
    near(
        run("gather", x, places, axis, batch), tf("gather", [x, places], {"axis": axis, "batch_dims": batch})
    )
    near(run("gather", x, np.int32(-1), axis), np.take(x, -1, axis))


@some
@given(depth=st.integers(1, 3), batch=st.integers(0, 1), seed=st.integers(0, 99))
def test_gather_nd(tf: Ask, depth: int, batch: int, seed: int) -> None:
    x = values(seed, 3, 3, 3)
    depth = min(depth, 3 - batch)
    places = np.random.default_rng(seed).integers(0, 3, (3, 2, depth))
    near(run("gather_nd", x, places, batch), tf("gather_nd", [x, places], {"batch_dims": batch}))


@some
@given(mode=st.sampled_from(["update", "add", "sub", "max", "min"]), seed=st.integers(0, 99))
def test_scatter_nd(tf: Ask, mode: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data, updates = values(seed, 5, 3), values(seed + 1, 3, 3)
    places = rng.permutation(5)[:3].reshape(3, 1) if mode == "update" else rng.integers(0, 5, (3, 1))
    expected = tf(f"tensor_scatter_nd_{mode}", [data, places, updates])
    near(run("scatter_nd", data, places, updates, mode), expected)
    near(run("scatter", data, places[:, 0], updates, 0, mode), expected)


def test_along_an_axis() -> None:
    x, places = values(1, 3, 4), np.array([[0, 1], [3, 2], [-1, 0]])
    near(run("gather_along_axis", x, places, 1), np.take_along_axis(x, places, 1))
    updates = values(2, 3, 2)
    expected = x.copy()
    np.put_along_axis(expected, places, updates, 1)
    near(run("scatter_along_axis", x, places, updates, 1, "update"), expected)
    twice = run(
        "scatter_along_axis", np.zeros((1, 3), np.float32), np.array([[1, 1]]), np.float32([[2, 3]]), 1
    )
    near(twice, np.float32([[0, 5, 0]]))


def test_places_of_values(tf: Ask) -> None:
    x = np.float32([[0, 1], [2, 0]])
    near(run("non_zero", x), np.int32([[0, 1], [1, 0]]))
    places = np.int32([[0, 2], [1, 5]])
    for axis in (-1, 0, 1):
        expected = tf("one_hot", [places, 3, 2.0, -1.0, axis])
        near(run("one_hot", places, 3, axis, np.float32(2), np.float32(-1)), expected)


@some
@given(seed=st.integers(0, 99))
def test_suppression(tf: Ask, seed: int) -> None:
    rng = np.random.default_rng(seed)
    centre, size = rng.uniform(0, 4, (12, 2)), rng.uniform(0.5, 2, (12, 2))
    boxes = np.concatenate([centre, size], axis=1).astype(np.float32)
    scores = rng.permutation(12).astype(np.float32)[:, None] / 12
    corners = np.concatenate([(centre - size / 2)[:, ::-1], (centre + size / 2)[:, ::-1]], axis=1)
    expected = tf(
        "image.non_max_suppression",
        [corners.astype(np.float32), scores[:, 0], 5],
        {"iou_threshold": 0.3, "score_threshold": 0.2},
    )
    kept, best, places, count = run("non_maximum_suppression", boxes[None], scores[None], 0.3, 0.2, 5)
    assert count[0] == len(expected)
    np.testing.assert_array_equal(places[0, : count[0]], expected)
    np.testing.assert_array_equal(kept[0, : count[0]], boxes[expected])
    np.testing.assert_array_equal(best[0, : count[0]], scores[expected])


@pytest.mark.parametrize("places", [[4], [-5], [2**31 - 1]])
def test_a_place_beyond_is_refused(places: list[int]) -> None:
    with pytest.raises(OpError, match="axis of 4"):
        run("gather", values(1, 4, 2), np.array(places))
    with pytest.raises(OpError, match="axis of 4"):
        run("scatter", values(1, 4, 2), np.array(places), values(1, 1, 2))

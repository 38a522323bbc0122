"""Gathering and scattering, against TensorFlow's and NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.coreml.ops import OpError
from suite.spec import Array
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
    kept, best, places, count = _suppressed(boxes, scores, score_threshold=0.2)
    assert count[0] == len(expected)
    np.testing.assert_array_equal(places[0, : count[0]], expected)
    np.testing.assert_array_equal(kept[0, : count[0]], boxes[expected])
    np.testing.assert_array_equal(best[0, : count[0]], scores[expected])


def _suppressed(boxes: Array, scores: Array, **options: Any) -> Any:
    return run(
        "non_maximum_suppression", boxes[None], scores[None], iou_threshold=0.3, max_boxes=5, **options
    )


BOXES = np.float32([[0, 0, 1, 1], [0.1, 0, 1, 1], [5, 5, 1, 1]])  # the second overlaps the first


@pytest.mark.parametrize(
    ("least", "kept"),
    [(0.0, [1, 2]), (0.2, [1]), (0.5, [1]), (9.0, [1])],  # 0.2 and 0.5 are scores: not above themselves
)
def test_a_score_is_above_the_threshold_or_the_best_is_kept(least: float, kept: list[int]) -> None:
    scores = np.float32([[0.4], [0.5], [0.2]])
    found, best, places, count = _suppressed(BOXES, scores, score_threshold=np.float32(least))
    assert count.tolist() == [len(kept)]
    np.testing.assert_array_equal(places, [[*kept, *[-1] * (5 - len(kept))]])
    np.testing.assert_array_equal(found[0, : len(kept)], BOXES[kept])
    np.testing.assert_array_equal(best[0, : len(kept)], scores[kept])
    assert not found[0, len(kept) :].any()


def test_suppression_from_ios17_on_has_the_boxes_last_and_no_threshold() -> None:
    scores = np.float32([[0.4, -3], [-2, 0.5], [-1, -9]])
    for by_class, kept in ((False, [1, 2]), (True, [1, 0, 2])):
        found, best, places = _suppressed(BOXES.T, scores.T, per_class_suppression=by_class)
        assert (found.shape, best.shape, places.shape) == ((1, 4, 5), (1, 2, 5), (1, 5))
        np.testing.assert_array_equal(places, [[*kept, *[-1] * (5 - len(kept))]])
        np.testing.assert_array_equal(found[0, :, : len(kept)], BOXES[kept].T)
        np.testing.assert_array_equal(best[0, :, : len(kept)], scores[kept].T)
    with pytest.raises(OpError, match="boxes of"):
        _suppressed(BOXES, scores.T)
    with pytest.raises(OpError, match="at most 5 of 0 boxes"):
        _suppressed(BOXES[:0].T, scores[:0].T)


X, HALF = values(1, 2, 3), values(2, 2, 3)
BY_PLACE: dict[str, tuple[Array, ...]] = {  # each with a place of -1, which is the last
    "gather": (X, np.int32([-1, 0])),
    "gather_along_axis": (X, np.int32([[-1, 0, 1]])),
    "gather_nd": (X, np.int32([[1, -1], [0, 0]])),
    "scatter": (X, np.int32([-1, 0]), HALF),
    "scatter_along_axis": (X, np.int32([[-1, 0, 1]]), HALF[:1]),
    "scatter_nd": (X, np.int32([[1, -1], [0, 0]]), HALF[0, :2]),
}


@pytest.mark.parametrize("name", BY_PLACE)
def test_from_ios17_on_a_negative_place_is_beyond(name: str) -> None:
    x, places, *updates = BY_PLACE[name]
    size = np.array(x.shape) if name.endswith("nd") else x.shape[0]
    whole = np.where(places < 0, places + size, places)
    expected = run(name, x, whole, *updates)
    near(run(name, x, places, *updates), expected)  # before iOS17
    for validate in (False, True):
        near(run(name, x, whole, *updates, validate_indices=validate), expected)
        with pytest.raises(OpError, match=r"places -1\.\..* in an axis of") as caught:
            run(name, x, places, *updates, validate_indices=validate)
        assert ("validate_indices lets pass" in str(caught.value)) is not validate
        with pytest.raises(OpError, match=r"places .*\.\.10 in an axis of"):
            run(name, x, np.where(places < 0, 10, places), *updates, validate_indices=validate)


@pytest.mark.parametrize("places", [[4], [-5], [2**31 - 1]])
def test_a_place_beyond_is_refused(places: list[int]) -> None:
    with pytest.raises(OpError, match="axis of 4"):
        run("gather", values(1, 4, 2), np.array(places))
    with pytest.raises(OpError, match="axis of 4"):
        run("scatter", values(1, 4, 2), np.array(places), values(1, 1, 2))

"""Reductions and sorting, against TensorFlow's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.coreml.ops import OpError
from tests.meta.coreml.ops.asking import Ask, near, run, some, values

_TF = {
    "reduce_sum": "math.reduce_sum", "reduce_mean": "math.reduce_mean", "reduce_max": "math.reduce_max",
    "reduce_min": "math.reduce_min", "reduce_prod": "math.reduce_prod",
    "reduce_log_sum_exp": "math.reduce_logsumexp",
}  # fmt: skip


@pytest.mark.parametrize("name", _TF)
def test_reductions(tf: Ask, name: str) -> None:
    @some
    @given(rank=st.integers(1, 4), data=st.data(), keep=st.booleans(), seed=st.integers(0, 9))
    def check(rank: int, data: st.DataObject, keep: bool, seed: int) -> None:
        axes = data.draw(st.none() | st.sets(st.integers(0, rank - 1), min_size=1))
        chosen = None if axes is None else [axis - rank if axis % 2 else axis for axis in sorted(axes)]
        x = values(seed, *range(2, 2 + rank))
        actual = run(name, x, None if chosen is None else np.array(chosen), keep)
        near(actual, tf(_TF[name], [x], {"axis": chosen, "keepdims": keep}))

    check()


def test_norms() -> None:
    x = values(1, 3, 4, 5)
    axes = np.array([0, -1])
    near(run("reduce_l1_norm", x, axes), np.abs(x).sum(axis=(0, 2)))
    near(run("reduce_l2_norm", x, axes, True), np.sqrt(np.square(x).sum(axis=(0, 2), keepdims=True)))
    near(run("reduce_sum_square", x, axes), np.square(x).sum(axis=(0, 2)))
    near(run("reduce_log_sum", np.abs(x), axes), np.log(np.abs(x).sum(axis=(0, 2))))


@some
@given(rank=st.integers(1, 3), data=st.data(), keep=st.booleans())
def test_places(tf: Ask, rank: int, data: st.DataObject, keep: bool) -> None:
    axis = data.draw(st.integers(-rank, rank - 1))
    x = (
        np.random.default_rng(data.draw(st.integers(0, 9)))
        .integers(0, 4, range(2, 2 + rank))
        .astype(np.float32)
    )
    for name in ("argmax", "argmin"):
        expected = tf(f"math.{name}", [x], {"axis": axis, "output_type": "int32"})
        near(run(f"reduce_{name}", x, axis, keep), np.expand_dims(expected, axis) if keep else expected)
    near(run("argsort", x, axis, True), tf("argsort", [x], {"axis": axis, "stable": True}))
    near(
        run("argsort", x, axis), tf("argsort", [x], {"axis": axis, "stable": True, "direction": "DESCENDING"})
    )


@some
@given(k=st.integers(1, 7), seed=st.integers(0, 9))
def test_topk(tf: Ask, k: int, seed: int) -> None:
    x = np.random.default_rng(seed).integers(0, 5, (3, 7)).astype(np.float32)
    found, places = run("topk", x, k)
    expected = tf("math.top_k", [x], {"k": k})
    near(found, expected[0])
    near(places, expected[1])
    least, _ = run("topk", x.T, k, 0, True)
    near(least, np.sort(x.T, axis=0)[:k])
    near(run("topk", x, k, return_indices=False), found)


@some
@given(axis=st.integers(0, 2), exclusive=st.booleans(), reverse=st.booleans(), seed=st.integers(0, 9))
def test_cumsum(tf: Ask, axis: int, exclusive: bool, reverse: bool, seed: int) -> None:
    x = values(seed, 3, 4, 5)
    expected = tf("math.cumsum", [x], {"axis": axis, "exclusive": exclusive, "reverse": reverse})
    near(run("cumsum", x, axis, exclusive, reverse), expected)


def test_an_exclusive_sum_keeps_what_is_small_beside_the_next() -> None:
    x = np.float32([1, 2**25, 1])
    near(run("cumsum", x, 0, True), np.float32([0, 1, 2**25]))
    near(run("cumsum", x[::-1].copy(), 0, True, True), np.float32([2**25, 1, 0]))
    near(run("cumsum", np.float32([[np.inf, 1]]), 1, True), np.float32([[0, np.inf]]))
    near(run("cumsum", np.int32([3, 4]), 0, True), np.int32([0, 3]))
    assert run("cumsum", np.zeros((0, 2), np.float32), 0, True).shape == (0, 2)


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(OpError, match="top 9 of 5"):
        run("topk", values(1, 5), 9)
    with pytest.raises(OpError, match="axis"):
        run("reduce_sum", values(1, 5), np.array([3]))


def test_a_mean_over_a_large_plane_is_exact_to_the_last_place() -> None:
    planes = np.random.default_rng(3).uniform(0, 1, (1, 8, 300, 300)).astype(np.float32)
    last = np.ascontiguousarray(np.moveaxis(planes, 1, -1))  # as convolutions leave it
    exact = planes.mean(axis=(2, 3), dtype=np.float64)
    found = run("reduce_mean", np.moveaxis(last, -1, 1), np.int32([2, 3]))
    np.testing.assert_allclose(found, exact, rtol=1.2e-7)

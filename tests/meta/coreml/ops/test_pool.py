"""Pooling, against TensorFlow's, and by its definition where TensorFlow has none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from suite.coreml.ops import OpError
from suite.spec import Array
from tests.meta.coreml.ops.asking import Ask, near, run, some, values


@some
@given(
    kind=st.sampled_from(["max_pool", "avg_pool"]),
    spatial=st.integers(1, 3),
    sizes=st.tuples(*[st.integers(2, 8)] * 3),
    kernel=st.tuples(*[st.integers(1, 3)] * 3),
    stride=st.integers(1, 3),
    same=st.booleans(),
    seed=st.integers(0, 99),
)
def test_pooling(
    tf: Ask,
    kind: str,
    spatial: int,
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: int,
    same: bool,
    seed: int,
) -> None:
    sizes, kernel = sizes[:spatial], kernel[:spatial]
    assume(same or all(k <= size for k, size in zip(kernel, sizes, strict=True)))
    x = values(seed, 2, 3, *sizes)
    more = {"exclude_padding_from_average": True} if kind == "avg_pool" else {}
    actual = run(kind, x, np.array(kernel), "same" if same else "valid", np.full(spatial, stride), **more)
    expected = tf(
        f"nn.{kind}",
        [np.moveaxis(x, 1, -1).copy()],
        {"ksize": list(kernel), "strides": [stride] * spatial, "padding": "SAME" if same else "VALID"},
    )
    near(actual, np.moveaxis(expected, -1, 1))


def _windows(
    x: Array, kernel: tuple[int, ...], stride: int, pad: tuple[int, ...], ceil: bool
) -> list[tuple[tuple[int, ...], Array, int]]:
    """(place in the answer, the values inside, how many with padding), as PyTorch defines them."""
    found = []
    outs = []
    for i in range(2):
        before, after = pad[2 * i], pad[2 * i + 1]
        span = x.shape[2 + i] + before + after - kernel[i]
        count = (-(-span // stride) if ceil else span // stride) + 1
        if ceil and (before or after) and (count - 1) * stride >= x.shape[2 + i] + before:
            count -= 1
        outs.append(count)
    for place in itertools.product(*map(range, outs)):
        slices, counted = [], 1
        for i in range(2):
            start = place[i] * stride - pad[2 * i]
            end = start + kernel[i]
            counted *= min(end, x.shape[2 + i] + pad[2 * i + 1]) - start
            slices.append(slice(max(start, 0), min(end, x.shape[2 + i])))
        found.append((place, x[:, :, slices[0], slices[1]], counted))
    return found


@some
@given(
    sizes=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    kernel=st.tuples(st.integers(2, 4), st.integers(2, 4)),
    stride=st.integers(1, 3),
    pad=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    ceil=st.booleans(),
    seed=st.integers(0, 99),
)
def test_padding_and_ceiling_by_definition(
    sizes: tuple[int, int], kernel: tuple[int, int], stride: int, pad: tuple[int, int], ceil: bool, seed: int
) -> None:
    x = values(seed, 1, 2, *sizes)
    pads = (pad[0], pad[0], pad[1], pad[1])
    windows = _windows(x, kernel, stride, pads, ceil)
    if not all(inside.size for _, inside, _ in windows):
        with pytest.raises(OpError, match="the last holds nothing"):
            run("max_pool", x, np.array(kernel), "custom", np.full(2, stride), np.array(pads), ceil_mode=ceil)
        return
    shape = [1 + max(place[i] for place, *_ in windows) for i in (0, 1)]
    for kind in ("max_pool", "avg_pool", "l2_pool"):
        expected = np.empty((1, 2, *shape), np.float32)
        for place, inside, counted in windows:
            total = {
                "max_pool": lambda v, n: v.max(axis=(2, 3)),
                "avg_pool": lambda v, n: v.sum(axis=(2, 3)) / n,
                "l2_pool": lambda v, n: np.sqrt(np.square(v).sum(axis=(2, 3))),
            }[kind](inside, counted)
            expected[:, :, place[0], place[1]] = total
        near(
            run(kind, x, np.array(kernel), "custom", np.full(2, stride), np.array(pads), ceil_mode=ceil),
            expected,
        )


def test_an_image_is_never_overwritten() -> None:
    x = np.moveaxis(values(3, 1, 5, 5, 2), -1, 1)
    kept = x.copy()
    run("max_pool", x, np.array([1, 2]), "valid")
    run("avg_pool", x, np.array([1, 1]), "valid")
    np.testing.assert_array_equal(x, kept)


def test_a_window_beyond_the_image_is_refused() -> None:
    with pytest.raises(OpError, match="does not fit"):
        run("max_pool", values(1, 1, 1, 3, 3), np.array([5, 5]), "valid")

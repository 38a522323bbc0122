"""Products and attention, against TensorFlow's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.coreml.ops import OpError
from tests.meta.coreml.ops.asking import Ask, near, run, some, values


@some
@given(
    batch=st.sampled_from([((), ()), ((2,), ()), ((3, 1), (2,))]),
    turn=st.tuples(st.booleans(), st.booleans()),
)
def test_matmul(tf: Ask, batch: tuple[tuple[int, ...], tuple[int, ...]], turn: tuple[bool, bool]) -> None:
    x, y = values(1, *batch[0], 4, 5), values(2, *batch[1], 5, 3)
    given_x = np.swapaxes(x, -1, -2).copy() if turn[0] else x
    given_y = np.swapaxes(y, -1, -2).copy() if turn[1] else y
    near(run("matmul", given_x, given_y, *turn), tf("linalg.matmul", [x, y]))


def test_linear_and_vectors() -> None:
    x, weight, bias = values(1, 2, 4), values(2, 3, 4), values(3, 3)
    near(run("linear", x, weight, bias), x @ weight.T + bias)
    near(run("matmul", x[0], x.T), x[0] @ x.T)
    with pytest.raises(OpError, match="product"):
        run("linear", x[:, :3], weight)


@pytest.mark.parametrize("equation", ["nchw,nwhu->nchu", "chw,whr->chr", "bij,bjk->bik"])
def test_einsum(tf: Ask, equation: str) -> None:
    terms = equation.split("->")[0].split(",")
    sizes = {letter: 2 + i for i, letter in enumerate(sorted({*terms[0], *terms[1]}))}
    x, y = (values(i, *(sizes[letter] for letter in term)) for i, term in enumerate(terms))
    near(run("einsum", [x, y], equation), tf("einsum", [equation, x, y]))
    with pytest.raises(OpError, match="equation"):
        run("einsum", [x, y], "...a,b->ab")


@some
@given(
    lead=st.lists(st.integers(1, 3), max_size=2),
    sizes=st.tuples(*[st.integers(1, 5)] * 4),
    seed=st.integers(0, 99),
)
def test_attention(tf: Ask, lead: list[int], sizes: tuple[int, int, int, int], seed: int) -> None:
    asked, held, width, wide = sizes
    query, key = values(seed, *lead, asked, width), values(seed + 1, *lead, held, width)
    value = values(seed + 2, *lead, held, wide)
    mask = np.random.default_rng(seed).random((asked, held)) > 0.3
    mask[:, 0] = True
    scores = tf("linalg.matmul", [query, key], {"transpose_b": True}) / np.float32(np.sqrt(width))
    everything = tf("linalg.matmul", [tf("nn.softmax", [scores]), value])
    near(run("scaled_dot_product_attention", query, key, value), everything)
    scores = np.where(mask, scores, np.float32(-np.inf))
    expected = tf("linalg.matmul", [tf("nn.softmax", [scores]), value])
    near(run("scaled_dot_product_attention", query, key, value, mask), expected)
    added = np.where(mask, 0, -np.inf).astype(np.float32)
    near(run("scaled_dot_product_attention", query, key, value, added), expected)

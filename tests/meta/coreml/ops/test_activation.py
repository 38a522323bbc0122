"""Activations, against TensorFlow's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.coreml.ops import OpError
from tests.meta.coreml.ops.asking import Ask, near, run, some, values

_SAME = {
    "relu": "nn.relu", "relu6": "nn.relu6", "sigmoid": "math.sigmoid", "silu": "nn.silu",
    "softplus": "math.softplus", "softsign": "nn.softsign", "elu": "nn.elu",
}  # fmt: skip


@pytest.mark.parametrize("name", _SAME)
def test_plain(tf: Ask, name: str) -> None:
    x = np.concatenate([10 * values(1, 4, 300), np.float32([[0, 100, -100]] * 4)], axis=1)
    near(run(name, x), tf(_SAME[name], [x]))


@pytest.mark.parametrize("mode", ["EXACT", "TANH_APPROXIMATION"])
def test_gelu(tf: Ask, mode: str) -> None:
    x = 3 * values(2, 400)
    near(run("gelu", x, mode), tf("nn.gelu", [x], {"approximate": mode != "EXACT"}))


@some
@given(rank=st.integers(1, 4), axis=st.integers(-4, 3), seed=st.integers(0, 9))
def test_softmax(tf: Ask, rank: int, axis: int, seed: int) -> None:
    x = 30 * values(seed, *range(2, 2 + rank))
    if not -rank <= axis < rank:
        with pytest.raises(OpError, match="axis"):
            run("softmax", x, axis)
        return
    near(run("softmax", x, axis), tf("nn.softmax", [x], {"axis": axis}))


def test_with_parameters(tf: Ask) -> None:
    x = 3 * values(3, 2, 3, 4, 5)
    slopes = np.float32([0.1, 0.2, -0.3])
    near(run("leaky_relu", x, 0.1), tf("nn.leaky_relu", [x], {"alpha": 0.1}))
    near(run("prelu", x, slopes), np.where(x > 0, x, x * slopes.reshape(1, 3, 1, 1)))
    near(run("clamped_relu", x, 0.5, 1.0), np.minimum(np.where(x > 0, x, x * np.float32(0.5)), np.float32(1)))
    near(run("sigmoid_hard", x, 0.2, 0.5), np.clip(x * np.float32(0.2) + np.float32(0.5), 0, 1))
    near(run("linear_activation", x, 2.0, 1.0), 2 * x + 1)
    near(run("scaled_tanh", x, 2.0, 0.5), 2 * np.tanh(x * np.float32(0.5)))
    near(run("thresholded_relu", x, 0.5), np.where(x >= 0.5, x, np.float32(0)))
    near(run("gelu", x, "SIGMOID_APPROXIMATION"), x / (1 + np.exp(-np.float32(1.702) * x)))
    near(
        run("softplus_parametric", x, slopes, np.float32([1, 2, 3])),
        slopes.reshape(1, 3, 1, 1) * np.log1p(np.exp(x * np.float32([1, 2, 3]).reshape(1, 3, 1, 1))),
    )
    with pytest.raises(OpError, match="slopes"):
        run("prelu", x, slopes[:2])

"""Normalisations, against TensorFlow's and by their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from suite.coreml.ops import OpError
from tests.meta.coreml.ops.asking import Ask, near, run, values


@pytest.mark.parametrize("rank", [3, 4, 5])
def test_batch_norm(tf: Ask, rank: int) -> None:
    x = values(1, 2, 3, 4, 5, 2)[(..., *[0] * (5 - rank))]
    mean, gamma, beta = values(2, 3), values(3, 3), values(4, 3)
    variance = np.abs(values(5, 3)) + 0.1
    memo: dict[str, Any] = {}
    last = np.moveaxis(x, 1, -1).copy()
    expected = tf("nn.batch_normalization", [last, mean, variance, beta, gamma, 1e-3])
    for _ in range(2):
        near(run("batch_norm", x, mean, variance, gamma, beta, 1e-3, memo=memo), np.moveaxis(expected, -1, 1))
    with pytest.raises(OpError, match="means"):
        run("batch_norm", x, mean[:2], variance)


def test_layer_and_instance_norm(keras: Ask) -> None:
    x = values(1, 2, 5, 6)
    gamma, beta = values(2, 6), values(3, 6)
    expected, _ = keras("LayerNormalization", {"axis": -1, "epsilon": 1e-3}, x, [gamma, beta])
    near(run("layer_norm", x, np.array([-1]), gamma, beta, 1e-3), expected)
    image = values(4, 2, 3, 4, 5)
    whole = run("instance_norm", image, epsilon=1e-5)
    near(whole.mean(axis=(2, 3)), np.zeros((2, 3), np.float32))
    near(whole.std(axis=(2, 3)), np.ones((2, 3), np.float32), 1e-3)
    near(run("l2_norm", image, 1e-9), image / np.sqrt(np.square(image).sum(axis=(1, 2, 3), keepdims=True)))


def test_local_response_norm(tf: Ask) -> None:
    x = values(1, 2, 7, 3, 4)
    last = np.moveaxis(x, 1, -1).copy()
    expected = tf("nn.local_response_normalization", [last, 2, 1.5, 0.2, 0.6])
    answer = run("local_response_norm", x, 5, 5 * 0.2, 0.6, 1.5)
    near(answer, np.moveaxis(expected, -1, 1))
    near(run("local_response_norm", x[0], 5, 5 * 0.2, 0.6, 1.5), answer[0])  # channels: third from last
    near(run("local_response_norm", x[None], 5, 5 * 0.2, 0.6, 1.5), answer[None])
    with pytest.raises(OpError, match="an even size of 4"):
        run("local_response_norm", x, 4)

"""Recurrent layers, against Keras'."""

from __future__ import annotations

import numpy as np
import pytest

from suite.coreml.ops import OpError
from suite.spec import Array
from tests.meta.coreml.ops.asking import Ask, near, run, values


def _gates(weight: Array, order: list[int]) -> Array:
    """Keras' (in, gates * hidden) as (gates * hidden, in), the gates in another order."""
    parts = np.split(weight, len(order), axis=-1)
    return np.concatenate([parts[i] for i in order], axis=-1).T.copy()


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("every", [False, True])
def test_lstm(keras: Ask, backwards: bool, every: bool) -> None:
    x = values(1, 2, 5, 3)
    options = {"units": 4, "return_sequences": every, "go_backwards": backwards}
    expected, (kernel, recurrent, bias) = keras("LSTM", options, x)
    order = [0, 1, 3, 2]  # Keras: input, forget, cell, output
    zero = np.zeros((2, 4), np.float32)
    states, h, c = run(
        "lstm", x.transpose(1, 0, 2), zero, zero, _gates(kernel, order), _gates(recurrent, order),
        _gates(bias, order), direction="reverse" if backwards else "forward", output_sequence=every,
    )  # fmt: skip
    if every:  # Keras answers in the order of its steps, Core ML in that of the input
        near(states[::-1] if backwards else states, expected.transpose(1, 0, 2))
    else:
        near(states[0], expected)
        near(h, expected)
    assert c.shape == (2, 4)


def test_two_ways_are_one_after_the_other() -> None:
    x, zero = values(1, 5, 2, 3), np.zeros((2, 4), np.float32)
    there = [values(2, 16, 3), values(3, 16, 4), values(4, 16)]
    back = [values(5, 16, 3), values(6, 16, 4), values(7, 16)]
    wide = np.zeros((2, 8), np.float32)
    both, h, _ = run(
        "lstm", x, wide, wide, *there, weight_ih_back=back[0], weight_hh_back=back[1], bias_back=back[2],
        direction="bidirectional", output_sequence=True,
    )  # fmt: skip
    one, one_h, _ = run("lstm", x, zero, zero, *there, output_sequence=True)
    other, other_h, _ = run("lstm", x, zero, zero, *back, direction="reverse", output_sequence=True)
    near(both, np.concatenate([one, other], axis=-1))
    near(h, np.concatenate([one_h, other_h], axis=-1))


@pytest.mark.parametrize("after", [False, True])
def test_gru(keras: Ask, after: bool) -> None:
    x = values(1, 2, 5, 3)
    expected, (kernel, recurrent, bias) = keras("GRU", {"units": 4, "reset_after": after}, x)
    rng = np.random.default_rng(0)
    bias = rng.standard_normal(bias.shape).astype(np.float32)
    expected, _ = keras("GRU", {"units": 4, "reset_after": after}, x, [kernel, recurrent, bias])
    order = [1, 2, 0]  # Keras: update, reset, candidate
    inner, outer = (bias[1], bias[0]) if after else (bias, None)
    _, h = run(
        "gru", x.transpose(1, 0, 2), np.zeros((2, 4), np.float32), _gates(kernel, order),
        _gates(recurrent, order), _gates(inner, order), reset_after=after,
        input_bias=None if outer is None else _gates(outer, order),
    )  # fmt: skip
    near(h, expected)


def test_rnn(keras: Ask) -> None:
    x = values(1, 2, 5, 3)
    expected, (kernel, recurrent, bias) = keras("SimpleRNN", {"units": 4}, x)
    _, h = run("rnn", x.transpose(1, 0, 2), np.zeros((2, 4), np.float32), kernel.T, recurrent.T, bias)
    near(h, expected)
    with pytest.raises(OpError, match="weights"):
        run("rnn", x, np.zeros((2, 4), np.float32), kernel, recurrent)
    with pytest.raises(OpError, match="activation"):
        run(
            "rnn",
            x.transpose(1, 0, 2),
            np.zeros((2, 4), np.float32),
            kernel.T,
            recurrent.T,
            activation="none",
        )

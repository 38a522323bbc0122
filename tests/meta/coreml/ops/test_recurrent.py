"""Recurrent layers, against Keras'."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.coreml.ops import OpError
from suite.spec import Array
from tests.meta.coreml.ops.asking import Ask, near, run, some, values


def _gates(weight: Array, order: list[int]) -> Array:
    """Keras' (in, gates * hidden) as (gates * hidden, in), the gates in another order."""
    parts = np.split(weight, len(order), axis=-1)
    return np.concatenate([parts[i] for i in order], axis=-1).T.copy()


_SIZES = {name: st.integers(1, 4) for name in ("batch", "steps", "inside", "hidden")}


@some
@given(**_SIZES, backwards=st.booleans(), every=st.booleans(), seed=st.integers(0, 99))
def test_lstm(
    keras: Ask, batch: int, steps: int, inside: int, hidden: int, backwards: bool, every: bool, seed: int
) -> None:
    x = values(seed, batch, steps, inside)
    options = {"units": hidden, "return_sequences": every, "go_backwards": backwards}
    shapes = ((inside, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,))
    weights = [values(seed + i, *shape) for i, shape in enumerate(shapes, 1)]
    expected, (kernel, recurrent, bias) = keras("LSTM", options, x, weights)
    order = [0, 1, 3, 2]  # Keras: input, forget, cell, output
    zero = np.zeros((batch, hidden), np.float32)
    states, h, c = run(
        "lstm", x.transpose(1, 0, 2), zero, zero, _gates(kernel, order), _gates(recurrent, order),
        _gates(bias, order), direction="reverse" if backwards else "forward", output_sequence=every,
    )  # fmt: skip
    if every:  # Keras answers in the order of its steps, Core ML in that of the input
        near(states[::-1] if backwards else states, expected.transpose(1, 0, 2))
    else:
        near(states[0], expected)
        near(h, expected)
    assert c.shape == (batch, hidden)


@pytest.mark.parametrize("limit", [0.2, 50.0])
def test_the_state_of_a_cell_is_clipped_before_the_output_gate_sees_it(limit: float) -> None:
    """As coremltools' own reference has it, which Core ML is held to."""
    steps, batch, hidden = 6, 2, 4
    x, peep = np.abs(values(1, steps, batch, 3)), values(2, 3, hidden)
    weight, again, bias = np.abs(values(3, 4, hidden, 3)), values(4, 4, hidden, hidden), values(5, 4, hidden)
    h = c = zero = np.zeros((batch, hidden), np.float32)
    expected = []
    for step in x:
        pushed = [step @ weight[i].T + h @ again[i].T + bias[i] for i in range(4)]
        into, keep = (1 / (1 + np.exp(-(pushed[i] + peep[i] * c))) for i in (0, 1))
        c = np.clip(keep * c + into * np.tanh(pushed[3]), -limit, limit)
        h = np.maximum(c, 0) / (1 + np.exp(-(pushed[2] + peep[2] * c)))
        expected.append(h)
    states, _, cell = run(
        "lstm", x, zero, zero, weight.reshape(-1, 3), again.reshape(-1, hidden), bias.reshape(-1),
        peep.reshape(-1), output_sequence=True, activation="relu", clip=np.float32(limit),
    )  # fmt: skip
    near(states, np.stack(expected))
    near(cell, c)
    assert (np.abs(cell).max() > 1) == (limit > 1)


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


@some
@given(**_SIZES, after=st.booleans(), backwards=st.booleans(), seed=st.integers(0, 99))
def test_gru(
    keras: Ask, batch: int, steps: int, inside: int, hidden: int, after: bool, backwards: bool, seed: int
) -> None:
    x = values(seed, batch, steps, inside)
    weights = [
        values(seed + 1, inside, 3 * hidden),
        values(seed + 2, hidden, 3 * hidden),
        values(seed + 3, *((2, 3 * hidden) if after else (3 * hidden,))),
    ]
    options = {"units": hidden, "reset_after": after, "go_backwards": backwards}
    expected, (kernel, recurrent, bias) = keras("GRU", options, x, weights)
    order = [1, 2, 0]  # Keras: update, reset, candidate
    inner, outer = (bias[1], bias[0]) if after else (bias, None)
    _, h = run(
        "gru", x.transpose(1, 0, 2), np.zeros((batch, hidden), np.float32), _gates(kernel, order),
        _gates(recurrent, order), _gates(inner, order), reset_after=after,
        direction="reverse" if backwards else "forward",
        input_bias=None if outer is None else _gates(outer, order),
    )  # fmt: skip
    near(h, expected)


@some
@given(**_SIZES, name=st.sampled_from(["tanh", "relu", "sigmoid"]), seed=st.integers(0, 99))
def test_rnn(keras: Ask, batch: int, steps: int, inside: int, hidden: int, name: str, seed: int) -> None:
    x = values(seed, batch, steps, inside)
    weights = [values(seed + 1, inside, hidden), values(seed + 2, hidden, hidden), values(seed + 3, hidden)]
    options = {"units": hidden, "activation": name, "return_sequences": True}
    expected, (kernel, recurrent, bias) = keras("SimpleRNN", options, x, weights)
    states, h = run(
        "rnn", x.transpose(1, 0, 2), np.zeros((batch, hidden), np.float32), kernel.T, recurrent.T, bias,
        activation=name, output_sequence=True,
    )  # fmt: skip
    near(states, expected.transpose(1, 0, 2))
    near(h, expected[:, -1])


def test_what_makes_no_sense_is_refused() -> None:
    x, kernel, recurrent = values(1, 2, 5, 3), values(2, 3, 4), values(3, 4, 4)
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
    for bias in (values(4, 5), values(4, 4, 1, 1)):
        with pytest.raises(OpError, match="a bias of"):
            run("rnn", x.transpose(1, 0, 2), np.zeros((2, 4), np.float32), kernel.T, recurrent.T, bias)

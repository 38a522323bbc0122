"""Recurrent layers, against Keras'."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.spec import Array
from tests.meta.coreml.layers.asking import Answer, Case, Random, check
from tests.meta.coreml.ops.asking import Ask, some

KINDS = ("simpleRecurrent", "gru", "uniDirectionalLSTM", "biDirectionalLSTM")


def _parts(weight: Array, count: int, order: list[int]) -> list[Array]:
    """Keras' (in, gates * hidden) as one (hidden, in) for each gate, in another order."""
    parts = np.split(weight, count, axis=-1)
    return [parts[i].T.copy() for i in order]


def _five(x: Array) -> Array:
    """(batch, steps, features) as the layers take it."""
    return x.transpose(1, 0, 2)[..., None, None].copy()


def _case(method: str, x: Array, expected: Any, /, **arguments: Any) -> Case:
    layer = (method, {"name": "layer", "input_names": ["x"], **arguments})
    return Case([layer], {"x": _five(x)}, expected)


def _expected(seen: Array, every: bool, backwards: bool) -> Array:
    """Keras answers in the order of its steps, Core ML in that of the input."""
    if not every:
        return seen[None, :, :, None, None]
    return _five(seen[:, ::-1] if backwards else seen)


@some
@given(seed=st.integers(0, 999))
def test_simple(keras: Ask, answer: Answer, seed: int) -> None:
    random = Random(seed)
    inside, hidden, every, backwards = (
        random.size(1, 4),
        random.size(1, 4),
        *(bool(random.integers(2)) for _ in "ab"),
    )
    x, name = random.normal_values(2, random.size(1, 5), inside), random.one_of("relu", "tanh", "sigmoid")
    options = {"units": hidden, "return_sequences": every, "go_backwards": backwards, "activation": name}
    given = [
        random.normal_values(inside, hidden),
        random.normal_values(hidden, hidden),
        random.normal_values(hidden),
    ]
    seen, (kernel, recurrent, bias) = keras("SimpleRNN", options, x, given)
    case = _case(
        "add_simple_rnn", x, {"y": _expected(seen, every, backwards)}, W_h=recurrent.T.copy(),
        W_x=kernel.T.copy(), b=bias, hidden_size=hidden, input_size=inside, activation=name.upper(),
        output_names=["y", "h"], output_all=every, reverse_input=backwards,
    )  # fmt: skip
    check(case, answer)


@some
@given(seed=st.integers(0, 999))
def test_gru(keras: Ask, answer: Answer, seed: int) -> None:
    random = Random(seed)
    inside, hidden, every, backwards = (
        random.size(1, 4),
        random.size(1, 4),
        *(bool(random.integers(2)) for _ in "ab"),
    )
    x = random.normal_values(2, random.size(1, 5), inside)
    options = {"units": hidden, "return_sequences": every, "go_backwards": backwards, "reset_after": False}
    given = [random.normal_values(inside, 3 * hidden), random.normal_values(hidden, 3 * hidden),
             random.normal_values(3 * hidden)]  # fmt: skip
    seen, (kernel, recurrent, bias) = keras("GRU", options, x, given)
    order = [0, 1, 2]  # update, reset, output
    case = _case(
        "add_gru", x, {"y": _expected(seen, every, backwards)}, W_h=_parts(recurrent, 3, order),
        W_x=_parts(kernel, 3, order), b=np.split(bias, 3), hidden_size=hidden, input_size=inside,
        inner_activation="SIGMOID", output_names=["y", "h"], output_all=every, reverse_input=backwards,
    )  # fmt: skip
    check(case, answer)


def _lstm(random: Random, inside: int, hidden: int) -> list[Array]:
    shapes = ((inside, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,))
    return [random.normal_values(*shape) for shape in shapes]


_ORDER = [0, 1, 3, 2]  # Keras: input, forget, cell, output; the builder: input, forget, output, cell


def _given(weights: list[Array], suffix: str = "") -> dict[str, list[Array]]:
    kernel, recurrent, bias = weights
    biases = np.split(bias, 4)
    return {
        f"W_x{suffix}": _parts(kernel, 4, _ORDER),
        f"W_h{suffix}": _parts(recurrent, 4, _ORDER),
        f"b{suffix}": [biases[i] for i in _ORDER],
    }


@some
@given(seed=st.integers(0, 999))
def test_lstm(keras: Ask, answer: Answer, seed: int) -> None:
    random = Random(seed)
    inside, hidden, every, backwards = (
        random.size(1, 4),
        random.size(1, 4),
        *(bool(random.integers(2)) for _ in "ab"),
    )
    x, weights = random.normal_values(2, random.size(1, 5), inside), _lstm(random, inside, hidden)
    options = {"units": hidden, "return_sequences": every, "go_backwards": backwards}
    seen, _ = keras("LSTM", options, x, weights)
    case = _case(
        "add_unilstm", x, {"y": _expected(seen, every, backwards)}, **_given(weights), hidden_size=hidden,
        input_size=inside, output_names=["y", "h", "c"], output_all=every, reverse_input=backwards,
    )  # fmt: skip
    check(case, answer)


@pytest.mark.parametrize("every", [False, True])
def test_lstm_of_both_ways(keras: Ask, answer: Answer, every: bool) -> None:
    random, inside, hidden = Random(1), 3, 2
    x, weights = random.normal_values(2, 4, inside), [_lstm(random, inside, hidden) for _ in range(2)]
    options = {"units": hidden, "return_sequences": every}
    there, _ = keras("LSTM", options, x, weights[0])
    back, _ = keras("LSTM", {**options, "go_backwards": True}, x, weights[1])
    both = np.concatenate([_expected(there, every, False), _expected(back, every, True)], axis=2)
    case = _case(
        "add_bidirlstm", x, {"y": both}, **_given(weights[0]), **_given(weights[1], "_back"),
        hidden_size=hidden, input_size=inside, output_names=["y", "h", "c", "h_back", "c_back"],
        output_all=every,
    )  # fmt: skip
    check(case, answer)


def test_states_go_in_and_come_out(answer: Answer) -> None:
    """A sequence in two halves, the second from the states of the first, answers what it does as a whole."""
    random, inside, hidden = Random(2), 3, 2
    x, more = _five(random.normal_values(1, 6, inside)), _given(_lstm(random, inside, hidden))
    options = {"hidden_size": hidden, "input_size": inside, "output_all": True, **more}
    zero = np.zeros((1, 1, hidden, 1, 1), np.float32)
    names = {"name": "layer", "input_names": ["x", "h0", "c0"], "output_names": ["y", "h", "c"]}
    layers = [("add_unilstm", {**names, **options})]

    def run(part: Array, h: Array, c: Array) -> list[Array]:
        return answer(layers, {"x": part, "h0": h, "c0": c}, "y", "h", "c")

    whole, *ends = run(x, zero, zero)
    first, h, c = run(x[:3], zero, zero)
    second, *last = run(x[3:], h, c)
    np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=1e-6)
    for one, other in zip(ends, last, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_what_keras_has_not(answer: Answer) -> None:
    """Peepholes, coupled gates, a clipped cell, a forget bias: by their definition, one step."""
    w = {name: np.float32([[value]]) for name, value in zip("ifoz", (0.3, -0.2, 0.5, 0.8), strict=True)}
    zero, x, c0 = np.zeros((1, 1), np.float32), np.float32(2).reshape(1, 1, 1, 1, 1), np.float32(0.7)
    peep = [np.float32([value]) for value in (0.4, 0.6, -0.3)]

    def gate(value: float) -> float:
        return float(1 / (1 + np.exp(-value)))

    def run(**more: Any) -> float:
        layer = ("add_unilstm", {
            "name": "layer", "input_names": ["x", "h0", "c0"], "output_names": ["y", "h", "c"],
            "hidden_size": 1, "input_size": 1, "W_x": list(w.values()), "W_h": [zero] * 4, "b": None, **more,
        })  # fmt: skip
        feed = {"x": x, "h0": np.zeros((1, 1, 1, 1, 1), np.float32), "c0": c0.reshape(1, 1, 1, 1, 1)}
        return float(answer([layer], feed, "c")[0].reshape(()))

    new = float(np.tanh(1.6))
    assert run() == pytest.approx(gate(-0.4) * 0.7 + gate(0.6) * new, rel=1e-6)
    assert run(forget_bias=True) == pytest.approx(gate(0.6) * 0.7 + gate(0.6) * new, rel=1e-6)
    assert run(coupled_input_forget_gate=True) == pytest.approx(
        (1 - gate(0.6)) * 0.7 + gate(0.6) * new, rel=1e-6
    )
    looked = gate(-0.4 + 0.6 * 0.7) * 0.7 + gate(0.6 + 0.4 * 0.7) * new
    assert run(peep=peep) == pytest.approx(looked, rel=1e-6)
    assert run(cell_clip_threshold=0.25) == pytest.approx(0.25)

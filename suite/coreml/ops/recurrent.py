"""Recurrent layers over (steps, batch, features)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from suite.coreml.ops import activation as activations
from suite.coreml.ops.budget import spend
from suite.coreml.ops.registry import OpError, op, real, room
from suite.spec import Array

_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "sigmoid": activations.sigmoid,
    "tanh": np.tanh,
    "relu": activations.relu,
    "linear": lambda x: x,
    "hard_sigmoid": activations.sigmoid_hard,
    "sigmoid_hard": activations.sigmoid_hard,
    "scaled_tanh": activations.scaled_tanh,
}


def _function(name: str) -> Callable[[Array], Array]:
    if name not in _ACTIVATIONS:
        raise OpError(f"the activation {name!r}: known are {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def _gates(
    x: Array, weight_ih: Array, weight_hh: Array, count: int, initial: Array, *biases: Array | None
) -> int:
    """The hidden size, once the shapes make sense."""
    hidden = weight_hh.shape[-1] if weight_hh.ndim == 2 else 0
    for bias in biases:
        if bias is not None and bias.shape != (count * hidden,):
            raise OpError(f"a bias of {bias.shape} for {count} gates of {hidden} units")
    fits = x.ndim == 3 and weight_ih.shape == (count * hidden, x.shape[-1])
    if not fits or weight_hh.shape != (count * hidden, hidden) or initial.shape != (x.shape[1], hidden):
        raise OpError(
            f"weights of {weight_ih.shape} and {weight_hh.shape} and a state of {initial.shape} for {x.shape}"
        )
    room((x.shape[0], x.shape[1], count * hidden))
    spend(x.shape[0], x.shape[1], weight_ih.size + weight_hh.size, calls=8 * x.shape[0])
    return hidden


def _backwards(direction: str) -> bool:
    if direction not in ("forward", "reverse"):
        raise OpError(f"direction is {direction!r}")
    return direction == "reverse"


def _stacked(states: list[Array], every: Any, backwards: bool) -> Array:
    if not states:
        raise OpError("a sequence of no steps")
    return np.stack(states[::-1] if backwards else states) if every else states[-1][None]


@op("rnn")
def rnn(
    x: Array,
    initial_h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    direction: str = "forward",
    output_sequence: Any = False,
    activation: str = "tanh",
) -> Any:
    """A plain recurrent layer: (steps or 1, batch, hidden), and the last state."""
    _gates(x, weight_ih, weight_hh, 1, initial_h, bias)
    backwards, act = _backwards(direction), _function(activation)
    drive = np.matmul(x, weight_ih.T) + (0 if bias is None else bias)
    state, states = initial_h, []
    for step in drive[::-1] if backwards else drive:
        state = act(step + state @ weight_hh.T)
        states.append(state)
    return _stacked(states, output_sequence, backwards), states[-1]


@op("gru")
def gru(
    x: Array,
    initial_h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    direction: str = "forward",
    output_sequence: Any = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: Any = False,
    input_bias: Array | None = None,
) -> Any:
    """Gated recurrent unit; gates in the order reset, output, update.

    The reset gate acts on the state before its matrix product, or after it
    where `reset_after` (iOS18) says so; then `input_bias` is that of the input
    and `bias` that of the state, as in Keras.
    """
    hidden = _gates(x, weight_ih, weight_hh, 3, initial_h, bias, input_bias)
    backwards = _backwards(direction)
    gate, act = _function(recurrent_activation), _function(activation)
    zero = np.zeros(3 * hidden, np.float32)
    inner = zero if bias is None else bias
    outer = zero if input_bias is None else input_bias
    drive = np.matmul(x, weight_ih.T) + outer
    state, states = initial_h, []
    for step in drive[::-1] if backwards else drive:
        pushed = state @ weight_hh.T + inner
        reset = gate(step[:, :hidden] + pushed[:, :hidden])
        update = gate(step[:, 2 * hidden :] + pushed[:, 2 * hidden :])
        middle = slice(hidden, 2 * hidden)
        if reset_after:
            candidate = act(step[:, middle] + reset * pushed[:, middle])
        else:
            candidate = act(step[:, middle] + (reset * state) @ weight_hh[middle].T + inner[middle])
        state = (np.float32(1) - update) * candidate + update * state
        states.append(state)
    return _stacked(states, output_sequence, backwards), states[-1]


@op("lstm")
def lstm(
    x: Array,
    initial_h: Array,
    initial_c: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    peephole: Array | None = None,
    weight_ih_back: Array | None = None,
    weight_hh_back: Array | None = None,
    bias_back: Array | None = None,
    peephole_back: Array | None = None,
    direction: str = "forward",
    output_sequence: Any = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: Any = None,
) -> Any:
    """Long short-term memory; gates in the order input, forget, output, cell; states side by side.

    `clip` bounds the state of the cell, which the output gate then sees.
    """
    acts = tuple(_function(name) for name in (recurrent_activation, cell_activation, activation))
    limit = None if clip is None else real(clip)
    if direction != "bidirectional":
        return _lstm(
            x, initial_h, initial_c, weight_ih, weight_hh, bias, peephole,
            _backwards(direction), output_sequence, acts, limit,
        )  # fmt: skip
    if weight_ih_back is None or weight_hh_back is None:
        raise OpError("a bidirectional layer without weights for the way back")
    half = initial_h.shape[-1] // 2
    there = _lstm(
        x, initial_h[:, :half], initial_c[:, :half], weight_ih, weight_hh, bias, peephole,
        False, output_sequence, acts, limit,
    )  # fmt: skip
    back = _lstm(
        x, initial_h[:, half:], initial_c[:, half:], weight_ih_back, weight_hh_back, bias_back, peephole_back,
        True, output_sequence, acts, limit,
    )  # fmt: skip
    return tuple(np.concatenate(pair, axis=-1) for pair in zip(there, back, strict=True))


def _lstm(
    x: Array,
    h: Array,
    c: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None,
    peephole: Array | None,
    backwards: bool,
    every: Any,
    acts: tuple[Callable[[Array], Array], ...],
    limit: float | None,
) -> tuple[Array, Array, Array]:
    hidden = _gates(x, weight_ih, weight_hh, 4, h, bias)
    if c.shape != h.shape:
        raise OpError(f"states of {h.shape} and {c.shape}")
    if peephole is not None and peephole.shape != (3 * hidden,):
        raise OpError(f"peepholes of {peephole.shape} for {hidden} units")
    gate, cell, act = acts
    peep = np.zeros(3 * hidden, np.float32) if peephole is None else peephole
    look = [peep[i * hidden : (i + 1) * hidden] for i in range(3)]
    drive = np.matmul(x, weight_ih.T) + (0 if bias is None else bias)
    states = []
    for step in drive[::-1] if backwards else drive:
        total = step + h @ weight_hh.T
        into, keep, out, new = (total[:, i * hidden : (i + 1) * hidden] for i in range(4))
        c = gate(keep + look[1] * c) * c + gate(into + look[0] * c) * cell(new)
        if limit is not None:
            c = np.clip(c, -limit, limit)
        h = gate(out + look[2] * c) * act(c)
        states.append(h)
    return _stacked(states, every, backwards), h, c

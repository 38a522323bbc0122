"""Recurrent layers over (steps, batch, features, 1, 1), states (1, batch, hidden, 1, 1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.coreml.layers.activation import function
from suite.coreml.layers.registry import Layer, layer
from suite.coreml.layers.weights import weights
from suite.coreml.ops.budget import spend
from suite.coreml.ops.registry import OpError, room
from suite.spec import Array

Function = Callable[[Array], Array]
_BOUND = np.float32(50)  # of what goes into a gate, and of a cell where the layer states none


@dataclass(frozen=True, slots=True)
class _Gate:
    """`w x + r h + b` of one gate, within bounds; b is zeros where the layer has none."""

    w: Array
    r: Array
    b: Array

    def __call__(self, x: Array, h: Array, peep: Array | float = 0.0) -> Array:
        return np.clip(x @ self.w.T + h @ self.r.T + peep + self.b, -_BOUND, _BOUND)


def _gate(p: Any, names: tuple[str, str, str], inside: int, hidden: int, biased: bool) -> _Gate:
    w, r, b = names
    return _Gate(
        weights(getattr(p, w), (hidden, inside)),
        weights(getattr(p, r), (hidden, hidden)),
        weights(getattr(p, b), (hidden,)) if biased else np.zeros(hidden, np.float32),
    )


def _sizes(p: Any) -> tuple[int, int]:
    inside, hidden = int(p.inputVectorSize), int(p.outputVectorSize)
    if inside < 1 or hidden < 1:
        raise OpError(f"a recurrent layer of {inside} features and {hidden} units")
    return inside, hidden


def _activations(messages: Any, count: int) -> list[Function]:
    if len(messages) != count:
        raise OpError(f"{len(messages)} activations, expected {count}")
    return [_activation(one) for one in messages]


_WITHOUT_NUMBERS = {"linear": (1.0, 0.0), "scaledTanh": (1.0, 1.0), "sigmoidHard": (0.2, 0.5)}


def _activation(p: Any) -> Function:
    """The function of a message; coremltools writes those of recurrent layers without their numbers."""
    kind = p.WhichOneof("NonlinearityType")
    usual = type(p)()
    usual.CopyFrom(p)
    if kind in _WITHOUT_NUMBERS and not getattr(p, kind).ByteSize():
        q = getattr(usual, kind)
        q.alpha, q.beta = _WITHOUT_NUMBERS[kind]
    return function(usual)


def _steps(x: Array, inside: int, hidden: int, gates: int) -> Array:
    """(steps, batch, features)."""
    if x.ndim < 3 or not x.shape[0] or x.size != x.shape[0] * x.shape[1] * inside:
        raise OpError(f"a sequence of {x.shape} for {inside} features")
    room((x.shape[0], x.shape[1], hidden))
    spend(x.shape[0], x.shape[1], gates, hidden, inside + hidden, calls=8 * gates * x.shape[0])
    return x.reshape(x.shape[0], x.shape[1], inside)


def _states(given: tuple[Array, ...], count: int, batch: int, hidden: int) -> list[Array]:
    """The first states, (batch, hidden); zeros where none are given."""
    if not given:
        return [np.zeros((batch, hidden), np.float32)] * count
    if len(given) != count or any(one.size != batch * hidden for one in given):
        raise OpError(f"states of {[one.shape for one in given]} for {batch} samples of {hidden} units")
    return [one.reshape(batch, hidden) for one in given]


def _wide(values: Array) -> Array:
    """(n, batch, hidden) as five axes."""
    return values[..., None, None]


def _answer(seen: list[Array], every: bool, backwards: bool) -> Array:
    """What the layer answers of its steps: all of them in the order of the input, or the last."""
    return _wide(np.stack(seen[::-1] if backwards else seen) if every else seen[-1][None])


@layer("simpleRecurrent")
def _simple(p: Any) -> Layer:
    inside, hidden = _sizes(p)
    names = ("weightMatrix", "recursionMatrix", "biasVector")
    gate, act = _gate(p, names, inside, hidden, p.hasBiasVector), _activation(p.activation)

    def run(x: Array, *states: Array) -> Any:
        steps = _steps(x, inside, hidden, 1)
        [h] = _states(states, 1, x.shape[1], hidden)
        seen = []
        for step in steps[::-1] if p.reverseInput else steps:
            h = act(gate(step, h))
            seen.append(h)
        return _answer(seen, p.sequenceOutput, p.reverseInput), _wide(h[None])

    return run


@layer("gru")
def _gru(p: Any) -> Layer:
    inside, hidden = _sizes(p)
    update, reset, out = (
        _gate(
            p,
            (f"{name}GateWeightMatrix", f"{name}GateRecursionMatrix", f"{name}GateBiasVector"),
            inside,
            hidden,
            p.hasBiasVectors,
        )
        for name in ("update", "reset", "output")
    )
    inner, act = _activations(p.activations, 2)

    def run(x: Array, *states: Array) -> Any:
        steps = _steps(x, inside, hidden, 3)
        [h] = _states(states, 1, x.shape[1], hidden)
        seen = []
        for step in steps[::-1] if p.reverseInput else steps:
            z = inner(update(step, h))
            candidate = act(out(step, h * inner(reset(step, h))))
            h = (np.float32(1) - z) * candidate + z * h
            seen.append(h)
        return _answer(seen, p.sequenceOutput, p.reverseInput), _wide(h[None])

    return run


class _LSTM:
    """One direction of a long short-term memory."""

    def __init__(self, p: Any, options: Any, acts: list[Function], inside: int, hidden: int) -> None:
        def gate(name: str) -> _Gate:
            names = (f"{name}WeightMatrix", f"{name}RecursionMatrix", f"{name}BiasVector")
            return _gate(p, names, inside, hidden, options.hasBiasVectors)

        self._into, self._out, self._new = gate("inputGate"), gate("outputGate"), gate("blockInput")
        self._keep = None if options.coupledInputAndForgetGate else gate("forgetGate")
        self._more = np.float32(1 if options.forgetBias else 0)
        self._look = [
            weights(getattr(p, f"{name}GatePeepholeVector"), (hidden,))
            if options.hasPeepholeVectors
            else np.zeros(hidden, np.float32)
            for name in ("input", "forget", "output")
        ]
        self._limit = np.float32(options.cellClipThreshold) or _BOUND
        self._inner, self._cell, self._act = acts

    def __call__(self, steps: Array, h: Array, c: Array, backwards: bool) -> tuple[list[Array], Array, Array]:
        seen = []
        for step in steps[::-1] if backwards else steps:
            into = self._inner(self._into(step, h, self._look[0] * c))
            if self._keep is None:
                keep = np.float32(1) - into
            else:
                keep = self._inner(self._keep(step, h, self._look[1] * c + self._more))
            c = np.clip(keep * c + into * self._cell(self._new(step, h)), -self._limit, self._limit)
            h = self._inner(self._out(step, h, self._look[2] * c)) * self._act(c)
            seen.append(h)
        return seen, h, c


@layer("uniDirectionalLSTM")
def _uni_lstm(p: Any) -> Layer:
    inside, hidden = _sizes(p)
    lstm = _LSTM(p.weightParams, p.params, _activations(p.activations, 3), inside, hidden)

    def run(x: Array, *states: Array) -> Any:
        steps = _steps(x, inside, hidden, 4)
        h, c = _states(states, 2, x.shape[1], hidden)
        seen, h, c = lstm(steps, h, c, p.reverseInput)
        return _answer(seen, p.params.sequenceOutput, p.reverseInput), _wide(h[None]), _wide(c[None])

    return run


@layer("biDirectionalLSTM")
def _bi_lstm(p: Any) -> Layer:
    inside, hidden = _sizes(p)
    if len(p.weightParams) != 2:
        raise OpError(f"weights for {len(p.weightParams)} directions")
    there, back = (
        _LSTM(held, p.params, _activations(acts, 3), inside, hidden)
        for held, acts in zip(
            p.weightParams, (p.activationsForwardLSTM, p.activationsBackwardLSTM), strict=True
        )
    )

    def run(x: Array, *states: Array) -> Any:
        steps = _steps(x, inside, hidden, 8)
        h, c, h_back, c_back = _states(states, 4, x.shape[1], hidden)
        seen, h, c = there(steps, h, c, False)
        seen_back, h_back, c_back = back(steps, h_back, c_back, True)
        both = [
            _answer(one, p.params.sequenceOutput, turned)
            for one, turned in ((seen, False), (seen_back, True))
        ]
        return np.concatenate(both, axis=2), *(_wide(one[None]) for one in (h, c, h_back, c_back))

    return run

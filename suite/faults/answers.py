"""Faults of what a graph answers last: its softmax, and how many scores there are."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.converters.flatbuffer import Flatbuffer
from suite.faults.sites import Inapplicable

_FLOAT32 = 0


def softmax_missing(model: Flatbuffer) -> None:
    """The file answers scores where probabilities were promised."""
    softmax = _softmax(model)
    if softmax is None:
        raise Inapplicable("the model answers scores: there is no softmax that could be missing")
    model.graph.operators = [op for op in model.graph.operators if op is not softmax]
    _read_instead(model, int(softmax.outputs[0]), int(softmax.inputs[0]))


def softmax_axis(model: Flatbuffer) -> None:
    """A softmax runs over the batch, not over the classes: every answer is 1."""
    softmax = _softmax(model)
    if softmax is None:
        scores = _float_scores(model)
        model.answer_is(_over_batch(model, scores, scores, len(model.graph.operators)))
        return
    place = next(i for i, one in enumerate(model.graph.operators) if one is softmax)
    source, before = int(softmax.inputs[0]), int(softmax.outputs[0])
    del model.graph.operators[place]
    _read_instead(model, before, _over_batch(model, source, before, place))


def background_score(model: Flatbuffer) -> None:
    """The file answers one score more than there are classes, the first for `background`."""
    scores = _float_scores(model)
    batch, count = model.tensor(scores).shape
    wider = model.tensor_like(scores, "with background", np.array([batch, count + 1]))
    sizes = model.constant_tensor("sizes", np.array([[0, 0], [1, 0]], np.int32))
    made = model.operator("PAD", [scores, sizes], [wider])
    made.builtinOptionsType = model.schema.BuiltinOptions.PadOptions
    made.builtinOptions = model.schema.PadOptionsT()
    model.graph.operators.append(made)
    model.answer_is(wider)


def _softmax(model: Flatbuffer) -> Any | None:
    """The one that makes the answer, by way of a dequantisation or not."""
    answer = int(model.graph.outputs[0])
    makers = {int(op.outputs[0]): op for op in model.graph.operators}
    maker = makers.get(answer)
    while maker is not None and model.name(maker) == "DEQUANTIZE":
        maker = makers.get(int(maker.inputs[0]))
    return maker if maker is not None and model.name(maker) == "SOFTMAX" else None


def _float_scores(model: Flatbuffer) -> int:
    index = int(model.graph.outputs[0])
    if model.tensor(index).type != _FLOAT32 or len(model.tensor(index).shape) != 2:
        raise Inapplicable("the answer is no vector of float32 scores")
    return index


def _read_instead(model: Flatbuffer, before: int, after: int) -> None:
    """Whoever read one tensor reads another."""
    for operator in model.graph.operators:
        operator.inputs = np.array([after if i == before else i for i in operator.inputs], np.int32)
    if int(model.graph.outputs[0]) == before:
        model.answer_is(after)


def _over_batch(model: Flatbuffer, source: int, like: int, place: int) -> int:
    """A softmax of scores (1, k) along the axis of size 1, its operators at `place`."""
    count = int(model.tensor(source).shape[-1])
    column, row = np.array([count, 1], np.int32), np.array([1, count], np.int32)
    upright = model.tensor_like(source, "upright", column)
    answered = model.tensor_like(like, "answered", column)
    back = model.tensor_like(like, "back", row)
    softmax = model.operator("SOFTMAX", [upright], [answered])
    softmax.builtinOptionsType = model.schema.BuiltinOptions.SoftmaxOptions
    softmax.builtinOptions = model.schema.SoftmaxOptionsT()
    softmax.builtinOptions.beta = 1.0
    model.graph.operators[place:place] = [
        _reshape(model, source, upright, column),
        softmax,
        _reshape(model, answered, back, row),
    ]
    return back


def _reshape(model: Flatbuffer, source: int, to: int, shape: Any) -> Any:
    made = model.operator("RESHAPE", [source, model.constant_tensor("shape", shape)], [to])
    made.builtinOptionsType = model.schema.BuiltinOptions.ReshapeOptions
    made.builtinOptions = model.schema.ReshapeOptionsT()
    made.builtinOptions.newShape = shape
    return made


FAULTS = (softmax_missing, softmax_axis, background_score)

"""Faults of the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.converters.flatbuffer import Flatbuffer
from suite.faults.sites import Inapplicable, middle

_NONE, _RELU, _RELU6 = 0, 1, 3
_SAME, _VALID = 0, 1


def padding_exchanged(model: Flatbuffer) -> None:
    """One convolution pads as `valid` where `same` was meant."""
    spatial = [
        op for op in model.layers() if len(shape := model.tensor(op.inputs[1]).shape) == 4 and shape[1] > 1
    ]
    padded = [op for op in spatial if op.builtinOptions.padding == _SAME]
    middle(padded, "padded convolution").builtinOptions.padding = _VALID


def relu6_without_its_bound(model: Flatbuffer) -> None:
    """Every ReLU6 was exported as ReLU."""
    bounded = [op for op in model.graph.operators if _activation(op) == _RELU6]
    middle(bounded, "ReLU6")
    for operator in bounded:
        operator.builtinOptions.fusedActivationFunction = _RELU


def relu_with_a_bound(model: Flatbuffer) -> None:
    """Every ReLU was exported as ReLU6."""
    free = [op for op in model.graph.operators if _activation(op) == _RELU]
    middle(free, "ReLU")
    for operator in free:
        operator.builtinOptions.fusedActivationFunction = _RELU6


def activation_dropped(model: Flatbuffer) -> None:
    """The activation of one layer was lost in fusing."""
    active = [op for op in model.layers() if _activation(op) in (_RELU, _RELU6)]
    middle(active, "activation").builtinOptions.fusedActivationFunction = _NONE


def skip_dropped(model: Flatbuffer) -> None:
    """One skip connection is not there: nothing is added."""
    operator = middle(model.operators("ADD"), "skip connection")
    index = operator.inputs[0]
    skipped = model.tensor(index)
    zero = model.schema.TensorT()
    zero.name, zero.type, zero.shape = b"nothing", skipped.type, skipped.shape
    zero.quantization = skipped.quantization
    point = int(skipped.quantization.zeroPoint[0]) if model.quantised(index) else 0
    dtype = np.int8 if model.quantised(index) else np.float32
    zero.buffer = model.buffer(np.full(skipped.shape, point, dtype))
    model.graph.tensors.append(zero)
    operator.inputs = np.array([len(model.graph.tensors) - 1, operator.inputs[1]], np.int32)


def pooling_exchanged(model: Flatbuffer) -> None:
    """One pooling takes the maximum where the average was meant, or the other way round."""
    exchanged = {
        "AVERAGE_POOL_2D": "MAX_POOL_2D",
        "MAX_POOL_2D": "AVERAGE_POOL_2D",
        "MEAN": "REDUCE_MAX",
    }
    operator = middle(model.operators(*exchanged), "pooling")
    model.become(operator, exchanged[model.name(operator)])


def softmax_doubled(model: Flatbuffer) -> None:
    """The app's file answers probabilities where scores were promised: one softmax too many."""
    before = int(model.graph.outputs[0])
    scores = model.tensor(before)
    if scores.type != 0:
        raise Inapplicable("the output is no float32")
    made = model.schema.TensorT()
    made.name, made.type, made.shape, made.buffer = b"softmax", scores.type, scores.shape, 0
    made.shapeSignature = scores.shapeSignature
    model.graph.tensors.append(made)
    operator = model.schema.OperatorT()
    operator.opcodeIndex = model.opcode("SOFTMAX")
    operator.inputs = np.array([before], np.int32)
    operator.outputs = np.array([len(model.graph.tensors) - 1], np.int32)
    operator.builtinOptionsType = model.schema.BuiltinOptions.SoftmaxOptions
    operator.builtinOptions = model.schema.SoftmaxOptionsT()
    operator.builtinOptions.beta = 1.0
    model.graph.operators.append(operator)
    model.answer_is(len(model.graph.tensors) - 1)


def output_of_another_layer(model: Flatbuffer) -> None:
    """The answer is taken one layer too early."""
    computed = [
        op for op in model.graph.operators if model.name(op) not in ("DEQUANTIZE", "RESHAPE", "SOFTMAX")
    ]
    if not computed:
        raise Inapplicable("the file has no layer")
    model.answer_is(int(computed[-1].inputs[0]))


def _activation(operator: Any) -> int | None:
    return getattr(operator.builtinOptions, "fusedActivationFunction", None)


FAULTS = (
    padding_exchanged,
    relu6_without_its_bound,
    relu_with_a_bound,
    activation_dropped,
    skip_dropped,
    pooling_exchanged,
    softmax_doubled,
    output_of_another_layer,
)

"""What a precision alone does to one layer: the power of the rounding that nobody is to blame for.

Rounding to steps of s adds s^2 / 12 (Widrow and Kollár, Quantization Noise,
2008): once for each output that is stored, and once for each weight, times
the power of what the weight is multiplied with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from suite.localise.anatomy import Anatomy, Operator
from suite.spec import Array

FLOAT32_DB = (
    100.0  # 24 bits are 144 dB; sums of thousands of products take some, folding a normalisation more
)
FLOAT16_DB = 56.0  # 11 bits are 66 dB; weights whose products nearly cancel take some
CORE_ML_DB: Mapping[str, float] = {  # the evaluator rounds as the file declares
    "mlprogram_float32": 90.0,
    "neuralnetwork": 90.0,
    "mlprogram_float16": 40.0,
    "mlprogram_int8_weights": 25.0,
    "mlprogram_palettized_6bit": 12.0,
}


def power(anatomy: Anatomy, operators: Iterable[Operator], values: Mapping[int, Array]) -> float:
    """Mean square of the rounding that some operators add, given the values of their inputs."""
    return sum(_of_output(anatomy, one) + _of_weights(anatomy, one, values) for one in operators)


def _of_output(anatomy: Anatomy, operator: Operator) -> float:
    steps = (anatomy.tensors[index].step for index in operator.outputs)
    return max((step * step / 12 for step in steps if step), default=0.0)


def _of_weights(anatomy: Anatomy, operator: Operator, values: Mapping[int, Array]) -> float:
    """Rounded weights, and of hybrid kernels the inputs that are rounded sample by sample."""
    found = anatomy.weights(operator)
    taken = values.get(operator.inputs[0])
    if found is None or taken is None or not found[1].any():
        return 0.0
    weights, steps = found
    squares = np.square(taken, dtype=np.float64)
    if operator.name == "DEPTHWISE_CONV_2D":
        taps = int(np.prod(weights.shape[:-1]))
        by_channel = squares.reshape(-1, squares.shape[-1]).mean(axis=0)
        of_input = np.repeat(by_channel, max(1, weights.shape[-1] // len(by_channel)))
        added = float((taps * of_input * np.square(steps)).mean()) / 12
    else:
        taps = int(np.prod(weights.shape[:-1]))
        added = taps * float(squares.mean()) * float(np.square(steps).mean()) / 12
    if anatomy.tensors[operator.outputs[0]].step is None:
        added += _of_dynamic_inputs(taken, weights)
    return added


def _of_dynamic_inputs(taken: Array, weights: Array) -> float:
    flat = taken.reshape(len(taken), -1)
    ranges = np.maximum(flat.max(axis=1), 0) - np.minimum(flat.min(axis=1), 0)
    each = np.square(weights).reshape(-1, weights.shape[-1]).sum(axis=0).mean()
    return float(np.square(ranges / 255).mean() / 12 * each)

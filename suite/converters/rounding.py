"""A float32 .tflite file whose numbers are rounded to another precision, and which still computes in float32.

What such a file answers is what rounding alone costs, without the converter's
quantiser and without integer kernels: the noise floor of a precision.

float16        every weight and every activation to 11 significant bits
dynamic int8   the weights of layers to int8, symmetric, and what these layers
               are fed to int8, by the range of that one sample
int8, int16x8  weights to int8, biases to the step of what they are added to,
               activations to 8 or 16 bits by calibrated ranges

"LiteRT 8-bit quantization specification" (ai.google.dev/edge/litert) says which
tensors are rounded and how.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.converters.flatbuffer import Flatbuffer
from suite.spec import Array

FEWEST_DYNAMIC = 1024  # elements from which the converter makes a weight int8 by itself
FEWEST_COMPRESSED = 512  # as Core ML's converter is told
# Of the weights of a layer, the axis of its output channels: each has a step of its own.
CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}
WEIGHTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}  # place of input
BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
# They move or choose values, so that all they touch shares one step.
SAME_STEP = frozenset(
    {
        "AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "CONCATENATION", "DEPTH_TO_SPACE", "EXPAND_DIMS", "GATHER",
        "MAX_POOL_2D", "MIRROR_PAD", "PACK", "PAD", "PADV2", "RESHAPE", "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V",
        "SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE", "UNPACK", "MAXIMUM", "MINIMUM", "REDUCE_MAX",
    }
)  # fmt: skip
# Their answers have a known range, and a step that kernels rely on, whatever calibration saw.
FIXED = {"LOGISTIC": (0.0, 1.0), "SOFTMAX": (0.0, 1.0), "TANH": (-1.0, 1.0), "L2_NORMALIZATION": (-1.0, 1.0)}
_OPTIONS = {
    **{name: name.capitalize() for name in ("MUL", "SUB", "DIV", "QUANTIZE", "DEQUANTIZE")},
    **dict.fromkeys(("MINIMUM", "MAXIMUM"), "MaximumMinimum"),
    **dict.fromkeys(("REDUCE_MIN", "REDUCE_MAX"), "Reducer"),
}
_FLOAT32, _INT32, _INT16, _INT8 = 0, 2, 7, 9


@dataclass(frozen=True, slots=True)
class Step:
    """How a tensor of reals stands in integers: real = (integer - zero_point) * scale."""

    scale: float
    zero_point: int


def float16(data: bytes) -> bytes:
    """Every constant and every activation of a float32 file to 11 significant bits."""
    rewrite = Rewrite(data)
    for index in rewrite.float_constants():
        with np.errstate(over="ignore"):
            rewrite.model.put(index, rewrite.model.constant(index).astype(np.float16))
    rewrite.round_activations(rewrite.to_11_bits)
    return rewrite.model.pack()


def dynamic(data: bytes) -> bytes:
    """The weights of layers to int8, and what these layers are fed, sample by sample."""
    rewrite = Rewrite(data)
    chosen = rewrite.layers(FEWEST_DYNAMIC)
    for operator, name in chosen:
        rewrite.round_weights(operator, name)
    fed = {id(operator) for operator, _ in chosen}
    rewrite.round_inputs(lambda operator: id(operator) in fed, rewrite.to_own_range)
    return rewrite.model.pack()


def int8_weights(data: bytes) -> bytes:
    """The weights of layers to int8; all that is left, and every activation, to 11 significant bits."""
    rewrite = Rewrite(data)
    for operator, name in rewrite.layers(FEWEST_COMPRESSED):
        rewrite.round_weights(operator, name)
    rewrite.round_activations(rewrite.to_11_bits)
    return rewrite.model.pack()


def integer(data: bytes, ranges: Array, bits: int) -> bytes:
    """Weights to int8, activations to `bits` by `ranges`, (tensors, 2), lowest and highest value."""
    rewrite = Rewrite(data)
    steps = calibrated_steps(rewrite.model, ranges, bits)
    for operator, name in rewrite.layers(0):
        scales = rewrite.round_weights(operator, name)
        fed = steps.get(int(operator.inputs[0]))
        place = BIAS[name]
        if fed is not None and len(operator.inputs) > place and operator.inputs[place] >= 0:
            rewrite.round_bias(int(operator.inputs[place]), scales.ravel() * fed.scale)
    layer_constants = {int(index) for operator, _ in rewrite.layers(0) for index in operator.inputs}
    for index in rewrite.float_constants():
        values = rewrite.model.constant(index)
        if index not in layer_constants and values.size:
            step = step_of(float(values.min()), float(values.max()), bits)
            rewrite.model.put(index, rounded(values, step, bits))
    rewrite.round_activations(
        lambda index: rewrite.to_integers(index, steps[index], bits) if index in steps else index
    )
    return rewrite.model.pack()


def with_all_answers(data: bytes) -> tuple[bytes, dict[str, int]]:
    """The file with every activation as an output, and the places of its activations and inputs by name."""
    model = Flatbuffer(data)
    model.model.signatureDefs = None  # it would rename some of them
    computed = {int(index) for operator in model.graph.operators for index in operator.outputs}
    computed = {index for index in computed if model.tensor(index).type == _FLOAT32}
    for index in computed:
        model.tensor(index).name = f"activation {index}".encode()
    model.graph.outputs = np.array(sorted(computed), np.int32)
    known = (*computed, *(int(index) for index in model.graph.inputs))
    return model.pack(), {model.tensor(index).name.decode(): index for index in known}


# --- steps ----------------------------------------------------------------------


def step_of(low: float, high: float, bits: int) -> Step:
    """The step for reals from `low` to `high`: 8 bits are asymmetric and hold zero exactly, 16 symmetric."""
    if bits == 16:
        return Step(max(abs(low), abs(high), 1e-9) / (2**15 - 1), 0)
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (2**bits - 1)
    if scale == 0:
        return Step(1.0, 0)
    lowest = -(2 ** (bits - 1))
    return Step(scale, int(np.clip(np.rint(lowest - low / scale), lowest, -lowest - 1)))


def rounded(values: Array, step: Step, bits: int) -> Array:
    """Reals as the integers of a step give them back, float32."""
    limit = 2 ** (bits - 1)
    counts = np.clip(np.rint(values / step.scale) + step.zero_point, -limit, limit - 1)
    return np.asarray((counts - step.zero_point) * step.scale, np.float32)


def weight_scales(values: Array, axis: int) -> Array:
    """One step a channel along `axis`, all else of size one: symmetric, largest weight at 127."""
    others = tuple(place for place in range(values.ndim) if place != axis)
    size = np.abs(values.astype(np.float64)).max(axis=others, keepdims=True)
    return np.asarray(np.where(size > 0, size / 127, 1.0))


def groups(model: Flatbuffer) -> dict[int, frozenset[int]]:
    """Of each activation the ones that share its step, itself among them."""
    joined: dict[int, set[int]] = {}
    for operator in model.graph.operators:
        for index in (*operator.inputs, *operator.outputs):
            if index >= 0 and _is_activation(model, int(index)):
                joined.setdefault(int(index), {int(index)})
        if model.name(operator) in SAME_STEP:
            touched = [int(i) for i in (*operator.inputs, *operator.outputs) if int(i) in joined]
            whole = set().union(*(joined[index] for index in touched))
            for index in whole:
                joined[index] = whole
    return {index: frozenset(members) for index, members in joined.items()}


def calibrated_steps(model: Flatbuffer, ranges: Array, bits: int) -> dict[int, Step]:
    """The step of every activation; tensors that share one take the widest range among them."""
    fixed = fixed_steps(model, bits)
    found: dict[int, Step] = {}
    for index, members in groups(model).items():
        known = [member for member in members if np.isfinite(ranges[member]).all()]
        if known:
            low, high = float(ranges[known, 0].min()), float(ranges[known, 1].max())
            found[index] = step_of(low, high, bits)
    return {**found, **fixed}


def fixed_steps(model: Flatbuffer, bits: int) -> dict[int, Step]:
    """The steps of activations whose range is known beforehand."""
    found = {}
    for operator in model.operators(*FIXED):
        low, _ = FIXED[model.name(operator)]
        if bits == 16:
            found[int(operator.outputs[0])] = Step(2.0**-15, 0)
        else:
            found[int(operator.outputs[0])] = Step(2.0**-8, -128) if low == 0 else Step(2.0**-7, 0)
    return found


def _is_activation(model: Flatbuffer, index: int) -> bool:
    return bool(model.tensor(index).type == _FLOAT32 and model.values(index) is None)


# --- rewriting ------------------------------------------------------------------


class Rewrite:
    """One file while its numbers are being rounded."""

    def __init__(self, data: bytes) -> None:
        self.model = Flatbuffer(data)
        self._made: list[Any] = []
        self._codes: dict[str, int] = {}

    def float_constants(self) -> list[int]:
        """Tensors with float32 values of their own."""
        return [
            index
            for index, tensor in enumerate(self.model.graph.tensors)
            if tensor.type == _FLOAT32 and self.model.values(index) is not None
        ]

    def layers(self, fewest: int) -> list[tuple[Any, str]]:
        """Operators whose weights are constants of so many elements at least, with their names."""
        return [
            (operator, self.model.name(operator))
            for operator in self.model.operators(*WEIGHTS)
            if (values := self.model.values(int(operator.inputs[1]))) is not None
            and values.dtype == np.float32
            and values.size >= fewest
        ]

    def round_weights(self, operator: Any, name: str) -> Array:
        """Round the weights of one layer to int8; answers the steps of its channels."""
        index = int(operator.inputs[WEIGHTS[name]])
        values = self.model.constant(index)
        scales = weight_scales(values, CHANNEL_AXIS[name])
        self.model.put(index, np.clip(np.rint(values / scales), -127, 127) * scales)
        return scales

    def round_bias(self, index: int, scales: Array) -> None:
        """Round a bias to whole steps, of which an int32 counts two thousand million."""
        values = self.model.constant(index).astype(np.float64)
        counts = np.clip(np.rint(values / scales), -(2**31), 2**31 - 1)
        self.model.put(index, counts * scales)

    def round_activations(self, rounder: Callable[[int], int]) -> None:
        """Put what `rounder` makes of each activation in its place, inputs and outputs included."""
        aliases = {int(i): rounder(int(i)) for i in self.model.graph.inputs if self._rounds(int(i))}
        for operator in self._begin():
            operator.inputs = np.array([aliases.get(int(i), int(i)) for i in operator.inputs], np.int32)
            self._made.append(operator)
            for index in operator.outputs:
                if self._rounds(int(index)):
                    aliases[int(index)] = rounder(int(index))
        self._finish()
        self._answer(aliases)

    def round_inputs(self, chosen: Callable[[Any], bool], rounder: Callable[[int], int]) -> None:
        """Put what `rounder` makes of an operator's first input in its place, where it is chosen."""
        aliases: dict[int, int] = {}
        for operator in self._begin():
            index = int(operator.inputs[0]) if len(operator.inputs) else -1
            if chosen(operator) and self._rounds(index):
                if index not in aliases:
                    aliases[index] = rounder(index)
                operator.inputs = np.array([aliases[index], *operator.inputs[1:]], np.int32)
            self._made.append(operator)
        self._finish()

    def to_11_bits(self, index: int) -> int:
        """The activation rounded to a float16's significant bits: Veltkamp's splitting, exact in float32.

        x * (2^13 + 1) - (x * (2^13 + 1) - x) keeps the upper 11 of 24 bits (T. J. Dekker, "A
        floating-point technique for extending the available precision", Numerische Mathematik 18, 1971).
        """
        large = self._emit("MUL", [index, self._scalar(2.0**13 + 1)], index)
        return self._emit("SUB", [large, self._emit("SUB", [large, index], index)], index)

    def to_own_range(self, index: int) -> int:
        """The activation in 255 steps between this sample's own extremes, zero among them."""
        rank = len(self.model.tensor(index).shape)
        if rank == 0:
            return index
        axes, small = self._constant(np.arange(rank, dtype=np.int32)), [1] * rank
        zero = self._scalar(0.0)
        lowest = self._emit("REDUCE_MIN", [index, axes], index, small)
        highest = self._emit("REDUCE_MAX", [index, axes], index, small)
        low = self._emit("MINIMUM", [lowest, zero], index, small)
        high = self._emit("MAXIMUM", [highest, zero], index, small)
        width = self._emit("SUB", [high, low], index, small)
        step = self._emit("MUL", [width, self._scalar(1 / 255)], index, small)
        step = self._emit("MAXIMUM", [step, self._scalar(1e-30)], index, small)
        counts = self._emit("ROUND", [self._emit("DIV", [index, step], index)], index)
        return self._emit("MUL", [counts, step], index)

    def to_integers(self, index: int, step: Step, bits: int) -> int:
        """The activation as integers of a given step give it back."""
        kind = _INT8 if bits == 8 else _INT16
        counts = self._emit("QUANTIZE", [index], index, kind=kind, step=step)
        return self._emit("DEQUANTIZE", [counts], index)

    def _rounds(self, index: int) -> bool:
        return index >= 0 and _is_activation(self.model, index)

    def _begin(self) -> Sequence[Any]:
        operators: Sequence[Any] = self.model.graph.operators
        return operators

    def _finish(self) -> None:
        self.model.graph.operators, self._made = self._made, []

    def _answer(self, aliases: dict[int, int]) -> None:
        """Outputs are the rounded ones."""
        self.model.graph.outputs = np.array(
            [aliases.get(int(i), int(i)) for i in self.model.graph.outputs], np.int32
        )
        for signature in self.model.model.signatureDefs or ():
            for output in signature.outputs:
                output.tensorIndex = aliases.get(output.tensorIndex, output.tensorIndex)

    def _emit(
        self,
        name: str,
        inputs: Sequence[int],
        like: int,
        shape: Sequence[int] | None = None,
        *,
        kind: int = _FLOAT32,
        step: Step | None = None,
    ) -> int:
        """Append an operator; answers the tensor it makes, of the shape of `like` if no other is given."""
        schema, model = self.model.schema, self.model.tensor(like)
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.buffer = f"rounded {len(self.model.graph.tensors)}".encode(), kind, 0
        tensor.shape = np.array(model.shape if shape is None else shape, np.int32)
        if shape is None:
            tensor.shapeSignature = model.shapeSignature
        if step is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.array([step.scale], np.float32)
            tensor.quantization.zeroPoint = np.array([step.zero_point], np.int64)
        operator = schema.OperatorT()
        if name not in self._codes:
            self._codes[name] = self.model.opcode(name)
        operator.opcodeIndex = self._codes[name]
        operator.inputs, operator.outputs = np.array(inputs, np.int32), self._appended(tensor)
        self._set_options(operator, name)
        self._made.append(operator)
        return int(operator.outputs[0])

    def _set_options(self, operator: Any, name: str) -> None:
        schema = self.model.schema
        if name in _OPTIONS:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{_OPTIONS[name]}Options")
            operator.builtinOptions = getattr(schema, f"{_OPTIONS[name]}OptionsT")()
        if name.startswith("REDUCE"):
            operator.builtinOptions.keepDims = True

    def _scalar(self, value: float) -> int:
        return self._constant(np.array(value, np.float32))

    def _constant(self, values: Array) -> int:
        tensor = self.model.schema.TensorT()
        tensor.name = f"constant {len(self.model.graph.tensors)}".encode()
        tensor.type = _INT32 if values.dtype == np.int32 else _FLOAT32
        tensor.shape, tensor.buffer = np.array(values.shape, np.int32), self.model.buffer(values)
        return int(self._appended(tensor)[0])

    def _appended(self, tensor: Any) -> Array:
        self.model.graph.tensors.append(tensor)
        return np.array([len(self.model.graph.tensors) - 1], np.int32)

"""Layers of a neural network in terms of the operators of ML programs.

Each maker takes a layer's parameters and answers a function of the layer's
inputs. All tensors are float32, places and truth values too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from suite.coreml import ops
from suite.coreml.ops.registry import OpError, integers, room
from suite.spec import Array

Layer = Callable[..., Any]
_MAKERS: dict[str, Callable[[Any], Layer]] = {}


def make(kind: str, parameters: Any) -> Layer | None:
    """The function of a layer, or None where the kind is not known."""
    maker = _MAKERS.get(kind)
    return None if maker is None else maker(parameters)


def kinds() -> tuple[str, ...]:
    """Of every layer that is known."""
    return tuple(sorted(_MAKERS))


def _layer(*names: str) -> Callable[[Callable[[Any], Layer]], Callable[[Any], Layer]]:
    def register(maker: Callable[[Any], Layer]) -> Callable[[Any], Layer]:
        for name in names:
            _MAKERS[name] = maker
        return maker

    return register


def _op(name: str) -> Callable[..., Any]:
    found = ops.get(name)
    assert found is not None
    return found.run


# --- weights ----------------------------------------------------------------------


def weights(message: Any, shape: tuple[int, ...]) -> Array:
    """A WeightParams message as float32 of this shape; OpError where it holds another number of values."""
    count = int(np.prod(room(shape), dtype=np.int64))
    if message.floatValue:
        values = _floats(message)
    elif message.float16Value:
        if len(message.float16Value) % 2:
            raise OpError("an odd number of bytes of float16 weights")
        values = np.frombuffer(message.float16Value, np.float16).astype(np.float32)
    elif message.rawValue or message.int8RawValue:
        values = _quantised(message, shape, count)
    else:
        values = np.empty(0, np.float32)
    if values.size != count:
        raise OpError(f"{values.size} weights, {'x'.join(map(str, shape))} takes {count}")
    return values.reshape(shape)


def _floats(message: Any) -> Array:
    """`floatValue` from its wire format: some hundred times as fast as one number after the other."""
    data = message.SerializeToString()
    if data[0] != 0x0A:  # field 1, by length
        return np.array(list(message.floatValue), np.float32)
    size, shift, place = 0, 0, 1
    while True:
        byte = data[place]
        size |= (byte & 0x7F) << shift
        shift, place = shift + 7, place + 1
        if byte < 0x80:
            break
    return np.frombuffer(data, np.dtype("<f4"), size // 4, place).astype(np.float32, copy=False)


def _quantised(message: Any, shape: tuple[int, ...], count: int) -> Array:
    bits = int(message.quantization.numberOfBits)
    if message.int8RawValue or not 1 <= bits <= 8:
        raise OpError(f"weights of {bits} bits")
    raw = np.frombuffer(message.rawValue, np.uint8)
    if raw.size * 8 < bits * count:
        raise OpError(f"{raw.size} bytes for {count} weights of {bits} bits")
    planes = np.unpackbits(raw, count=bits * count).reshape(count, bits)  # from the most significant bit on
    places = (planes << np.arange(bits - 1, -1, -1, dtype=np.uint8)).sum(axis=1, dtype=np.uint8)
    table = message.quantization
    if table.WhichOneof("QuantizationType") == "lookupTableQuantization":
        entries = np.array(list(table.lookupTableQuantization.floatValue), np.float32)
        if entries.size != 1 << bits:
            raise OpError(f"a table of {entries.size} entries for {bits} bits")
        return np.asarray(entries[places])
    scale = np.array(list(table.linearQuantization.scale), np.float32)
    bias = np.array(list(table.linearQuantization.bias), np.float32)
    if scale.size not in (1, shape[0]) or bias.size not in (0, scale.size):
        raise OpError(f"{scale.size} scales and {bias.size} biases for weights of {shape}")
    answer = places.astype(np.float32).reshape(shape[0], -1) * scale[:, None]
    return np.asarray((answer + (bias[:, None] if bias.size else 0)).reshape(-1))


# --- convolution and pooling ------------------------------------------------------


def _edges(amounts: Any) -> list[int]:
    """[top, bottom, left, right] of a BorderAmounts message."""
    borders = list(amounts.borderAmounts)
    if not borders:
        return [0, 0, 0, 0]
    if len(borders) != 2:
        raise OpError(f"borders of {len(borders)} axes")
    found = [int(size) for one in borders for size in (one.startEdgeSize, one.endEdgeSize)]
    room(found)
    return found


def _padding(p: Any, kind: str) -> tuple[str, list[int]]:
    if kind == "same":
        return ("same_lower" if p.same.asymmetryMode else "same"), [0, 0, 0, 0]
    return "custom", _edges(getattr(p, kind).paddingAmounts) if kind else [0, 0, 0, 0]


def _as4(layer: Layer) -> Layer:
    """More axes before the last three are so many samples."""

    def run(x: Array, *more: Array) -> Array:
        if x.ndim < 3:
            raise OpError(f"an image of rank {x.ndim}")
        answer: Array = layer(x.reshape(-1, *x.shape[-3:]), *more)
        return answer.reshape(*x.shape[:-3], *answer.shape[1:]) if x.ndim != 4 else answer

    return run


@_layer("convolution")
def _convolution(p: Any) -> Layer:
    groups, kernel = int(p.nGroups) or 1, integers(p.kernelSize) or [3, 3]
    pad_type, pad = _padding(p, p.WhichOneof("ConvolutionPaddingType"))
    shape = (
        (p.outputChannels, p.kernelChannels)
        if not p.isDeconvolution
        else (p.kernelChannels, p.outputChannels // groups)
    )
    weight = weights(p.weights, (*map(int, shape), *kernel)) if p.HasField("weights") else None
    bias = weights(p.bias, (int(p.outputChannels),)) if p.hasBias else None
    memo: dict[str, Any] | None = {}
    given = {"strides": integers(p.stride) or None, "dilations": integers(p.dilationFactor) or None}
    if weight is None:
        return _as4(lambda x, w: _op("conv")(x, w, bias, pad_type=pad_type, pad=pad, groups=groups, **given))
    if not p.isDeconvolution:
        return _as4(
            lambda x: _op("conv")(
                x, weight, bias, pad_type=pad_type, pad=pad, groups=groups, memo=memo, **given
            )
        )
    sizes = integers(p.outputShape)

    def transposed(x: Array) -> Array:
        wanted = [x.shape[0], int(p.outputChannels), *sizes[-2:]] if sizes else None
        answer: Array = _op("conv_transpose")(x, weight, bias, pad, wanted, pad_type, groups=groups, **given)
        return answer

    return _as4(transposed)


@_layer("convolution3d")
def _convolution3d(p: Any) -> Layer:
    groups = int(p.nGroups) or 1
    kernel = [int(p.kernelDepth), int(p.kernelHeight), int(p.kernelWidth)]
    shape = (
        (p.outputChannels, p.inputChannels // groups)
        if not p.isDeconvolution
        else (p.inputChannels, p.outputChannels // groups)
    )
    weight = weights(p.weights, (*map(int, shape), *kernel))
    bias = weights(p.bias, (int(p.outputChannels),)) if p.hasBias else None
    names = {"VALID": "valid", "SAME": "same", "CUSTOM": "custom"}
    given = {
        "strides": [int(p.strideDepth) or 1, int(p.strideHeight) or 1, int(p.strideWidth) or 1],
        "dilations": [int(p.dilationDepth) or 1, int(p.dilationHeight) or 1, int(p.dilationWidth) or 1],
        "pad_type": names[p.PaddingType.Name(p.paddingType)],
        "pad": _borders3(p),
        "groups": groups,
    }
    if p.isDeconvolution:
        sizes = integers(p.outputShape)
        return lambda x: _op("conv_transpose")(
            x,
            weight,
            bias,
            output_shape=[x.shape[0], int(p.outputChannels), *sizes[-3:]] if sizes else None,
            **given,
        )
    return lambda x: _op("conv")(x, weight, bias, **given)


def _borders3(p: Any) -> list[int]:
    names = ("Front", "Back", "Top", "Bottom", "Left", "Right")
    return [int(getattr(p, f"customPadding{name}")) for name in names]


@_layer("pooling")
def _pooling(p: Any) -> Layer:
    name = ("max_pool", "avg_pool", "l2_pool")[p.type]
    if p.globalPooling:
        return _as4(_whole(p.type))
    kind = p.WhichOneof("PoolingPaddingType")
    more: dict[str, Any] = {"exclude_padding_from_average": p.avgPoolExcludePadding} if p.type == 1 else {}
    pad_type, pad = "custom", [0, 0, 0, 0]
    if kind == "includeLastPixel":
        amounts = integers(p.includeLastPixel.paddingAmounts) or [0, 0]
        if len(amounts) != 2:
            raise OpError(f"padding of {len(amounts)} axes")
        pad, more["ceil_mode"] = [amounts[0], amounts[0], amounts[1], amounts[1]], True
    else:
        pad_type, pad = _padding(p, kind)
    kernel, strides = integers(p.kernelSize) or [3, 3], integers(p.stride) or None
    return _as4(lambda x: _op(name)(x, kernel, pad_type, strides, pad, **more))


def _whole(kind: int) -> Layer:
    """Global pooling: largest, mean, root of the sum of squares."""
    names = ("reduce_max", "reduce_mean", "reduce_l2_norm")
    return lambda x: _op(names[kind])(x, list(range(2, x.ndim)), True)


@_layer("pooling3d")
def _pooling3d(p: Any) -> Layer:
    name = ("max_pool", "avg_pool")[p.type]
    more = {"exclude_padding_from_average": p.countExcludePadding} if p.type == 1 else {}
    names = {"VALID": "valid", "SAME": "same", "CUSTOM": "custom"}
    pad_type = names[p.Pooling3DPaddingType.Name(p.paddingType)]
    kernel = [int(p.kernelDepth), int(p.kernelHeight), int(p.kernelWidth)]
    strides = [int(p.strideDepth) or 1, int(p.strideHeight) or 1, int(p.strideWidth) or 1]
    return lambda x: _op(name)(x, kernel, pad_type, strides, _borders3(p), **more)


@_layer("globalPooling3d")
def _global_pooling3d(p: Any) -> Layer:
    return _whole(p.type)


@_layer("padding")
def _pad(p: Any) -> Layer:
    edges, kind = _edges(p.paddingAmounts), p.WhichOneof("PaddingType") or "constant"
    mode = {"constant": "constant", "reflection": "reflect", "replication": "replicate"}[kind]
    value = float(p.constant.value)
    return lambda x: _op("pad")(x, edges, mode, value)


@_layer("constantPad")
def _constant_pad(p: Any) -> Layer:
    amounts, value = integers(p.padAmounts), float(p.value)
    if p.padToGivenOutputSizeMode or not amounts:
        raise OpError("padding to a given size")
    return lambda x: _op("pad")(x, amounts, "constant", value)


@_layer("crop")
def _crop(p: Any) -> Layer:
    edges = _edges(p.cropAmounts)
    if p.offset:
        raise OpError("a crop by another tensor's size")
    return lambda x: _op("crop")(x, edges[:2], edges[2:])


@_layer("upsample")
def _upsample(p: Any) -> Layer:
    factors = [float(one) for one in p.fractionalScalingFactor] or [float(one) for one in p.scalingFactor]
    if len(factors) != 2:
        raise OpError(f"{len(factors)} scaling factors")
    if not p.mode:
        return lambda x: _op("upsample_nearest_neighbor")(x, *factors)
    half = {0: False, 1: False, 2: True}[p.linearUpsampleMode]
    return lambda x: _op("upsample_bilinear")(x, *factors, p.linearUpsampleMode == 1, half)


_SAMPLING = ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS")


@_layer("resizeBilinear")
def _resize_bilinear(p: Any) -> Layer:
    size, mode = integers(p.targetSize), _SAMPLING[p.mode.samplingMethod]
    return lambda x: _op("resize_bilinear")(x, *size, mode)


# --- products ---------------------------------------------------------------------


@_layer("innerProduct")
def _inner_product(p: Any) -> Layer:
    weight = weights(p.weights, (int(p.outputChannels), int(p.inputChannels)))
    bias = weights(p.bias, (int(p.outputChannels),)) if p.hasBias else None

    def run(x: Array) -> Array:
        if x.ndim >= 3 and x.shape[-2:] == (1, 1) and x.shape[-3] == weight.shape[1]:
            answer: Array = _op("linear")(x[..., 0, 0], weight, bias)
            return answer[..., None, None]
        product: Array = _op("linear")(x, weight, bias)
        return product

    return run


@_layer("batchedMatmul")
def _batched_matmul(p: Any) -> Layer:
    rows, columns = int(p.weightMatrixFirstDimension), int(p.weightMatrixSecondDimension)
    if not p.HasField("weights") or not rows:
        return lambda x, y: _op("matmul")(x, y, p.transposeA, p.transposeB)
    # The weights are written column by column.
    weight = weights(p.weights, (columns, rows))
    bias = weights(p.bias, (columns,)) if p.hasBias else None
    return lambda x: _op("linear")(np.swapaxes(x, -1, -2) if p.transposeA else x, weight, bias)


@_layer("embedding", "embeddingND")
def _embedding(p: Any) -> Layer:
    legacy = p.DESCRIPTOR.name == "EmbeddingLayerParams"
    vocabulary, width = (p.inputDim, p.outputChannels) if legacy else (p.vocabSize, p.embeddingSize)
    table = weights(p.weights, (int(width), int(vocabulary))).T
    bias = weights(p.bias, (int(width),)) if p.hasBias else np.float32(0)

    def run(x: Array) -> Array:
        if not x.ndim or x.shape[-1] != 1:
            raise OpError(f"places of {x.shape}")
        return np.asarray(_op("gather")(table, _whole_numbers(x[..., 0])) + bias)

    return run


def _whole_numbers(x: Array) -> Array:
    return np.asarray(np.rint(x)).astype(np.int64)


# --- normalisation ----------------------------------------------------------------


@_layer("batchnorm")
def _batchnorm(p: Any) -> Layer:
    shape = (int(p.channels),)
    gamma, beta = weights(p.gamma, shape), weights(p.beta, shape)
    epsilon = float(p.epsilon) or 1e-5
    if p.computeMeanVar:
        if not p.instanceNormalization:
            raise OpError("a batch norm that computes its statistics over the batch")
        return _as4(lambda x: _op("instance_norm")(x, gamma, beta, epsilon))
    mean, variance = weights(p.mean, shape), weights(p.variance, shape)
    memo: dict[str, Any] = {}
    return _as4(lambda x: _op("batch_norm")(x, mean, variance, gamma, beta, epsilon, memo=memo))


@_layer("mvn")
def _mvn(p: Any) -> Layer:
    axes = [-3, -2, -1] if p.acrossChannels else [-2, -1]
    epsilon = float(p.epsilon) or 1e-5

    def run(x: Array) -> Array:
        centred = x - x.mean(axis=tuple(axes), keepdims=True)
        if not p.normalizeVariance:
            return np.asarray(centred)
        variance = np.square(centred).mean(axis=tuple(axes), keepdims=True)
        return np.asarray(centred / np.sqrt(variance + np.float32(epsilon)))

    return run


@_layer("l2normalize")
def _l2normalize(p: Any) -> Layer:
    return lambda x: _op("l2_norm")(x, float(p.epsilon) or 1e-6)


@_layer("lrn")
def _lrn(p: Any) -> Layer:
    return _as4(
        lambda x: _op("local_response_norm")(
            x, int(p.localSize), float(p.alpha), float(p.beta), float(p.k) or 1.0
        )
    )


@_layer("layerNormalization")
def _layer_norm(p: Any) -> Layer:
    shape = tuple(integers(p.normalizedShape))
    gamma, beta = weights(p.gamma, shape), weights(p.beta, shape)
    return lambda x: _op("layer_norm")(x, list(range(-len(shape), 0)), gamma, beta, float(p.eps) or 1e-5)


@_layer("softmax")
def _softmax(p: Any) -> Layer:
    return lambda x: _op("softmax")(x, -3 if x.ndim >= 3 else -1)


@_layer("softmaxND")
def _softmax_nd(p: Any) -> Layer:
    return lambda x: _op("softmax")(x, p.axis)


# --- activations and elementwise ----------------------------------------------------


@_layer("activation")
def _activation(p: Any) -> Layer:
    kind = p.WhichOneof("NonlinearityType")
    if kind is None:
        raise OpError("an activation of no kind")
    q = getattr(p, kind)
    if kind == "PReLU":
        alpha = _vector(q.alpha)
        return _as4(lambda x: _op("prelu")(x, alpha))
    if kind == "parametricSoftplus":
        alpha, beta = _vector(q.alpha), _vector(q.beta)
        return _as4(
            lambda x: _op("softplus_parametric")(x, *(np.resize(one, x.shape[1]) for one in (alpha, beta)))
        )
    simple = {
        "ReLU": "relu",
        "tanh": "tanh",
        "sigmoid": "sigmoid",
        "softsign": "softsign",
        "softplus": "softplus",
    }
    if kind in simple:
        return lambda x: _op(simple[kind])(x)
    scaled = {
        "leakyReLU": "leaky_relu", "thresholdedReLU": "thresholded_relu", "ELU": "elu",
        "linear": "linear_activation", "scaledTanh": "scaled_tanh", "sigmoidHard": "sigmoid_hard",
    }  # fmt: skip
    values = [float(getattr(q, name)) for name in ("alpha", "beta") if name in q.DESCRIPTOR.fields_by_name]
    return lambda x: _op(scaled[kind])(x, *values)


def _vector(message: Any) -> Array:
    """All the weights of a message that does not say how many they are."""
    count = len(message.floatValue) or len(message.float16Value) // 2
    if not count:
        raise OpError("parameters that are not there")
    return weights(message, (count,))


@_layer("clampedReLU")
def _clamped_relu(p: Any) -> Layer:
    return lambda x: _op("clamped_relu")(x, float(p.alpha), float(p.beta))


@_layer("gelu")
def _gelu(p: Any) -> Layer:
    mode = ("EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION")[p.mode]
    return lambda x: _op("gelu")(x, mode)


@_layer("unary")
def _unary(p: Any) -> Layer:
    kind, alpha, epsilon = int(p.type), np.float32(p.alpha), float(p.epsilon) or 1e-6
    functions: dict[int, Callable[[Array], Any]] = {
        0: np.sqrt,
        1: lambda x: _op("rsqrt")(x, epsilon),
        2: lambda x: _op("inverse")(x, epsilon),
        3: lambda x: np.power(x, alpha),
        4: np.exp,
        5: lambda x: _op("log")(x, epsilon),
        6: np.abs,
        7: lambda x: np.maximum(x, alpha),
    }
    if kind not in functions:
        raise OpError(f"a function {kind}")
    scale, shift = np.float32(p.scale), np.float32(p.shift)
    # Proto 3 cannot tell a scale of 0 from none; that function would be constant.
    scale = scale or np.float32(1)
    plain = scale == 1 and shift == 0
    return lambda x: functions[kind](x if plain else x * scale + shift)


def _folded(function: Callable[..., Any]) -> Callable[[Any], Layer]:
    """A function of two for any number of inputs; of one, with the layer's own number."""

    def maker(p: Any) -> Layer:
        alpha = np.float32(getattr(p, "alpha", 0))

        def run(*values: Array) -> Array:
            if len(values) == 1:
                return np.asarray(function(values[0], alpha))
            answer = values[0]
            for value in values[1:]:
                room(np.broadcast_shapes(answer.shape, value.shape))
                answer = function(answer, value)
            return np.asarray(answer)

        return run

    return maker


for _names, _function in (
    (("add", "addBroadcastable"), np.add),
    (("multiply", "multiplyBroadcastable"), np.multiply),
    (("subtractBroadcastable",), np.subtract),
    (("divideBroadcastable",), np.divide),
    (("max", "maxBroadcastable"), np.maximum),
    (("min", "minBroadcastable"), np.minimum),
    (("powBroadcastable",), np.power),
    (("floorDivBroadcastable",), np.floor_divide),
    (("modBroadcastable",), np.mod),
    (("equal",), np.equal),
    (("notEqual",), np.not_equal),
    (("lessThan",), np.less),
    (("lessEqual",), np.less_equal),
    (("greaterThan",), np.greater),
    (("greaterEqual",), np.greater_equal),
    (("logicalAnd",), np.logical_and),
    (("logicalOr",), np.logical_or),
    (("logicalXor",), np.logical_xor),
):
    _layer(*_names)(_folded(_function))


@_layer("average")
def _average(p: Any) -> Layer:
    return lambda *values: sum(values[1:], values[0]) / np.float32(len(values))


def _simple(name: str) -> Callable[[Any], Layer]:
    return lambda p: lambda x: _op(name)(x)


for _name in (
    "ceil", "floor", "sign", "round", "exp2", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
    "tanh", "atanh", "erf",
):  # fmt: skip
    _layer(_name)(_simple(_name))
_layer("logicalNot")(_simple("logical_not"))
_layer("asinh")(lambda p: lambda x: np.arcsinh(x))
_layer("acosh")(lambda p: lambda x: np.arccosh(x))
_layer("copy")(_simple("identity"))
_layer("getShape")(_simple("shape"))
_layer("whereNonZero")(_simple("non_zero"))


@_layer("clip")
def _clip(p: Any) -> Layer:
    return lambda x: _op("clip")(x, float(p.minVal), float(p.maxVal))


@_layer("scale")
def _scale(p: Any) -> Layer:
    scale = weights(p.scale, tuple(integers(p.shapeScale)))
    bias = weights(p.bias, tuple(integers(p.shapeBias))) if p.hasBias else None
    return lambda x: x * _image(scale) + (np.float32(0) if bias is None else _image(bias))


@_layer("bias")
def _bias(p: Any) -> Layer:
    bias = weights(p.bias, tuple(integers(p.shape)))
    return lambda x: x + _image(bias)


def _image(values: Array) -> Array:
    """A vector by channel, (c, h, w) as it is."""
    return values.reshape(-1, 1, 1) if values.ndim == 1 and values.size > 1 else values


@_layer("loadConstantND", "loadConstant")
def _constant(p: Any) -> Layer:
    values = weights(p.data, tuple(integers(p.shape)))
    return lambda: values


# --- shapes -----------------------------------------------------------------------


@_layer("transpose", "permute")
def _transpose(p: Any) -> Layer:
    axes = integers(p.axes if p.DESCRIPTOR.name == "TransposeLayerParams" else p.axis)
    return lambda x: _op("transpose")(x, axes)


@_layer("reshapeStatic", "rankPreservingReshape")
def _reshape(p: Any) -> Layer:
    shape = integers(p.targetShape)
    return lambda x: _op("reshape")(x, shape)


@_layer("reshapeDynamic")
def _reshape_dynamic(p: Any) -> Layer:
    return lambda x, shape: _op("reshape")(x, _whole_numbers(shape))


@_layer("reshapeLike")
def _reshape_like(p: Any) -> Layer:
    return lambda x, like: _op("reshape")(x, like.shape)


@_layer("expandDims")
def _expand_dims(p: Any) -> Layer:
    return lambda x: _op("expand_dims")(x, integers(p.axes))


@_layer("squeeze")
def _squeeze(p: Any) -> Layer:
    return lambda x: _op("squeeze")(x, None if p.squeezeAll else integers(p.axes))


@_layer("flattenTo2D")
def _flatten_to_2d(p: Any) -> Layer:
    return lambda x: _op("flatten2d")(x, p.axis)


@_layer("flatten")
def _flatten(p: Any) -> Layer:
    def run(x: Array) -> Array:
        if x.ndim < 3:
            raise OpError(f"an image of rank {x.ndim}")
        moved = np.moveaxis(x, -3, -1) if p.mode else x
        return moved.reshape(*x.shape[:-3], -1, 1, 1)

    return run


@_layer("concatND", "concat")
def _concat(p: Any) -> Layer:
    legacy = p.DESCRIPTOR.name == "ConcatLayerParams"
    if legacy and p.sequenceConcat:
        raise OpError("a concatenation of sequences")
    axis, interleave = (-3, False) if legacy else (p.axis, p.interleave)
    return lambda *values: _op("concat")(list(values), axis, interleave)


@_layer("stack")
def _stack(p: Any) -> Layer:
    return lambda *values: _op("stack")(list(values), p.axis)


@_layer("splitND")
def _split_nd(p: Any) -> Layer:
    return lambda x: _op("split")(x, p.axis, int(p.numSplits) or None, integers(p.splitSizes) or None)


@_layer("split")
def _split(p: Any) -> Layer:
    return lambda x: _op("split")(x, -3, int(p.nOutputs))


@_layer("tile")
def _tile(p: Any) -> Layer:
    def run(x: Array, *reps: Array) -> Array:
        answer: Array = _op("tile")(x, _whole_numbers(reps[0]) if reps else integers(p.reps))
        return answer

    return run


@_layer("broadcastToStatic")
def _broadcast(p: Any) -> Layer:
    shape = integers(p.targetShape)
    return lambda x: np.array(np.broadcast_to(x, room(shape)))


@_layer("broadcastToLike")
def _broadcast_like(p: Any) -> Layer:
    return lambda x, like: np.array(np.broadcast_to(x, room(like.shape)))


@_layer("fillStatic")
def _fill(p: Any) -> Layer:
    return lambda: _op("fill")(integers(p.targetShape), float(p.value))


@_layer("fillLike")
def _fill_like(p: Any) -> Layer:
    return lambda x: _op("fill")(x.shape, float(p.value))


@_layer("fillDynamic")
def _fill_dynamic(p: Any) -> Layer:
    return lambda shape: _op("fill")(_whole_numbers(shape), float(p.value))


@_layer("sliceStatic")
def _slice_static(p: Any) -> Layer:
    squeeze = [bool(one) for one in p.squeezeMasks] or None
    return lambda x: _op("slice_by_index")(
        x,
        integers(p.beginIds),
        integers(p.endIds),
        integers(p.strides),
        [bool(one) for one in p.beginMasks],
        [bool(one) for one in p.endMasks],
        squeeze,
    )


@_layer("slice")
def _slice(p: Any) -> Layer:
    axis, start, end, step = -3 + p.axis, int(p.startIndex), int(p.endIndex), int(p.stride) or 1

    def run(x: Array) -> Array:
        if x.ndim < 3:
            raise OpError(f"an image of rank {x.ndim}")
        index: list[Any] = [slice(None)] * x.ndim
        # The end is the first that is left out; -1 is the last, and is taken.
        index[axis] = slice(start, None if end == -1 else end + 1 if end < 0 else end, step)
        return np.asarray(x[tuple(index)])

    return run


@_layer("sliceBySize")
def _slice_by_size(p: Any) -> Layer:
    def run(x: Array, begin: Array) -> Array:
        start = int(_whole_numbers(begin).reshape(-1)[0])
        axis = p.axis % x.ndim
        begins = [start if i == axis else 0 for i in range(x.ndim)]
        sizes = [int(p.size) if i == axis else -1 for i in range(x.ndim)]
        answer: Array = _op("slice_by_size")(x, begins, sizes)
        return answer

    return run


@_layer("reverse")
def _reverse(p: Any) -> Layer:
    return lambda x: _op("reverse")(x, [i for i, turned in enumerate(p.reverseDim) if turned])


@_layer("slidingWindows")
def _sliding_windows(p: Any) -> Layer:
    return lambda x: _op("sliding_windows")(x, p.axis, int(p.windowSize), int(p.step) or 1)


@_layer("reorganizeData")
def _reorganize(p: Any) -> Layer:
    name = ("space_to_depth", "depth_to_space", "pixel_shuffle")[p.mode]
    return _as4(lambda x: _op(name)(x, int(p.blockSize)))


@_layer("matrixBandPart")
def _band(p: Any) -> Layer:
    return lambda x: _op("band_part")(x, p.numLower, p.numUpper)


# --- places, sorting, reduction -----------------------------------------------------


_MODES = ("update", "add", "sub", "mul", "div", "max", "min")


@_layer("gather")
def _gather(p: Any) -> Layer:
    return lambda x, places: _op("gather")(x, _whole_numbers(places), p.axis)


@_layer("gatherND")
def _gather_nd(p: Any) -> Layer:
    return lambda x, places: _op("gather_nd")(x, _whole_numbers(places))


@_layer("gatherAlongAxis")
def _gather_along_axis(p: Any) -> Layer:
    return lambda x, places: _op("gather_along_axis")(x, _whole_numbers(places), p.axis)


@_layer("scatter")
def _scatter(p: Any) -> Layer:
    return lambda x, places, updates: _op("scatter")(
        x, _whole_numbers(places), updates, p.axis, _MODES[p.mode]
    )


@_layer("scatterND")
def _scatter_nd(p: Any) -> Layer:
    return lambda x, places, updates: _op("scatter_nd")(x, _whole_numbers(places), updates, _MODES[p.mode])


@_layer("scatterAlongAxis")
def _scatter_along_axis(p: Any) -> Layer:
    return lambda x, places, updates: _op("scatter_along_axis")(
        x, _whole_numbers(places), updates, p.axis, _MODES[p.mode]
    )


@_layer("whereBroadcastable")
def _where(p: Any) -> Layer:
    return lambda chosen, a, b: _op("select")(chosen != 0, a, b)


@_layer("oneHot")
def _one_hot(p: Any) -> Layer:
    return lambda x: _op("one_hot")(
        _whole_numbers(x), int(p.oneHotVectorSize), p.axis, np.float32(p.onValue), np.float32(p.offValue)
    )


@_layer("topK")
def _top_k(p: Any) -> Layer:
    return lambda x: _op("topk")(x, int(p.K), p.axis, p.useBottomK)


@_layer("argSort")
def _arg_sort(p: Any) -> Layer:
    return lambda x: _op("argsort")(x, p.axis, not p.descending)


@_layer("argMax")
def _arg_max(p: Any) -> Layer:
    return lambda x: _op("reduce_argmax")(x, p.axis, not p.removeDim)


@_layer("argMin")
def _arg_min(p: Any) -> Layer:
    return lambda x: _op("reduce_argmin")(x, p.axis, not p.removeDim)


@_layer("cumSum")
def _cum_sum(p: Any) -> Layer:
    return lambda x: _op("cumsum")(x, p.axis, p.excludeFinalSum, p.reverse)


def _reduction(name: str) -> Callable[[Any], Layer]:
    return lambda p: lambda x: _op(name)(x, None if p.reduceAll else integers(p.axes), p.keepDims)


for _kind, _name in (
    ("L1", "l1_norm"), ("L2", "l2_norm"), ("Max", "max"), ("Min", "min"), ("Sum", "sum"), ("Prod", "prod"),
    ("Mean", "mean"), ("LogSum", "log_sum"), ("SumSquare", "sum_square"), ("LogSumExp", "log_sum_exp"),
):  # fmt: skip
    _layer(f"reduce{_kind}")(_reduction(f"reduce_{_name}"))


@_layer("reduce")
def _reduce(p: Any) -> Layer:
    names = ("sum", "mean", "prod", "log_sum", "sum_square", "l1_norm", "l2_norm", "max", "min")
    if p.mode >= len(names):
        return lambda x: _op("reduce_argmax")(x, {2: -3, 3: -2, 4: -1}[p.axis], True)
    axes = ([-3, -2, -1], [-2, -1], [-3], [-2], [-1])[p.axis]
    return lambda x: _op(f"reduce_{names[p.mode]}")(x, axes, True)

"""Layers that compute: products, normalisations, activations, functions of elements, reductions."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.spec import Array
from tests.meta.coreml.layers.asking import Answer, Case, Draw, Random, check, first, last, one, several
from tests.meta.coreml.ops.asking import Ask, some

# --- products ---------------------------------------------------------------------------


def _inner_product(random: Random, tf: Ask) -> Case:
    inside, outside = random.size(1, 5), random.size(1, 5)
    x = random.normal_values(*(random.size(1, 3) for _ in range(random.size(0, 2))), inside)
    weight, bias = random.normal_values(outside, inside), random.normal_values(outside)
    expected = tf("linalg.matvec", [weight, x]) + bias
    return one("add_inner_product", x, expected, W=weight, b=bias, input_channels=inside,
               output_channels=outside, has_bias=True)  # fmt: skip


def _batched_matmul(random: Random, tf: Ask) -> Case:
    left, inner, right = (random.size(1, 4) for _ in range(3))
    flip_a, flip_b = bool(random.integers(2)), bool(random.integers(2))
    a = random.normal_values(2, *((inner, left) if flip_a else (left, inner)))
    b = random.normal_values(2, *((right, inner) if flip_b else (inner, right)))
    expected = tf("matmul", [a, b], {"transpose_a": flip_a, "transpose_b": flip_b})
    return several("add_batched_mat_mul", {"a": a, "b": b}, expected, transpose_a=flip_a, transpose_b=flip_b)


def _matmul_by_weights(random: Random, tf: Ask) -> Case:
    x, weight, bias = random.normal_values(2, 3, 4), random.normal_values(4, 5), random.normal_values(5)
    return several("add_batched_mat_mul", {"x": x}, tf("matmul", [x, weight]) + bias,
                   weight_matrix_rows=4, weight_matrix_columns=5, W=weight, bias=bias)  # fmt: skip


def _embedding(random: Random, tf: Ask) -> Case:
    words, width = random.size(2, 6), random.size(1, 4)
    places = random.integers(0, words, (2, 3, 1))
    table = random.normal_values(words, width)
    expected = tf("nn.embedding_lookup", [table, places[..., 0]])
    return one("add_embedding_nd", places.astype(np.float32), expected, vocab_size=words,
               embedding_size=width, W=table.T)  # fmt: skip


def _embedding_of_images(random: Random, tf: Ask) -> Case:
    places, table, bias = random.integers(0, 4, (3, 1)), random.normal_values(4, 2), random.normal_values(2)
    expected = tf("nn.embedding_lookup", [table, places[..., 0]]) + bias
    return one("add_embedding", places.astype(np.float32), expected, W=table.T, b=bias, input_dim=4,
               output_channels=2, has_bias=True)  # fmt: skip


# --- normalisations ---------------------------------------------------------------------


def _batchnorm(random: Random, tf: Ask) -> Case:
    channels = random.size(1, 4)
    x = random.normal_values(2, channels, 3, 4)
    gamma, beta, mean = (random.normal_values(channels) for _ in range(3))
    variance = np.abs(random.normal_values(channels)) + np.float32(0.1)
    expected = tf("nn.batch_normalization", [last(x), mean, variance, beta, gamma, 1e-3])
    return one("add_batchnorm", x, first(expected), channels=channels, gamma=gamma, beta=beta, mean=mean,
               variance=variance, epsilon=1e-3)  # fmt: skip


def _instance_norm(random: Random, tf: Ask) -> Case:
    x, gamma, beta = random.normal_values(2, 3, 4, 5), random.normal_values(3), random.normal_values(3)
    mean, variance = (values.reshape(2, 3, 1, 1) for values in tf("nn.moments", [x], {"axes": [2, 3]}))
    side = (-1, 1, 1)
    expected = tf(
        "nn.batch_normalization", [x, mean, variance, beta.reshape(side), gamma.reshape(side), 1e-3]
    )
    return one("add_batchnorm", x, expected, channels=3, gamma=gamma, beta=beta, compute_mean_var=True,
               instance_normalization=True, epsilon=1e-3)  # fmt: skip


def _mvn(random: Random, tf: Ask) -> Case:
    x, across, scaled = random.normal_values(2, 3, 4, 5), bool(random.integers(2)), bool(random.integers(2))
    axes = [1, 2, 3] if across else [2, 3]
    mean, variance = tf("nn.moments", [x], {"axes": axes, "keepdims": True})
    expected = (x - mean) / (np.sqrt(variance + 1e-3) if scaled else 1)
    return one("add_mvn", x, expected, across_channels=across, normalize_variance=scaled, epsilon=1e-3)


def _l2normalize(random: Random, tf: Ask) -> Case:
    x = random.normal_values(3, 4, 5)
    return one("add_l2_normalize", x, tf("nn.l2_normalize", [x]), epsilon=1e-9)


def _lrn(random: Random, tf: Ask) -> Case:
    x, radius = random.normal_values(1, 7, 3, 2), random.size(1, 3)
    size, alpha = 2 * radius + 1, 0.5
    options = {"depth_radius": radius, "bias": 2.0, "alpha": alpha / size, "beta": 0.75}
    expected = first(tf("nn.local_response_normalization", [last(x)], options))
    return one("add_lrn", x, expected, alpha=alpha, beta=0.75, local_size=size, k=2.0)


def _layer_norm(random: Random, tf: Ask) -> Case:
    count = random.size(1, 2)
    x = random.normal_values(2, 3, 4)
    gamma, beta = (random.normal_values(*x.shape[-count:]) for _ in range(2))
    mean, variance = tf("nn.moments", [x], {"axes": list(range(-count, 0)), "keepdims": True})
    expected = tf("nn.batch_normalization", [x, mean, variance, beta, gamma, 1e-3])
    return one("add_layer_normalization", x, expected, normalized_shape=list(x.shape[-count:]), gamma=gamma,
               beta=beta, eps=1e-3)  # fmt: skip


def _softmax_nd(random: Random, tf: Ask) -> Case:
    x, axis = random.normal_values(2, 3, 4), random.size(-3, 2)
    return one("add_softmax_nd", x, tf("nn.softmax", [x], {"axis": axis}), axis=axis)


def _softmax(random: Random, tf: Ask) -> Case:
    x = random.normal_values(3, 2, 2)
    return one("add_softmax", x, tf("nn.softmax", [x], {"axis": 0}))


# --- functions of each element --------------------------------------------------------------


def _activation(random: Random, tf: Ask) -> Case:
    x = 3 * random.normal_values(2, 3, 4)
    a, b = float(random.uniform(0.1, 1)), float(random.uniform(0.1, 1))
    known: dict[str, tuple[Any, Any]] = {
        "RELU": (None, lambda: tf("nn.relu", [x])),
        "SIGMOID": (None, lambda: tf("math.sigmoid", [x])),
        "TANH": (None, lambda: tf("math.tanh", [x])),
        "SOFTSIGN": (None, lambda: tf("math.softsign", [x])),
        "SOFTPLUS": (None, lambda: tf("math.softplus", [x])),
        "LEAKYRELU": ([a], lambda: tf("nn.leaky_relu", [x], {"alpha": a})),
        "ELU": (a, lambda: np.where(x > 0, x, a * tf("math.expm1", [x]))),
        "THRESHOLDEDRELU": (a, lambda: np.where(x > a, x, 0)),
        "SCALED_TANH": ([a, b], lambda: a * tf("math.tanh", [np.float32(b) * x])),
        "SIGMOID_HARD": ([a, b], lambda: np.clip(a * x + b, 0, 1)),
        "LINEAR": ([a, b], lambda: a * x + b),
    }
    name = random.one_of(*known)
    parameters, expected = known[name]
    return one("add_activation", x, expected(), non_linearity=name, params=parameters)


def _by_channel(random: Random, tf: Ask) -> Case:
    x, a, b = random.normal_values(2, 3, 4, 4), np.abs(random.normal_values(3)), random.normal_values(3)
    if random.integers(2):
        expected = np.where(x > 0, x, a.reshape(-1, 1, 1) * x)
        return one("add_activation", x, expected, non_linearity="PRELU", params=a)
    expected = a.reshape(-1, 1, 1) * tf("math.softplus", [b.reshape(-1, 1, 1) * x])
    return one("add_activation", x, expected, non_linearity="PARAMETRICSOFTPLUS", params=[a, b])


def _clamped(random: Random, tf: Ask) -> Case:
    x = 4 * random.normal_values(3, 4)
    expected = np.minimum(np.where(x > 0, x, np.float32(0.2) * x), 3)
    return one("add_clamped_relu", x, expected, alpha=0.2, beta=3.0)


def _gelu(random: Random, tf: Ask) -> Case:
    x = random.normal_values(3, 4)
    mode, exact = random.one_of(("EXACT", False), ("TANH_APPROXIMATION", True))
    return one("add_gelu", x, tf("nn.gelu", [x], {"approximate": exact}), mode=mode)


def _unary(random: Random, tf: Ask) -> Case:
    x = np.abs(random.normal_values(3, 4)) + np.float32(0.5)
    scale, shift = float(random.uniform(0.5, 2)), float(random.uniform(0, 1))
    given = x * np.float32(scale) + np.float32(shift)
    name = random.one_of("sqrt", "rsqrt", "inverse", "power", "exp", "log", "abs", "threshold")
    functions = {
        "sqrt": "math.sqrt", "rsqrt": "math.rsqrt", "inverse": "math.reciprocal", "exp": "math.exp",
        "log": "math.log", "abs": "math.abs",
    }  # fmt: skip
    if name == "power":
        expected = tf("math.pow", [given, np.float32(1.5)])
    elif name == "threshold":
        expected = tf("math.maximum", [given, np.float32(1.5)])
    else:
        expected = tf(functions[name], [given])
    return one("add_unary", x, expected, mode=name, alpha=1.5, scale=scale, shift=shift, epsilon=1e-9)


def _function(method: str, function: str, low: float, high: float, random: Random, tf: Ask) -> Case:
    x = random.uniform(low, high, (3, 4)).astype(np.float32)
    return one(f"add_{method}", x, tf(function, [x]))


def _exp2(random: Random, tf: Ask) -> Case:
    x = random.normal_values(3, 4)
    return one("add_exp2", x, tf("math.pow", [np.float32(2), x]))


def _pair(method: str, function: str, random: Random, tf: Ask) -> Case:
    a = np.abs(random.normal_values(2, 1, 4)) + np.float32(0.5)
    b = random.one_of(np.abs(random.normal_values(3, 1)), np.abs(random.normal_values(2, 3, 4))) + np.float32(
        0.5
    )
    return several(f"add_{method}", {"a": a, "b": b}, tf(function, [a, b]))


def _fold(mode: str, function: str, random: Random, tf: Ask) -> Case:
    feed = {name: random.normal_values(2, 3) for name in "abc"[: random.size(2, 3)]}
    expected = np.stack(list(feed.values()))
    answer = tf(function, [expected], {"axis": 0})
    return several("add_elementwise", feed, answer, mode=mode)


def _with_number(mode: str, random: Random, tf: Ask) -> Case:
    x = random.normal_values(2, 3)
    expected = x + np.float32(0.7) if mode == "ADD" else x * np.float32(0.7)
    return several("add_elementwise", {"x": x}, expected, mode=mode, alpha=0.7)


def _compared(method: str, function: str, more: dict[str, Any], random: Random, tf: Ask) -> Case:
    a, b = (random.integers(0, 3, (2, 4)).astype(np.float32) for _ in range(2))
    return several(f"add_{method}", {"a": a, "b": b}, tf(function, [a, b]), **more)


def _logical(mode: str, function: str, random: Random, tf: Ask) -> Case:
    a, b = (random.integers(0, 2, (2, 4)).astype(np.float32) for _ in range(2))
    feed = {"a": a} if mode == "NOT" else {"a": a, "b": b}
    return several("add_logical", feed, tf(function, [value != 0 for value in feed.values()]), mode=mode)


def _scale(random: Random, tf: Ask) -> Case:
    x, weight, bias = (
        random.normal_values(2, 3, 4, 4),
        random.normal_values(3, 1, 1),
        random.normal_values(3, 1, 1),
    )
    return one("add_scale", x, tf("math.add", [x * weight, bias]), W=weight, b=bias, has_bias=True,
               shape_scale=[3, 1, 1], shape_bias=[3, 1, 1])  # fmt: skip


def _bias(random: Random, tf: Ask) -> Case:
    x, bias = random.normal_values(2, 3, 4, 4), random.normal_values(3)
    return one("add_bias", x, first(tf("nn.bias_add", [last(x), bias])), b=bias, shape_bias=[3])


def _clip(random: Random, tf: Ask) -> Case:
    x = random.normal_values(3, 4)
    return one("add_clip", x, tf("clip_by_value", [x, -0.5, 0.5]), min_value=-0.5, max_value=0.5)


# --- reductions -----------------------------------------------------------------------------


def _reduction(method: str, function: str, random: Random, tf: Ask) -> Case:
    x = np.abs(random.normal_values(2, 3, 4)) + np.float32(0.5)
    axes = random.one_of([0], [-1], [0, 2], [1, 2])
    keep, everything = bool(random.integers(2)), bool(random.integers(4) == 0)
    given = {"reduce_sum_log": np.log(x), "reduce_sum_square": np.square(x)}.get(function, x)
    name = "reduce_sum" if function.startswith("reduce_sum_") else function
    if method == "reduce_logsum":
        expected = np.log(tf("reduce_sum", [x], {"axis": None if everything else axes, "keepdims": keep}))
    else:
        expected = tf(name, [given], {"axis": None if everything else axes, "keepdims": keep})
    if everything and not keep:
        expected = np.reshape(expected, expected.shape)
    return one(f"add_{method}", x, expected, axes=axes, keepdims=keep, reduce_all=everything)


def _l2(random: Random, tf: Ask) -> Case:
    x = random.normal_values(2, 3, 4)
    return one("add_reduce_l2", x, tf("norm", [x], {"axis": 1}), axes=[1], keepdims=False)


def _l1(random: Random, tf: Ask) -> Case:
    x = random.normal_values(2, 3, 4)
    return one("add_reduce_l1", x, tf("norm", [x], {"axis": 2, "ord": 1}), axes=[2], keepdims=False)


def _reduce(random: Random, tf: Ask) -> Case:
    x = np.abs(random.normal_values(2, 3, 4)) + np.float32(0.5)
    axis, axes = random.one_of(("CHW", [0, 1, 2]), ("HW", [1, 2]), ("C", [0]), ("H", [1]), ("W", [2]))
    mode, function = random.one_of(
        ("sum", "sum"), ("avg", "mean"), ("prod", "prod"), ("max", "max"), ("min", "min")
    )
    expected = tf(f"reduce_{function}", [x], {"axis": axes, "keepdims": True})
    return one("add_reduce", x, expected, axis=axis, mode=mode)


def _functions() -> dict[str, tuple[Draw, ...]]:
    one_sided = {
        name: partial(_function, name, f"math.{name}", low, high)
        for name, low, high in (
            ("ceil", -3, 3), ("floor", -3, 3), ("sign", -2, 2), ("sin", -3, 3), ("cos", -3, 3),
            ("tan", -1, 1), ("asin", -1, 1), ("acos", -1, 1), ("atan", -3, 3), ("sinh", -2, 2),
            ("cosh", -2, 2), ("tanh", -3, 3), ("asinh", -3, 3), ("acosh", 1, 4), ("atanh", -0.9, 0.9),
            ("erf", -2, 2), ("round", -3, 3),
        )
    }  # fmt: skip
    pairs = {
        name: partial(_pair, method, f"math.{function}")
        for name, method, function in (
            ("addBroadcastable", "add_broadcastable", "add"),
            ("multiplyBroadcastable", "multiply_broadcastable", "multiply"),
            ("subtractBroadcastable", "subtract_broadcastable", "subtract"),
            ("divideBroadcastable", "divide_broadcastable", "divide"),
            ("maxBroadcastable", "max_broadcastable", "maximum"),
            ("minBroadcastable", "min_broadcastable", "minimum"),
            ("powBroadcastable", "pow_broadcastable", "pow"),
            ("floorDivBroadcastable", "floor_div_broadcastable", "floordiv"),
            ("modBroadcastable", "mod_broadcastable", "floormod"),
        )
    }
    compared = {
        name: partial(_compared, method, f"math.{function}", more)
        for name, method, function, more in (
            ("equal", "equal", "equal", {}),
            ("notEqual", "not_equal", "not_equal", {}),
            ("lessThan", "less_than", "less", {}),
            ("lessEqual", "less_than", "less_equal", {"use_less_than_equal": True}),
            ("greaterThan", "greater_than", "greater", {}),
            ("greaterEqual", "greater_than", "greater_equal", {"use_greater_than_equal": True}),
        )
    }
    logical = {
        f"logical{mode.capitalize()}": partial(_logical, mode, f"math.logical_{mode.lower()}")
        for mode in ("AND", "OR", "XOR", "NOT")
    }
    reductions = {
        f"reduce{kind}": partial(_reduction, f"reduce_{kind.lower()}", function)
        for kind, function in (
            ("Max", "reduce_max"), ("Min", "reduce_min"), ("Sum", "reduce_sum"), ("Prod", "reduce_prod"),
            ("Mean", "reduce_mean"), ("LogSum", "reduce_sum"), ("SumSquare", "reduce_sum_square"),
            ("LogSumExp", "reduce_logsumexp"),
        )
    }  # fmt: skip
    found = {**one_sided, **pairs, **compared, **logical, **reductions}
    return {name: (draw,) for name, draw in found.items()}


CASES: dict[str, tuple[Draw, ...]] = {
    "innerProduct": (_inner_product,),
    "batchedMatmul": (_batched_matmul, _matmul_by_weights),
    "embeddingND": (_embedding,),
    "embedding": (_embedding_of_images,),
    "batchnorm": (_batchnorm, _instance_norm),
    "mvn": (_mvn,),
    "l2normalize": (_l2normalize,),
    "lrn": (_lrn,),
    "layerNormalization": (_layer_norm,),
    "softmaxND": (_softmax_nd,),
    "softmax": (_softmax,),
    "activation": (_activation, _by_channel),
    "clampedReLU": (_clamped,),
    "gelu": (_gelu,),
    "unary": (_unary,),
    "exp2": (_exp2,),
    "add": (partial(_fold, "ADD", "reduce_sum"), partial(_with_number, "ADD")),
    "multiply": (partial(_fold, "MULTIPLY", "reduce_prod"), partial(_with_number, "MULTIPLY")),
    "max": (partial(_fold, "MAX", "reduce_max"),),
    "min": (partial(_fold, "MIN", "reduce_min"),),
    "average": (partial(_fold, "AVE", "reduce_mean"),),
    "scale": (_scale,),
    "bias": (_bias,),
    "clip": (_clip,),
    "reduceL2": (_l2,),
    "reduceL1": (_l1,),
    "reduce": (_reduce,),
    **_functions(),
}


@pytest.mark.parametrize("kind", CASES)
@some
@given(seed=st.integers(0, 999))
def test_a_layer_answers_what_tensorflow_does(tf: Ask, answer: Answer, kind: str, seed: int) -> None:
    draws = CASES[kind]
    check(draws[seed % len(draws)](Random(seed), tf), answer)


def test_the_sigmoid_approximation_of_gelu(answer: Answer) -> None:
    x: Array = Random(1).normal_values(3, 4)
    check(one("add_gelu", x, x / (1 + np.exp(-1.702 * x)), mode="SIGMOID_APPROXIMATION"), answer)

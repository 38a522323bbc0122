"""Arithmetic, comparison, logic and casts, against NumPy's and TensorFlow's definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from suite.coreml.ops import OpError
from suite.spec import Array
from tests.meta.coreml.ops.asking import Ask, near, run, some, values

_PAIRS = {
    "add": "math.add", "sub": "math.subtract", "mul": "math.multiply", "real_div": "math.divide",
    "floor_div": "math.floordiv", "mod": "math.floormod", "maximum": "math.maximum",
    "minimum": "math.minimum", "equal": "math.equal", "not_equal": "math.not_equal",
    "greater": "math.greater",
    "greater_equal": "math.greater_equal", "less": "math.less", "less_equal": "math.less_equal",
}  # fmt: skip
_SHAPES = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4)


@pytest.mark.parametrize("name", _PAIRS)
def test_pairs(tf: Ask, name: str) -> None:
    @some
    @given(shapes=_SHAPES, seed=st.integers(0, 9))
    def check(shapes: hnp.BroadcastableShapes, seed: int) -> None:
        one, other = (values(seed + i, *shape) for i, shape in enumerate(shapes.input_shapes))
        near(run(name, one, other), tf(_PAIRS[name], [one, other]))

    check()


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
def test_logic(tf: Ask, name: str) -> None:
    one, other = np.array([[True], [False]]), np.array([True, False])
    near(run(name, one, other), tf(f"math.{name}", [one, other]))


def test_powers_and_whole_numbers() -> None:
    near(run("pow", np.float32([2, 4, 0]), np.float32([3, 0.5, 0])), np.float32([8, 2, 1]))
    near(run("real_div", np.int32([7, -7]), np.int32([2, 2])), np.int32([3, -3]))
    near(run("floor_div", np.int32([7, -7]), np.int32([2, 2])), np.int32([3, -4]))
    near(run("mod", np.int32([7, -7]), np.int32([3, 3])), np.int32([1, 2]))
    for name in ("real_div", "floor_div", "mod"):
        with pytest.raises(OpError, match="zero"):
            run(name, np.int32([1]), np.int32([0]))


_UNARY = {
    "abs": "math.abs", "acos": "math.acos", "asin": "math.asin", "atan": "math.atan", "atanh": "math.atanh",
    "ceil": "math.ceil", "cos": "math.cos", "cosh": "math.cosh", "erf": "math.erf", "exp": "math.exp",
    "floor": "math.floor", "round": "math.round", "sign": "math.sign", "sin": "math.sin", "sinh": "math.sinh",
    "sqrt": "math.sqrt", "square": "math.square", "tan": "math.tan", "tanh": "math.tanh",
    "logical_not": "math.logical_not",
}  # fmt: skip


@pytest.mark.parametrize("name", _UNARY)
def test_functions_of_one(tf: Ask, name: str) -> None:
    x: Array = values(4, 3, 5, 7)
    if name in ("acos", "asin", "atanh", "sqrt"):
        x = np.abs(np.tanh(x))
    if name == "logical_not":
        x = x > 0
    near(run(name, x), tf(_UNARY[name], [x]))


def test_a_whole_power_of_two() -> None:
    near(run("exp2", np.int32([0, 3, 5])), np.int32([1, 8, 32]))
    near(run("exp2", np.float32([0.5])), np.float32([2**0.5]))


def test_an_epsilon_is_added_before() -> None:
    x = np.float32([0.0, 1.0])
    near(run("inverse", x, 0.5), np.float32([2, 2 / 3]))
    near(run("rsqrt", x, 0.25), np.float32([2, 1 / np.sqrt(1.25)]))
    near(run("log", x, 1.0), np.float32([0, np.log(2)]))
    near(run("threshold", x, 0.5), np.float32([0.5, 1]))
    near(run("clip", np.float32([-2, 0.2, 3]), -1, 1), np.float32([-1, 0.2, 1]))


@pytest.mark.parametrize(
    ("x", "dtype", "expected"),
    [
        (np.float32([1.9, -1.9, 1e20, np.nan]), "int32", np.int32([1, -1, 2**31 - 1, 0])),
        (np.float32([300, -5]), "uint8", np.uint8([255, 0])),
        (np.float32([0, 2]), "bool", np.array([False, True])),
        (np.array([True, False]), "fp16", np.float32([1, 0])),
        (np.int32([3]), "fp32", np.float32([3])),
    ],
)
def test_casts(x: Array, dtype: str, expected: Array) -> None:
    near(run("cast", x, dtype), expected)


def test_select_and_quantise() -> None:
    near(
        run("select", np.array([True, False]), np.float32([[1], [2]]), np.float32([9])),
        np.float32([[1, 9], [2, 9]]),
    )
    x = values(5, 2, 3)
    scale, zero = np.float32([0.01, 0.02, 0.03]), np.int8([1, 2, 3])
    steps = run("quantize", x, scale, "int8", zero, 1)
    np.testing.assert_array_equal(steps, np.clip(np.rint(x / scale) + zero, -128, 127).astype(np.int8))
    near(run("dequantize", steps, scale, zero, 1), (steps.astype(np.float32) - zero) * scale)


def test_an_absurd_broadcast_is_refused() -> None:
    wide = np.broadcast_to(np.float32(0), (1, 1 << 20))
    with pytest.raises(OpError, match="bytes"):
        run("add", wide, wide.T)
    with pytest.raises(OpError, match="dtype"):
        run("cast", np.float32([0]), "complex")

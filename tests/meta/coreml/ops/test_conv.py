"""Convolutions, against TensorFlow's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from suite.coreml.ops import OpError
from tests.meta.coreml.ops.asking import Ask, near, run, some, values

_LAST = {1: "NWC", 2: "NHWC", 3: "NDHWC"}


@some
@given(
    spatial=st.integers(1, 3),
    sizes=st.tuples(*[st.integers(3, 9)] * 3),
    kernel=st.tuples(*[st.integers(1, 4)] * 3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    c_in=st.integers(1, 5),
    c_out=st.integers(1, 5),
    groups=st.sampled_from([1, 1, 2]),
    pad_type=st.sampled_from(["valid", "same", "custom"]),
    pad=st.tuples(*[st.integers(0, 3)] * 6),
    batch=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_conv(
    tf: Ask,
    spatial: int,
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: int,
    dilation: int,
    c_in: int,
    c_out: int,
    groups: int,
    pad_type: str,
    pad: tuple[int, ...],
    batch: int,
    seed: int,
) -> None:
    assume(stride == 1 or dilation == 1)  # TensorFlow has not both
    sizes, kernel, pad = sizes[:spatial], kernel[:spatial], pad[: 2 * spatial]
    reach = [(width - 1) * dilation + 1 for width in kernel]
    assume(all(r <= size for r, size in zip(reach, sizes, strict=True)))
    x = values(seed, batch, c_in * groups, *sizes)
    weight = values(seed + 1, c_out * groups, c_in, *kernel)
    bias = values(seed + 2, c_out * groups)
    actual = run(
        "conv",
        x,
        weight,
        bias,
        np.full(spatial, stride),
        pad_type,
        np.array(pad),
        np.full(spatial, dilation),
        groups,
    )
    given_pad = [(0, 0), *zip(pad[::2], pad[1::2], strict=True), (0, 0)] if pad_type == "custom" else None
    last = np.moveaxis(x, 1, -1)
    source = np.pad(last, given_pad) if given_pad else last
    options = {
        "strides": [stride] * spatial,
        "dilations": [dilation] * spatial,
        "padding": "SAME" if pad_type == "same" else "VALID",
        "data_format": _LAST[spatial],
    }
    moved = np.moveaxis(weight, (0, 1), (-1, -2))
    parts = [  # TensorFlow has no groups in three dimensions on a CPU
        tf(
            "nn.convolution",
            [
                np.ascontiguousarray(source[..., group * c_in : (group + 1) * c_in]),
                np.ascontiguousarray(moved[..., group * c_out : (group + 1) * c_out]),
            ],
            options,
        )
        for group in range(groups)
    ]
    expected = np.concatenate(parts, axis=-1)
    near(actual, np.moveaxis(expected + bias, -1, 1))


@some
@given(
    sizes=st.tuples(st.integers(3, 12), st.integers(3, 12)),
    kernel=st.sampled_from([(1, 1), (3, 3), (5, 3), (2, 2), (7, 7)]),
    stride=st.integers(1, 3),
    channels=st.integers(2, 40),
    pad_type=st.sampled_from(["valid", "same"]),
    batch=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_depthwise(
    tf: Ask,
    sizes: tuple[int, int],
    kernel: tuple[int, int],
    stride: int,
    channels: int,
    pad_type: str,
    batch: int,
    seed: int,
) -> None:
    assume(pad_type == "same" or all(k <= size for k, size in zip(kernel, sizes, strict=True)))
    x = values(seed, batch, channels, *sizes)
    weight = values(seed + 1, channels, 1, *kernel)
    actual = run("conv", x, weight, strides=np.full(2, stride), pad_type=pad_type, groups=channels)
    expected = tf(
        "nn.depthwise_conv2d",
        [np.moveaxis(x, 1, -1).copy(), np.moveaxis(weight[:, 0], 0, -1)[..., None].copy()],
        {"strides": [1, stride, stride, 1], "padding": pad_type.upper()},
    )
    near(actual, np.moveaxis(expected, -1, 1))


@some
@given(
    spatial=st.integers(1, 3),
    sizes=st.tuples(*[st.integers(1, 6)] * 3),
    kernel=st.tuples(*[st.integers(1, 4)] * 3),
    stride=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    pad_type=st.sampled_from(["valid", "same"]),
    stated=st.booleans(),
    seed=st.integers(0, 99),
)
def test_conv_transpose(
    tf: Ask,
    spatial: int,
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: int,
    channels: tuple[int, int],
    pad_type: str,
    stated: bool,
    seed: int,
) -> None:
    sizes, kernel = sizes[:spatial], kernel[:spatial]
    c_in, c_out = channels
    if pad_type == "same":
        out = [size * stride for size in sizes]
    else:
        out = [(size - 1) * stride + width for size, width in zip(sizes, kernel, strict=True)]
    x, weight = values(seed, 2, c_in, *sizes), values(seed + 1, c_in, c_out, *kernel)
    actual = run(
        "conv_transpose",
        x,
        weight,
        output_shape=np.array([2, c_out, *out]) if stated else None,
        pad_type=pad_type,
        strides=np.full(spatial, stride),
    )
    moved = np.ascontiguousarray(np.moveaxis(weight, (0, 1), (-1, -2)))
    expected = tf(
        f"nn.conv{spatial}d_transpose",
        [np.moveaxis(x, 1, -1).copy(), moved],
        {
            "output_shape": [2, *out, c_out],
            "strides": [stride] * spatial,
            "padding": pad_type.upper(),
            "data_format": _LAST[spatial],
        },
    )
    near(actual, np.moveaxis(expected, -1, 1))


@some
@given(
    groups=st.integers(1, 3),
    dilation=st.integers(1, 2),
    stride=st.integers(1, 2),
    pad=st.tuples(*[st.integers(0, 2)] * 4),
    seed=st.integers(0, 99),
)
def test_conv_transpose_is_the_adjoint_of_conv(
    groups: int, dilation: int, stride: int, pad: tuple[int, ...], seed: int
) -> None:
    """<conv(x), y> = <x, conv_transpose(y)> also where TensorFlow has no such layer."""
    x, weight = values(seed, 1, 2 * groups, 8, 9), values(seed + 1, 3 * groups, 2, 3, 2)
    options: dict[str, Any] = {
        "strides": np.full(2, stride), "pad_type": "custom", "pad": np.array(pad),
        "dilations": np.full(2, dilation), "groups": groups,
    }  # fmt: skip
    there = run("conv", x, weight, **options)
    y = values(seed + 2, *there.shape)
    back = run("conv_transpose", y, weight, output_shape=np.array([1, 2 * groups, 8, 9]), **options)
    assert math.isclose(float((there * y).sum()), float((x * back).sum()), rel_tol=1e-3, abs_tol=1e-2)


def test_same_lower_puts_the_odd_row_first() -> None:
    x, weight = values(1, 1, 1, 6, 6), values(2, 1, 1, 2, 2)
    upper = run("conv", x, weight, pad_type="same")
    lower = run("conv", x, weight, pad_type="same_lower")
    np.testing.assert_array_equal(upper[..., :-1, :-1], lower[..., 1:, 1:])
    assert np.abs(upper - lower).max() > 0.1


def test_weights_are_packed_once() -> None:
    x, weight = values(1, 1, 70, 9, 9), values(2, 8, 70, 3, 3)
    memo: dict[str, Any] = {}
    first = run("conv", x, weight, pad_type="same", memo=memo)
    assert memo
    np.testing.assert_array_equal(first, run("conv", x, weight * 2, pad_type="same", memo=memo))


def test_quantised_weights_stand_for_reals() -> None:
    x, steps = values(1, 1, 3, 5, 5), np.random.default_rng(0).integers(0, 255, (4, 3, 3, 3)).astype(np.uint8)
    scale, bias = np.float32([0.1, 0.2, 0.3, 0.4]), np.float32([-1, 0, 1, 2])
    real = steps.astype(np.float32) * scale.reshape(-1, 1, 1, 1) + bias.reshape(-1, 1, 1, 1)
    near(run("conv_quantized", x, steps, "linear", scale, bias), run("conv", x, real))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"groups": 2}, "groups"),
        ({"pad_type": "around"}, "pad_type"),
        ({"pad_type": "custom", "pad": np.array([1, 2])}, "4 numbers"),
        ({"pad_type": "custom", "pad": np.array([-9, -9, 0, 0])}, "from 0"),
        ({"strides": np.array([0, 1])}, "positive"),
        ({"dilations": np.array([9, 9])}, "does not fit"),
        ({"pad_type": "custom", "pad": np.array([1 << 30, 0, 1 << 30, 0])}, "bytes"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OpError, match=words):
        run("conv", values(1, 1, 3, 6, 6), values(2, 4, 3, 3, 3), **options)

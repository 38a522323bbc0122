"""Convolution, pooling, padding and resampling layers, against TensorFlow's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.meta.coreml.layers.asking import Answer, Case, Draw, Random, check, first, last, one
from tests.meta.coreml.ops.asking import Ask, some


def _convolution(random: Random, tf: Ask) -> Case:
    groups, inside, filters = random.one_of((1, 3, 4), (2, 4, 6), (3, 3, 3), (4, 4, 8))
    height, width = random.size(1, 3), random.size(1, 4)
    stride, dilation = random.one_of((1, 1), (2, 1), (1, 2))
    x = random.normal_values(random.size(1, 2), inside, random.size(8, 11), random.size(8, 11))
    kernel = random.normal_values(height, width, inside // groups, filters)
    bias = random.normal_values(filters) if random.integers(2) else None
    mode = random.one_of("valid", "same")
    options = {"strides": stride, "padding": mode.upper(), "dilations": dilation}
    expected = first(tf("nn.conv2d", [last(x), kernel], options))
    if bias is not None:
        expected = expected + bias.reshape(-1, 1, 1)
    return one(
        "add_convolution", x, expected, kernel_channels=inside // groups, output_channels=filters,
        height=height, width=width, stride_height=stride, stride_width=stride, border_mode=mode,
        groups=groups, W=kernel, b=bias, has_bias=bias is not None, dilation_factors=[dilation, dilation],
    )  # fmt: skip


def _deconvolution(random: Random, tf: Ask) -> Case:
    inside, filters, stride = random.size(1, 3), random.size(1, 4), random.size(1, 3)
    height, width = random.size(stride, 4), random.size(stride, 4)
    x = random.normal_values(1, inside, random.size(2, 5), random.size(2, 5))
    kernel = random.normal_values(height, width, filters, inside)
    mode = random.one_of("valid", "same")
    sizes = [
        size * stride if mode == "same" else (size - 1) * stride + side
        for size, side in zip(x.shape[2:], (height, width), strict=True)
    ]
    options = {"output_shape": [1, *sizes, filters], "strides": stride, "padding": mode.upper()}
    expected = first(tf("nn.conv2d_transpose", [last(x), kernel], options))
    return one(
        "add_convolution", x, expected, kernel_channels=inside, output_channels=filters,
        height=height, width=width, stride_height=stride, stride_width=stride, border_mode=mode, groups=1,
        W=kernel.swapaxes(2, 3), b=None, has_bias=False, is_deconv=True,
    )  # fmt: skip


def _convolution3d(random: Random, tf: Ask) -> Case:
    inside, filters = random.size(1, 3), random.size(1, 3)
    sides = [random.size(1, 3) for _ in range(3)]
    stride, mode = random.size(1, 2), random.one_of("valid", "same")
    x = random.normal_values(1, inside, 5, 6, 4)
    kernel, bias = random.normal_values(*sides, inside, filters), random.normal_values(filters)
    options = {"strides": [1, stride, stride, stride, 1], "padding": mode.upper()}
    expected = first(tf("nn.conv3d", [last(x), kernel], options)) + bias.reshape(-1, 1, 1, 1)
    names = ("depth", "height", "width")
    return one(
        "add_convolution3d", x, expected, input_channels=inside, output_channels=filters,
        W=kernel.transpose(4, 3, 0, 1, 2), b=bias, has_bias=True, padding_mode=mode,
        **dict(zip(names, sides, strict=True)), **{f"stride_{name}": stride for name in names},
    )  # fmt: skip


def _pooling(random: Random, tf: Ask) -> Case:
    kind, mode, side, stride = (
        random.one_of("MAX", "AVERAGE"),
        random.one_of("VALID", "SAME"),
        random.size(1, 3),
        2,
    )
    x = random.normal_values(2, 3, random.size(5, 8), random.size(5, 8))
    name = {"MAX": "nn.max_pool2d", "AVERAGE": "nn.avg_pool2d"}[kind]
    expected = first(tf(name, [last(x)], {"ksize": side, "strides": stride, "padding": mode}))
    return one(
        "add_pooling", x, expected, height=side, width=side, stride_height=stride, stride_width=stride,
        layer_type=kind, padding_type=mode, exclude_pad_area=True,
    )  # fmt: skip


def _pooling3d(random: Random, tf: Ask) -> Case:
    kind, mode, side = random.one_of("MAX", "AVERAGE"), random.one_of("VALID", "SAME"), random.size(1, 3)
    x = random.normal_values(1, 2, 5, 6, 4)
    name = {"MAX": "nn.max_pool3d", "AVERAGE": "nn.avg_pool3d"}[kind]
    expected = first(tf(name, [last(x)], {"ksize": side, "strides": 2, "padding": mode}))
    names = ("depth", "height", "width")
    return one(
        "add_pooling3d", x, expected, pooling_type=kind, padding_mode=mode.lower(),
        average_pooling_count_excludes_padding=True,
        **{f"kernel_{name}": side for name in names}, **{f"stride_{name}": 2 for name in names},
    )  # fmt: skip


def _global_pooling3d(random: Random, tf: Ask) -> Case:
    x = random.normal_values(2, 3, 2, 4, 3)
    kind = random.one_of("MAX", "AVERAGE")
    function = {"MAX": "reduce_max", "AVERAGE": "reduce_mean"}[kind]
    return one(
        "add_global_pooling3d", x, tf(function, [x], {"axis": [2, 3, 4], "keepdims": True}), pooling_type=kind
    )


def _padding(random: Random, tf: Ask) -> Case:
    top, bottom, left, right = (random.size(0, 2) for _ in range(4))
    x = random.normal_values(1, 2, 4, 5)
    kind, mode = random.one_of(("constant", "CONSTANT"), ("reflection", "REFLECT"))
    options = {"mode": mode, **({"constant_values": 0.5} if kind == "constant" else {})}
    expected = tf("pad", [x, [[0, 0], [0, 0], [top, bottom], [left, right]]], options)
    return one(
        "add_padding",
        x,
        expected,
        top=top,
        bottom=bottom,
        left=left,
        right=right,
        value=0.5,
        padding_type=kind,
    )


def _constant_pad(random: Random, tf: Ask) -> Case:
    x = random.normal_values(2, 3, 2)
    amounts = [random.size(0, 2) for _ in range(6)]
    expected = tf("pad", [x, np.reshape(amounts, (3, 2)).tolist()], {"constant_values": 2.0})
    layer = ("add_constant_pad", {"name": "layer", "input_names": ["x"], "output_name": "y", "value": 2.0,
                                  "pad_amounts": amounts})  # fmt: skip
    return Case([layer], {"x": x}, {"y": expected})


def _crop(random: Random, tf: Ask) -> Case:
    x = random.normal_values(1, 2, 7, 8)
    top, bottom, left, right = (random.size(0, 3) for _ in range(4))
    expected = tf("image.crop_to_bounding_box", [last(x), top, left, 7 - top - bottom, 8 - left - right])
    layer = ("add_crop", {"name": "layer", "input_names": ["x"], "output_name": "y", "offset": [0, 0],
                          "top": top, "bottom": bottom, "left": left, "right": right})  # fmt: skip
    return Case([layer], {"x": x}, {"y": first(expected)})


def _upsample(random: Random, tf: Ask) -> Case:
    x = random.normal_values(1, 2, random.size(2, 4), random.size(2, 4))
    high, wide = random.size(1, 3), random.size(1, 3)
    size = [x.shape[2] * high, x.shape[3] * wide]
    method = random.one_of("nearest", "bilinear")
    more = {"mode": "NN"}
    if method == "bilinear":
        more = {"mode": "BILINEAR", "linear_upsample_mode": "ALIGN_CORNERS_FALSE"}
    return one(
        "add_upsample", x, first(tf("image.resize", [last(x), size], {"method": method})),
        scaling_factor_h=high, scaling_factor_w=wide, **more,
    )  # fmt: skip


def _resize_bilinear(random: Random, tf: Ask) -> Case:
    x = random.normal_values(1, 2, random.size(2, 5), random.size(2, 5))
    size = [random.size(2, 9), random.size(2, 9)]
    name, corners = random.one_of(("STRICT_ALIGN_ENDPOINTS_MODE", True), ("UPSAMPLE_MODE", False))
    expected = tf("compat.v1.image.resize_bilinear", [last(x), size], {"align_corners": corners})
    return one(
        "add_resize_bilinear", x, first(expected), target_height=size[0], target_width=size[1], mode=name
    )


CASES: dict[str, tuple[Draw, ...]] = {
    "convolution": (_convolution, _deconvolution),
    "convolution3d": (_convolution3d,),
    "pooling": (_pooling,),
    "pooling3d": (_pooling3d,),
    "globalPooling3d": (_global_pooling3d,),
    "padding": (_padding,),
    "constantPad": (_constant_pad,),
    "crop": (_crop,),
    "upsample": (_upsample,),
    "resizeBilinear": (_resize_bilinear,),
}


@pytest.mark.parametrize("draw", [one for draws in CASES.values() for one in draws])
@some
@given(seed=st.integers(0, 999))
def test_a_layer_answers_what_tensorflow_does(tf: Ask, answer: Answer, draw: Draw, seed: int) -> None:
    check(draw(Random(seed), tf), answer)


@pytest.mark.parametrize("kind", ["MAX", "AVERAGE", "L2"])
def test_pooling_of_everything(answer: Answer, kind: str) -> None:
    x = Random(1).normal_values(2, 3, 4, 5)
    values = {"MAX": x.max((2, 3)), "AVERAGE": x.mean((2, 3)), "L2": np.sqrt(np.square(x).sum((2, 3)))}
    case = one(
        "add_pooling", x, values[kind][..., None, None], height=0, width=0, stride_height=1, stride_width=1,
        layer_type=kind, padding_type="VALID", is_global=True,
    )  # fmt: skip
    check(case, answer)


def test_the_last_pixel_has_a_window_where_it_is_included(answer: Answer) -> None:
    x = np.arange(5, dtype=np.float32).reshape(1, 1, 1, 5)
    case = one(
        "add_pooling", x, [[[[1, 3, 4]]]], height=1, width=2, stride_height=1, stride_width=2,
        layer_type="MAX", padding_type="INCLUDE_LAST_PIXEL",
    )  # fmt: skip
    check(case, answer)


def test_the_heavier_side_of_same_padding_is_the_stated_one(answer: Answer) -> None:
    x = np.float32([[[[1, 2, 3, 4]]]])
    for mode, expected in (("BOTTOM_RIGHT_HEAVY", [[[[3, 7]]]]), ("TOP_LEFT_HEAVY", [[[[1, 5]]]])):
        # Three taps, of which the last counts nothing: windows start at the first pixel, or before it.
        case = one(
            "add_convolution", x, expected, kernel_channels=1, output_channels=1, height=1, width=3,
            stride_height=1, stride_width=2, border_mode="same", groups=1,
            W=np.float32([1, 1, 0]).reshape(1, 3, 1, 1), b=None, has_bias=False,
            same_padding_asymmetry_mode=mode,
        )  # fmt: skip
        check(case, answer)

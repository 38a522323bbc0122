"""A model taken apart: names and sums. The layers are proven where faults are placed (test_localise)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from suite.record import Stage
from suite.runtimes import Pool
from suite.runtimes.keras_layers import Given, Layer, named, sums

LAYERS = [
    Layer(name, "Conv2D", (4,), ())
    for name in ("conv", "conv_1", "bn", "relu", "block_1_expand_relu", "block_10_expand_relu", "inner/deep")
]


@pytest.mark.parametrize(
    ("tensor", "layer"),
    [
        ("net_1/relu_1/Relu;net_1/bn_1/batchnorm/add_1;net_1/conv_1_1/convolution", "relu"),
        ("net_1/conv_1/convolution", "conv_1"),  # the layer of that name, not the first call of `conv`
        ("net_1/conv_2/convolution", "conv"),
        ("net_1/bn_1/batchnorm/sub1", "bn"),
        ("net_1/inner_1/deep_1/Relu", "inner/deep"),
        ("StatefulPartitionedCall_1:0", None),
        ("net_1/unknown_1/Relu", None),
        ("net_1_relu_1_Relu_cast_fp16", "relu"),
        ("net_1_block_10_expand_relu_1_Relu6", "block_10_expand_relu"),
        ("net_1_other_Relu6", None),
        ("", None),
    ],
)
def test_a_tensor_keeps_the_name_of_the_last_layer_that_was_fused_into_it(
    tensor: str, layer: str | None
) -> None:
    assert named(tensor, LAYERS) == layer


def test_a_tensor_is_forgiven_what_it_cannot_hold_only_where_that_is_said() -> None:
    expected, held = np.array([[-2.0, 1.0, 3.0]]), np.array([[0.0, 1.0, 2.0]])
    assert sums(expected, Given(layer="x", values=held)).error_squared == 5.0
    assert sums(expected, Given(layer="x", values=held, low=0.0, high=2.0)).error_squared == 0.0


@pytest.mark.parametrize(
    "values", [np.zeros((1, 2)), np.zeros((2, 3)), np.array([[0.0, np.nan, 1.0]]), np.full((1, 3), np.inf)]
)
def test_another_shape_or_nan_never_fits(values: np.ndarray) -> None:
    assert not sums(np.zeros((1, 3)), Given(layer="x", values=values)).fits
    good = sums(np.zeros((1, 3)), Given(layer="x", values=np.zeros((1, 3))))
    assert good.fits
    assert not (good + sums(np.zeros((1, 3)), Given(layer="x", values=values))).fits


# --- a real model --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ask(tensorflow: Pool) -> Callable[..., Any]:
    """Call a function of tests.meta.apart where TensorFlow is."""
    worker = tensorflow.worker("TensorFlow", "suite.runtimes.workshop:Workshop")
    return lambda name, *args: worker.call(f"tests.meta.apart:{name}", *args, stage=Stage.BUILD, timeout=180)


def test_layers_of_a_model_within_a_model_are_named_with_it(ask: Callable[..., Any]) -> None:
    layers, outputs, same = ask("outline")
    names = [layer.name for layer in layers[1:]]
    assert names == ["backbone/conv", "backbone/bn", "backbone/relu", "backbone/twice", "pool", "scores"]
    assert next(one for one in layers if one.name == "backbone/twice").inputs == (
        "backbone/bn",
        "backbone/relu",
    )
    assert outputs == ["scores"]
    assert same


@pytest.mark.parametrize("wrong", ["backbone/conv", "backbone/relu", "scores"])
def test_an_error_shows_in_its_own_layer_alone_and_in_the_whole_from_there_on(
    ask: Callable[..., Any], wrong: str
) -> None:
    found = ask("spoiled", wrong)
    for name, difference in found.items():
        share = difference.own.error_squared / difference.own.reference_squared
        assert (share > 5e-3) == (name == wrong), name
    later = found["scores"].whole
    assert later.error_squared > 1e-4 * later.reference_squared


def test_tensors_are_recognised_by_their_values(ask: Callable[..., Any]) -> None:
    assert ask("matched") == {0: "backbone/twice", 1: "scores"}

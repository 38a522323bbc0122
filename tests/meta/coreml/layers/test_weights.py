"""Weights as layers hold them: plain, halves, quantised by steps or by table; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.coreml.layers.weights import vector, weights
from suite.coreml.ops import OpError
from suite.coreml.saved import proto
from tests.meta.coreml.layers.asking import Answer, Random
from tests.meta.coreml.ops.asking import some


def _message() -> object:
    return proto("NeuralNetwork_pb2").WeightParams()


@some
@given(count=st.integers(1, 300), seed=st.integers(0, 99))
def test_plain_and_half(count: int, seed: int) -> None:
    values = Random(seed).normal_values(count)
    plain, half = _message(), _message()
    plain.floatValue.extend(values.tolist())
    half.float16Value = values.astype(np.float16).tobytes()
    np.testing.assert_array_equal(weights(plain, (count,)), values)
    np.testing.assert_array_equal(weights(half, (count,)), values.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(vector(plain), values)
    with pytest.raises(OpError, match=f"{count} weights"):
        weights(plain, (count + 1,))


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
def test_quantised_as_coremltools_does(answer: Answer, bits: int) -> None:
    """A product with weights that coremltools packed, by steps and by table."""
    random = Random(bits)
    places = random.integers(0, 1 << bits, (4, 8)).astype(np.uint8)
    x = np.eye(8, dtype=np.float32)
    flat = np.unpackbits(places.reshape(-1, 1), axis=1)[:, 8 - bits :]  # from the most significant bit on
    packed = np.packbits(flat.reshape(-1)).tobytes()
    scale, bias, table = random.normal_values(4), random.normal_values(4), random.normal_values(1 << bits)
    for more, expected in (
        ({"quant_scale": scale, "quant_bias": bias}, places * scale[:, None] + bias[:, None]),
        ({"quantization_type": "lut", "quant_lut": table}, table[places]),
    ):
        layer = ("add_inner_product", {
            "name": "layer", "input_name": "x", "output_name": "y", "W": packed, "b": None,
            "input_channels": 8, "output_channels": 4, "has_bias": False, "is_quantized_weight": True,
            "nbits": bits, **more,
        })  # fmt: skip
        [found] = answer([layer], {"x": x}, "y")
        np.testing.assert_allclose(found, expected.T, rtol=1e-6)


def test_what_cannot_be_right_is_refused() -> None:
    odd, wide, short = _message(), _message(), _message()
    odd.float16Value = b"123"
    wide.rawValue, wide.quantization.numberOfBits = b"1234", 9
    short.rawValue, short.quantization.numberOfBits = b"1", 8
    for message, words in ((odd, "odd"), (wide, "9 bits"), (short, "1 bytes for 4")):
        with pytest.raises(OpError, match=words):
            weights(message, (4,))
    with pytest.raises(OpError, match="not there"):
        vector(_message())
    with pytest.raises(OpError, match="more than"):
        weights(_message(), (1 << 20, 1 << 20))

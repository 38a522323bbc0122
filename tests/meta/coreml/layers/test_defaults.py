"""Fields that a file leaves out: they mean what the format says (the comments of NeuralNetwork.proto)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from suite.coreml import layers
from suite.coreml.ops.registry import OpError
from suite.coreml.saved import proto
from suite.spec import Array
from tests.meta.coreml.ops.asking import values


def _run(kind: str, x: Array, /, *more: Array, **fields: Any) -> Any:
    """One layer with these fields and no others; lists and arrays go into repeated fields and weights."""
    layer = proto("NeuralNetwork_pb2").NeuralNetworkLayer()
    message = getattr(layer, kind)
    message.SetInParent()
    _set(message, fields)
    function = layers.make(kind, message)
    assert function is not None
    return function(x, *more)


def _set(message: Any, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if isinstance(value, np.ndarray):
            getattr(message, name).floatValue.extend(value.reshape(-1).tolist())
        elif isinstance(value, dict):
            getattr(message, name).SetInParent()
            _set(getattr(message, name), value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for one in value:
                _set(getattr(message, name).add(), one)
        elif isinstance(value, list):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)


def test_mean_and_variance_are_guarded_by_a_millionth() -> None:
    x = values(1, 1, 2, 3, 3) * np.float32(1e-3)
    centred = x - x.mean((2, 3), keepdims=True)
    variance = np.square(centred).mean((2, 3), keepdims=True)
    found = _run("mvn", x, normalizeVariance=True)
    np.testing.assert_allclose(found, centred / np.sqrt(variance + 1e-6), rtol=1e-4)
    np.testing.assert_allclose(
        _run("mvn", x, normalizeVariance=True, epsilon=1e-5), centred / np.sqrt(variance + 1e-5), rtol=1e-4
    )
    np.testing.assert_allclose(_run("mvn", x), centred, rtol=1e-4, atol=1e-7)


def test_a_product_with_weights_transposes_nothing() -> None:
    x, weight = values(1, 2, 3, 3), values(2, 3, 4)
    options = {"weightMatrixFirstDimension": 3, "weightMatrixSecondDimension": 4, "weights": weight.T.copy()}
    plain = _run("batchedMatmul", x, **options)
    np.testing.assert_allclose(plain, x @ weight, rtol=1e-5)
    flags = _run("batchedMatmul", x, transposeA=True, transposeB=True, **options)
    np.testing.assert_array_equal(flags, plain)
    with pytest.raises(AssertionError):  # of two inputs it would be transposed
        np.testing.assert_array_equal(
            _run("batchedMatmul", x, x, transposeA=True), _run("batchedMatmul", x, x)
        )


@pytest.mark.parametrize(("one", "other", "shape"), [((3,), (3,), (1, 1)), ((3,), (2, 3, 4), (2, 1, 4))])
def test_a_product_of_vectors_is_a_matrix(
    one: tuple[int, ...], other: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    x, y = values(1, *one), values(2, *other)
    found = _run("batchedMatmul", x, y)
    assert found.shape == shape
    np.testing.assert_allclose(found.reshape(-1), (x @ y).reshape(-1), rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "answer"),
    [
        ((12,), (5,)),
        ((2, 12), (2, 5)),
        ((2, 3, 12), (2, 3, 5)),
        ((2, 3, 2, 2), (2, 5, 1, 1)),
        ((2, 12, 1, 1), (2, 5, 1, 1)),
        ((4, 2, 3, 2, 2), (4, 2, 5, 1, 1)),
    ],
)
def test_an_inner_product_reads_an_image_as_one_row(shape: tuple[int, ...], answer: tuple[int, ...]) -> None:
    x, weight = values(1, *shape), values(2, 5, 12)
    found = _run("innerProduct", x, inputChannels=12, outputChannels=5, weights=weight)
    assert found.shape == answer
    rows = x.reshape(-1, 12) @ weight.T
    np.testing.assert_allclose(found.reshape(-1, 5), rows, rtol=1e-4, atol=1e-5)


def test_an_inner_product_of_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(OpError):
        _run(
            "innerProduct",
            values(1, 2, 3, 2, 12),
            inputChannels=12,
            outputChannels=5,
            weights=values(2, 5, 12),
        )


def test_embedding_answers_channels() -> None:
    table = values(1, 2, 4)  # of width 2, four words
    x = np.float32([[2], [0], [3]]).reshape(3, 1, 1, 1)
    found = _run("embedding", x, inputDim=4, outputChannels=2, weights=table)
    assert found.shape == (3, 2, 1, 1)
    np.testing.assert_array_equal(found[..., 0, 0], table.T[[2, 0, 3]])
    named = _run("embeddingND", x, vocabSize=4, embeddingSize=2, weights=table)
    assert named.shape == (3, 1, 1, 2)


def test_log_sum_is_the_sum_of_logarithms() -> None:
    x = np.abs(values(1, 2, 3, 4)) + np.float32(0.1)
    np.testing.assert_allclose(
        _run("reduce", x, mode=3, axis=4), np.log(x + 1e-6).sum(-1, keepdims=True), rtol=1e-4, atol=1e-5
    )
    zero = np.zeros((1, 1, 2), np.float32)
    np.testing.assert_allclose(_run("reduce", zero, mode=3, axis=4), 2 * np.log(1e-6), rtol=1e-5)
    np.testing.assert_allclose(
        _run("reduce", zero, mode=3, axis=4, epsilon=1e-3), 2 * np.log(1e-3), rtol=1e-5
    )


def test_sizes_and_counts_are_one() -> None:
    x = values(1, 1, 2, 3, 4)
    np.testing.assert_array_equal(_run("upsample", x), x)
    np.testing.assert_array_equal(_run("resizeBilinear", x), x[:, :, :1, :1])
    sequence = values(2, 3, 1, 2, 1, 1)
    np.testing.assert_array_equal(_run("sequenceRepeat", sequence), sequence)
    assert _run("sequenceRepeat", sequence, nRepetitions=2).shape == (6, 1, 2, 1, 1)


# --- recurrent layers, of one unit whose state passes all bounds ---------------------------------

RELU: dict[str, Any] = {"ReLU": {}}
LINEAR: dict[str, Any] = {"linear": {"alpha": 1.0}}
ONE, ZERO = np.ones(1, np.float32), np.zeros(1, np.float32)
SIZES: dict[str, Any] = {"inputVectorSize": 1, "outputVectorSize": 1}


def _steps(*numbers: float) -> Array:
    return np.float32(numbers).reshape(-1, 1, 1, 1, 1)


@pytest.mark.parametrize(("x", "expected"), [(49.0, 49.0), (51.0, 50.0), (1e4, 50.0)])
def test_what_goes_into_a_gate_is_bounded(x: float, expected: float) -> None:
    y, _ = _run(
        "simpleRecurrent", _steps(x), **SIZES, activation=RELU, weightMatrix=ONE, recursionMatrix=ZERO
    )
    assert y.reshape(()) == expected


def test_a_gru_is_bounded_in_each_gate() -> None:
    weights = {
        f"{gate}Gate{matrix}Matrix": ZERO
        for gate in ("update", "reset", "output")
        for matrix in ("Weight", "Recursion")
    }
    y, _ = _run(
        "gru", _steps(80), **SIZES, activations=[RELU, RELU], **{**weights, "outputGateWeightMatrix": ONE}
    )
    assert y.reshape(()) == 50  # the update gate is 0: all of the candidate


def _lstm(x: Array, options: dict[str, Any], **gates: Array) -> list[float]:
    names = ("inputGate", "forgetGate", "blockInput", "outputGate")
    held = {f"{name}{matrix}Matrix": ZERO for name in names for matrix in ("Weight", "Recursion")}
    answers = _run(
        "uniDirectionalLSTM", x, **SIZES, activations=[LINEAR, LINEAR, LINEAR],
        params=options, weightParams={**held, **gates},
    )  # fmt: skip
    return [float(answer.reshape(())) for answer in answers]


def test_a_cell_is_bounded_by_fifty_where_nothing_is_said() -> None:
    """Two inputs of 10 make a cell of 100, and an output gate of 10."""
    gates = dict.fromkeys(("inputGateWeightMatrix", "blockInputWeightMatrix", "outputGateWeightMatrix"), ONE)
    assert _lstm(_steps(10), {}, **gates) == [500, 500, 50]
    assert _lstm(_steps(10), {"cellClipThreshold": 70}, **gates) == [700, 700, 70]
    assert _lstm(_steps(10), {"cellClipThreshold": 5e4}, **gates) == [1000, 1000, 100]
    assert _lstm(_steps(2), {}, **gates) == [8, 8, 4]


def test_the_gates_of_an_lstm_are_bounded() -> None:
    gates = dict.fromkeys(("inputGateWeightMatrix", "blockInputWeightMatrix", "outputGateWeightMatrix"), ONE)
    assert _lstm(_steps(60), {"cellClipThreshold": 5e4}, **gates) == [125_000, 125_000, 2500]


@pytest.mark.parametrize(
    ("kind", "fields", "act"),
    [
        ("linear", {}, lambda x: x),
        ("scaledTanh", {}, np.tanh),
        ("sigmoidHard", {}, lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
        ("linear", {"alpha": 2.0}, lambda x: 2 * x),
        ("scaledTanh", {"alpha": 2.0, "beta": 0.5}, lambda x: 2 * np.tanh(x / 2)),
    ],
)
def test_a_recurrent_layer_names_an_activation_alone(kind: str, fields: dict[str, float], act: Any) -> None:
    """coremltools writes them so, and its tests hold Core ML to the usual numbers."""
    x, weight = values(1, 2, 3, 4, 1, 1), values(2, 5, 4)
    one_step = x[:1]
    found, _ = _run(
        "simpleRecurrent", one_step, inputVectorSize=4, outputVectorSize=5, activation={kind: fields},
        weightMatrix=weight, recursionMatrix=values(3, 5, 5),
    )  # fmt: skip
    expected = act(one_step[0, :, :, 0, 0] @ weight.T)
    np.testing.assert_allclose(found[0, :, :, 0, 0], expected, rtol=1e-5, atol=1e-6)

"""Each fault does to a file what it says; most on a net with what the bundled small one lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from suite.cache import Cache
from suite.converters import packing
from suite.converters.flatbuffer import Flatbuffer
from suite.faults import FAULTS, Fault, Inapplicable
from suite.feeds import Feeds
from suite.original import Original
from suite.runtimes import Pool, open_session
from suite.spec import ImageInput, ModelSpec
from tests.meta.conftest import Subject

NET = """
import numpy as np
from suite.spec import ImageInput, ModelSpec

def build(weights):
    import keras
    keras.utils.set_random_seed(3)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU(max_value=6.0)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(10, activation="softmax")(x))
    random = np.random.default_rng(4)
    norm = model.layers[2]
    norm.set_weights([random.uniform(0.5, 2, 8), random.normal(1, 1, 8),
                      random.normal(0, 0.2, 8), random.uniform(0.001, 0.1, 8)])
    dense = model.layers[-1]
    dense.set_weights([random.normal(0, 1, (8, 10)), random.normal(0, 0.1, 10)])
    return model

SPEC = ModelSpec(build=build, input=ImageInput(height=16, width=16, preprocessing="torch"),
                 labels=tuple("abcdefghij"))
"""
NAMED = {fault.name: fault for fault in FAULTS}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory, tensorflow: Pool, shared_cache: Cache) -> Subject:
    """A convolution that pads on one side, a batch normalisation in it, and a softmax."""
    folder = tmp_path_factory.mktemp("net")
    path = folder / "net.py"
    path.write_text(NET)
    image = ImageInput(height=16, width=16, preprocessing="torch")
    spec = ModelSpec(name="net", path=path, input=image, labels=tuple("abcdefghij"))
    original = Original(spec, "offline", shared_cache, tensorflow)
    return Subject(original, Feeds(spec, original.card.inputs, scratch=folder), shared_cache)


@pytest.fixture
def run(tensorflow: Pool, tmp_path: Path, images: np.ndarray) -> Callable[[bytes], np.ndarray]:
    """What LiteRT answers by a file."""

    def answers(data: bytes) -> np.ndarray:
        path = tmp_path / "model.tflite"
        path.write_bytes(data)
        with open_session("litert-xnnpack", path, threads=1, worker=tensorflow.worker("LiteRT")) as session:
            (found,) = session.run_many({session.inputs[0].name: images}).values()
        return found

    return answers


def planted(fault: Fault, net: Subject, variant: str) -> bytes:
    data = net.artifact(variant).read_bytes()
    if fault.refold is not None:
        return fault.refold(data, net.original.batch_norms())
    assert fault.alter is not None
    return fault.alter(data)


@pytest.mark.parametrize("variant", ["float32", "int8"])
@pytest.mark.parametrize(
    "name",
    ["padding_on_the_other_side", "softmax_missing", "softmax_axis", "background_score", "epsilon_wrong",
     "folded_twice"],
)  # fmt: skip
def test_the_answers_are_others_and_the_metadata_stays(
    net: Subject, run: Callable[[bytes], np.ndarray], name: str, variant: str
) -> None:
    good = net.artifact(variant).read_bytes()
    data = planted(NAMED[name], net, variant)
    before, after = run(good), run(data)
    assert np.isfinite(after).all()
    assert before.shape != after.shape or np.abs(before - after).max() > 1e-3
    assert packing.unpack(data) == packing.unpack(good)


def test_what_becomes_of_the_softmax(net: Subject, run: Callable[[bytes], np.ndarray]) -> None:
    good = run(net.artifact("float32").read_bytes())
    scores = run(planted(NAMED["softmax_missing"], net, "float32"))
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), good, atol=1e-5)
    np.testing.assert_allclose(run(planted(NAMED["softmax_axis"], net, "float32")), 1.0)
    wider = run(planted(NAMED["background_score"], net, "float32"))
    np.testing.assert_array_equal(wider, np.pad(good, ((0, 0), (1, 0))))


def test_batch_normalisations_are_known_by_their_bias(net: Subject) -> None:
    (norm,) = net.original.batch_norms()
    factor = norm.gamma / np.sqrt(norm.variance + norm.epsilon)
    assert norm.epsilon == 1e-3

    def layer(data: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Kernel and bias of the convolution, as reals."""
        model = Flatbuffer(data)
        (operator,) = model.operators("CONV_2D")
        kernel, bias = (model.constant(index).astype(float) for index in operator.inputs[1:3])
        for values, index in ((kernel.T, operator.inputs[1]), (bias, operator.inputs[2])):
            values *= model.scales(index) if model.scales(index).size else 1.0
        return kernel, bias

    for variant, rounding in (("float32", 1e-5), ("int8", 1e-3)):
        kernel, bias = layer(net.artifact(variant).read_bytes())
        twice, twice_bias = layer(planted(NAMED["folded_twice"], net, variant))
        np.testing.assert_allclose(twice, kernel * factor[:, None, None, None], rtol=1e-5)
        np.testing.assert_allclose(
            twice_bias, (bias - norm.mean) * factor + norm.beta, rtol=rounding, atol=rounding
        )
        _, other = layer(planted(NAMED["epsilon_wrong"], net, variant))
        expected = norm.beta - norm.mean * norm.gamma / np.sqrt(norm.variance + 1e-5)
        np.testing.assert_allclose(other, expected, rtol=rounding, atol=rounding)


def test_without_a_batch_normalisation_nothing_is_folded(classifier: Subject) -> None:
    assert classifier.original.batch_norms() == []
    for name in ("epsilon_wrong", "folded_twice"):
        refold = NAMED[name].refold
        assert refold is not None
        with pytest.raises(Inapplicable, match="no layer of the file"):
            refold(classifier.artifact("float32").read_bytes(), [])


def test_a_file_without_metadata_has_no_fault_of_it(classifier: Subject) -> None:
    data = classifier.artifact("float32").read_bytes()
    for fault in FAULTS:
        if fault.family == "metadata":
            assert fault.alter is not None
            with pytest.raises(Inapplicable, match="no metadata"):
                fault.alter(data)


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS if fault.family == "metadata"])
def test_a_fault_of_the_metadata_leaves_the_graph_alone(
    net: Subject, run: Callable[[bytes], np.ndarray], name: str
) -> None:
    good = net.artifact("float32").read_bytes()
    data = planted(NAMED[name], net, "float32")
    assert run(data).tobytes() == run(good).tobytes()
    assert packing.unpack(data) != packing.unpack(good)

"""Conversion to Core ML: what the saved file says of itself; and what does not convert says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from suite.cache import Cache
from suite.converters import artifact as artifacts
from suite.converters.interface import Interface, interface, scaling
from suite.coreml.evaluator import Evaluator
from suite.coreml.inspection import inspect, weights
from suite.coreml.saved import Saved, declared_type, open_saved
from suite.errors import CaseError, Unsupported
from suite.preprocess import normalise
from suite.record import Stage, Status
from suite.spec import COREML, PREPROCESSING, VARIANTS, ImageInput
from tests.meta.coreml.conftest import CONVNEXT, PHOTO, Fixture

# Twelve normalisations that double what they get and halve it again, but for Keras' epsilon of 1e-3;
# the first is folded into the convolution, the others stand between two, which makes coremltools fuse them.
NORMS = """
from suite.spec import ModelSpec

def build(weights):
    import keras
    from keras import layers
    image = keras.Input((4, 4, 2))
    x = layers.Conv2D(2, 1, kernel_initializer="ones", use_bias=False)(image)
    for gain in [2.0, 0.5] * 6:
        x = layers.BatchNormalization(
            gamma_initializer=keras.initializers.Constant([gain, 1.5 * gain]),
            beta_initializer=keras.initializers.Constant([1.0, 2.0]),
        )(x)
        x = layers.ReLU()(x)
    return keras.Model(image, layers.Conv2D(1, 1, kernel_initializer="ones", use_bias=False)(x))

SPEC = ModelSpec(build=build)
"""

Photo = Callable[[str], Fixture]
Make = Callable[[str, str], Fixture]


@pytest.mark.parametrize("variant", COREML)
def test_a_variant_is_what_its_name_says(photo: Photo, variant: str) -> None:
    path, facts = photo("tf").convert(variant)
    assert path.suffix == VARIANTS[variant].suffix
    assert inspect(path).variant == variant
    assert facts.minimum_runtime == {"neuralnetwork": "iOS13"}.get(
        variant, "iOS15" if "float" in variant else "iOS16"
    )
    convolutions = {
        precision: counts
        for precision, counts in facts.ops.items()
        if counts.keys() & {"conv", "convolution"}
    }
    expected = {
        "mlprogram_float16": {"float16"},
        "mlprogram_int8_weights": {"float16", "float16 with int8 weights"},  # one is too small
        "mlprogram_palettized_6bit": {"float16", "float16 with palettized weights"},
    }
    assert convolutions.keys() == expected.get(variant, {"float32"})


def test_narrower_weights_make_a_smaller_file(photo: Photo) -> None:
    stored = {}
    for variant in COREML:
        path, facts = photo("tf").convert(variant)
        stored[variant] = sum(weight.stored_bytes for weight in weights(open_saved(path)))
        assert facts.size_bytes > stored[variant]
    assert stored["mlprogram_float32"] > 1.9 * stored["mlprogram_float16"]
    assert stored["mlprogram_float16"] > 1.5 * stored["mlprogram_int8_weights"]
    assert stored["mlprogram_int8_weights"] > stored["mlprogram_palettized_6bit"]


@pytest.mark.parametrize("variant", ["mlprogram_float32", "neuralnetwork"])
def test_an_app_finds_a_photo_labels_and_who_made_it(photo: Photo, variant: str) -> None:
    path, _ = photo("caffe").convert(variant)
    description = open_saved(path).spec.description
    (image,) = description.input
    assert (image.name, image.type.imageType.width, image.type.imageType.height) == ("image", 24, 20)
    assert image.type.imageType.ColorSpace.Name(image.type.imageType.colorSpace) == "BGR"
    assert "caffe preprocessing is part of the model" in image.shortDescription
    assert {one.name for one in description.output} == {"classLabel", "classLabel_probs"}
    assert description.predictedProbabilitiesName == "classLabel_probs"
    assert description.metadata.author == "Pocketproof"
    assert description.metadata.userDefined["pocketproof.model"] == "photo_caffe"


def test_without_labels_and_image_names_are_those_of_the_original(two_headed: Fixture) -> None:
    path, _ = artifacts.artifact(
        two_headed.original, VARIANTS["mlprogram_float16"], two_headed.feeds, two_headed.cache
    )
    saved = open_saved(path)
    shapes = {
        one.name: tuple(one.type.multiArrayType.shape)
        for one in (*saved.spec.description.input, *saved.spec.description.output)
    }
    assert shapes == {"image": (1, 8, 8, 3), "numbers": (1, 4), "scores": (1, 5), "box": (1, 3)}


def test_the_same_conversion_gives_the_same_bytes(photo: Photo, tmp_path: Path) -> None:
    one = photo("unit")
    _, first = one.convert("mlprogram_palettized_6bit")
    _, second = artifacts.artifact(
        one.original, VARIANTS["mlprogram_palettized_6bit"], one.feeds, Cache(tmp_path)
    )
    assert first.sha256 == second.sha256
    package = tmp_path / second.path
    assert all(file.stat().st_mode & 0o044 == 0o044 for file in package.rglob("*"))


def test_the_deployment_target_is_obeyed(photo: Photo) -> None:
    path, facts = photo("tf").convert("mlprogram_float16", deployment_target="iOS17")
    assert facts.minimum_runtime == "iOS17"
    assert open_saved(path).spec.specificationVersion == 8
    with pytest.raises(CaseError, match=r"coremltools refused mlprogram_float32: .*at least iOS15"):
        photo("tf").convert("mlprogram_float32", deployment_target="iOS13")


@pytest.mark.parametrize("variant", ["mlprogram_float32", "neuralnetwork"])
def test_a_batch_normalisation_keeps_its_gain(fixture_model: Make, variant: str) -> None:
    """coremltools alone loses five millionths of each, one after the other."""
    model = fixture_model("norms", NORMS)
    path, _ = model.convert(variant)
    assert {"batch_norm", "batchnorm"} & inspect(path).ops["float32"].keys()
    image = np.random.default_rng(0).random((1, 4, 4, 2)).astype(np.float32)
    expected = image.astype(np.float64).sum(axis=-1, keepdims=True).repeat(2, axis=-1)
    for gain in [2.0, 0.5] * 6:
        expected = [gain, 1.5 * gain] * expected / np.sqrt(1.001) + [1, 2]
    (answer,) = Evaluator.open(path).run({"input": image}).values()
    np.testing.assert_allclose(answer, expected.sum(axis=-1, keepdims=True), rtol=2e-6)


# --- the image contract -------------------------------------------------------------------


@pytest.mark.parametrize("name", PREPROCESSING)
def test_one_scale_and_factors_are_the_fixtures_preprocessing(name: str) -> None:
    image = ImageInput(height=4, width=5, preprocessing=name)
    contract = scaling(image)
    assert bool(contract.factors) == (name == "torch")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.uint8)
    ordered = pixels[..., ::-1] if image.mode.channel_order == "BGR" else pixels
    scaled = (ordered * contract.scale + np.array(contract.bias)) * np.array(contract.factors or 1.0)
    np.testing.assert_allclose(scaled, normalise(pixels, image.mode), rtol=0, atol=2e-5)


def test_a_scale_for_each_channel_is_finished_in_the_graph(photo: Photo) -> None:
    saved = open_saved(photo("torch").convert("mlprogram_float32")[0])
    kinds = [operation.type for operation in _computing(saved)]
    assert kinds[:3] == ["mul", "add", "mul"]
    assert [operation.type for operation in _computing(_plain(photo))][:3] == ["mul", "add", "pad"]


def _plain(photo: Photo) -> Saved:
    return open_saved(photo("tf").convert("mlprogram_float32")[0])


def _computing(saved: Saved) -> list[object]:
    return [one for one in saved.operations() if one.type not in ("const", "transpose")]


def test_a_model_of_grey_images_takes_a_tensor(fixture_model: Make) -> None:
    grey = PHOTO.replace("{mode}", "unit").replace("(20, 24, 3)", "(20, 24, 1)")
    model = fixture_model("grey", grey.replace("width=24", "width=24, channels=1"))
    wanted = interface(model.original.spec, model.original.card)
    assert wanted.image is None
    assert wanted.inputs == {"image": ((1, 20, 24, 1), "float32")}
    saved = open_saved(model.convert("mlprogram_float32")[0])
    assert saved.spec.description.input[0].type.WhichOneof("Type") == "multiArrayType"


def test_as_many_labels_as_scores(fixture_model: Make) -> None:
    named = PHOTO.replace("{mode}", "tf").replace("dataset=digits.load", "labels=('a', 'b')")
    model = fixture_model("two_labels", named)
    with pytest.raises(CaseError, match="names 2 labels, the model answers 10 scores") as caught:
        model.convert("mlprogram_float32")
    assert caught.value.stage is Stage.BUILD


# --- what TensorFlow makes hard -------------------------------------------------------------


@pytest.mark.parametrize("variant", ["mlprogram_float32", "neuralnetwork"])
def test_convnext_converts_with_its_gelu_whole(fixture_model: Make, variant: str) -> None:
    saved = open_saved(fixture_model("convnext_like", CONVNEXT).convert(variant)[0])
    if saved.program:
        kinds = [operation.type for operation in saved.operations()]
        assert kinds.count("gelu") == 1
        assert not {"erf", "erfc"} & set(kinds)
        grouped = [one for one in saved.operations() if one.type == "conv"]
        assert [declared_type(one.outputs[0].type).shape for one in grouped] == [(1, 16, 8, 8)] * 2
    else:
        layers = [layer.WhichOneof("layer") for layer in saved.layers()]
        assert layers.count("gelu") == 1
        assert [one.convolution.nGroups for one in saved.layers() if one.HasField("convolution")] == [1, 16]


UNCONVERTIBLE = """
from suite.spec import ModelSpec, TensorInput

def build(weights):
    import keras
    import tensorflow as tf

    class Odd(keras.layers.Layer):
        def call(self, x):
            return {call}

    keras.utils.set_random_seed(1)
    image = keras.Input((6, 6))
    return keras.Model(image, keras.layers.Dense(4)(Odd()(image)))

SPEC = ModelSpec(build=build, input=TensorInput())
"""


def test_an_op_that_coremltools_lacks_is_unsupported_and_named(fixture_model: Make) -> None:
    bad = fixture_model("svd", UNCONVERTIBLE.replace("{call}", "tf.linalg.svd(x, compute_uv=False)"))
    with pytest.raises(Unsupported, match=r"cannot convert this to neuralnetwork: .*Svd") as caught:
        bad.convert("neuralnetwork")
    assert (caught.value.stage, caught.value.status) == (Stage.CONVERT, Status.UNSUPPORTED)
    good = fixture_model("relu", UNCONVERTIBLE.replace("{call}", "tf.nn.relu(x)[:, 0]"))
    assert good.convert("neuralnetwork")[0].is_file()


def test_erfc_alone_converts_too(fixture_model: Make) -> None:
    model = fixture_model("erfc", UNCONVERTIBLE.replace("{call}", "tf.math.erfc(x)"))
    kinds = [operation.type for operation in open_saved(model.convert("mlprogram_float32")[0]).operations()]
    assert "erf" in kinds


def test_an_interface_is_part_of_what_an_artifact_is_known_by(photo: Photo) -> None:
    assert photo("tf").convert("neuralnetwork")[0] != photo("unit").convert("neuralnetwork")[0]
    wanted = interface(photo("tf").original.spec, photo("tf").original.card)
    assert isinstance(wanted, Interface)
    assert wanted.labels[:3] == ("zero", "one", "two")

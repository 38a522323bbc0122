"""Pictures as an app hands them over: order of colours, grey, scale and bias, in programs and networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from suite.coreml.evaluator import Evaluator
from suite.coreml.images import Picture, picture, planes
from suite.coreml.saved import proto
from suite.errors import CaseError, UsageError
from suite.preprocess import pixels as led_back
from suite.preprocess import preprocess
from suite.runtimes.coreml_evaluator import open_session
from suite.spec import Array, ImageInput
from tests.meta.coreml.writing import Package

SPACES = {"GRAY": 10, "RGB": 20, "BGR": 30, "GRAY_FLOAT16": 40}


def pixels(channels: int = 3, height: int = 4, width: int = 6) -> Array:
    shape = (height, width, channels) if channels == 3 else (height, width)
    return np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)


def feature(space: str, height: int = 4, width: int = 6) -> Any:
    one = proto("FeatureTypes_pb2").FeatureType()
    one.imageType.height, one.imageType.width, one.imageType.colorSpace = height, width, SPACES[space]
    return one


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), space=st.sampled_from(["RGB", "BGR"]))
def test_planes_are_in_the_declared_order(height: int, width: int, space: str) -> None:
    photo = pixels(3, height, width)
    found = planes(photo, Picture(height, width, space), "x")
    order = photo if space == "RGB" else photo[..., ::-1]
    np.testing.assert_array_equal(found, order.transpose(2, 0, 1)[None].astype(np.float32))
    np.testing.assert_array_equal(found, planes(Image.fromarray(photo), Picture(height, width, space), "x"))
    np.testing.assert_array_equal(found, planes(photo.astype(np.float32), Picture(0, 0, space), "x"))


@pytest.mark.parametrize("space", ["GRAY", "GRAY_FLOAT16"])
def test_grey_has_one_plane(space: str) -> None:
    photo = pixels(1)
    kind = Picture(4, 6, space)
    found = planes(photo, kind, "x")
    np.testing.assert_array_equal(found, photo[None, None])
    np.testing.assert_array_equal(planes(photo[..., None], kind, "x"), found)
    coloured = Image.fromarray(pixels())
    np.testing.assert_array_equal(planes(coloured, kind, "x")[0, 0], np.asarray(coloured.convert("L")))
    assert kind.dtype == ("uint8" if space == "GRAY" else "float16")
    luma = photo.astype(np.float32) + np.float32(0.25)
    np.testing.assert_array_equal(planes(luma, kind, "x"), luma[None, None])
    of_reals = planes(Image.fromarray(luma), kind, "x")
    np.testing.assert_array_equal(of_reals, (photo if space == "GRAY" else luma)[None, None])


@pytest.mark.parametrize(
    "wrong", [pixels(3, 5), pixels(1), np.zeros((1, 3, 4, 6), np.float32), np.zeros((4, 6, 3), bool), "photo"]
)
def test_what_is_no_picture_of_that_size_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"the input x takes a picture of \(4, 6, 3\).*found"):
        planes(wrong, Picture(4, 6, "RGB"), "x")


def test_a_colour_space_to_come_is_refused() -> None:
    one = proto("Model_pb2").FeatureDescription(name="x")
    one.type.imageType.colorSpace = 99
    with pytest.raises(CaseError, match="colour space 99"):
        picture(one)


def program(space: str) -> Package:
    """x, a picture -> doubled."""
    package, channels = Package(), 1 if space.startswith("GRAY") else 3
    package.input("x", (1, channels, 4, 6))
    package.model.description.input[0].type.CopyFrom(feature(space))
    package.const("two", np.float32(2))
    package.op("mul", "y", (1, channels, 4, 6), x="x", y="two")
    package.answer("y")
    return package


@pytest.mark.parametrize("space", SPACES)
def test_a_program_sees_what_is_declared(tmp_path: Path, space: str) -> None:
    model = Evaluator.open(program(space).save(tmp_path / "m.mlpackage"))
    grey = space.startswith("GRAY")
    photo = pixels(1 if grey else 3)
    order = photo[..., None] if grey else photo[..., ::-1] if space == "BGR" else photo
    expected = 2 * order.transpose(2, 0, 1)[None].astype(np.float32)
    np.testing.assert_array_equal(model.run({"x": photo})["y"], expected)
    np.testing.assert_array_equal(model.run_tensors({"x": expected / 2})["y"], expected)
    assert model.inputs[0].shape == (4, 6, 1 if grey else 3)


@pytest.mark.parametrize("space", ["GRAY", "GRAY_FLOAT16"])
def test_a_session_takes_grey_samples_as_they_were_prepared(tmp_path: Path, space: str) -> None:
    contract = ImageInput(height=4, width=6, channels=1, preprocessing="unit")
    prepared = preprocess(pixels()[None], contract)
    given = led_back(prepared, contract)
    path = program(space).save(tmp_path / "m.mlpackage")
    (answer,) = open_session(path, 1).run_many({"x": given}).values()
    np.testing.assert_allclose(answer, 2 * 255 * prepared.transpose(0, 3, 1, 2), rtol=1e-5)


@pytest.mark.parametrize("space", SPACES)
def test_a_network_scales_and_shifts_each_colour_by_its_own(tmp_path: Path, space: str) -> None:
    spec = proto("Model_pb2").Model(specificationVersion=6)
    network = spec.neuralNetwork
    network.imageInputShapeMapping = proto("NeuralNetwork_pb2").RANK4_IMAGE_MAPPING
    network.arrayInputShapeMapping = proto("NeuralNetwork_pb2").EXACT_ARRAY_MAPPING
    one = spec.description.input.add(name="x")
    one.type.CopyFrom(feature(space))
    spec.description.output.add(name="y").type.multiArrayType.dataType = 65568
    scaler = network.preprocessing.add(featureName="x").scaler
    scaler.channelScale, scaler.redBias, scaler.greenBias, scaler.blueBias = 0.5, 1, 2, 3
    scaler.grayBias = 7
    layer = network.layers.add(name="copy", input=["x"], output=["y"])
    layer.copy.SetInParent()
    path = tmp_path / "m.mlmodel"
    path.write_bytes(spec.SerializeToString())
    grey = space.startswith("GRAY")
    photo = pixels(1 if grey else 3)
    order = photo[..., None] if grey else photo[..., ::-1] if space == "BGR" else photo
    shift = [7] if grey else [3, 2, 1] if space == "BGR" else [1, 2, 3]
    expected = (order * np.float32(0.5) + np.float32(shift)).transpose(2, 0, 1)[None]
    np.testing.assert_array_equal(Evaluator.open(path).run({"x": photo})["y"], expected)

"""Inputs of several sizes: what the file allows is taken, all else is refused as Core ML does."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suite.converters.interface import Interface
from suite.coreml import checks
from suite.coreml.evaluator import Evaluator
from suite.errors import CaseError
from suite.record import Stage, Status
from suite.runtimes import Pool
from suite.runtimes.coreml_evaluator import open_session
from suite.spec import ImageInput
from tests.meta.coreml.writing import Package

FLEXIBLE = "tests.meta.coreml.reference:flexible"


@pytest.fixture(scope="module")
def converted(tensorflow: Pool, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """x -> relu(x) + mean, converted by coremltools with a range and with a list of sizes."""
    folder = tmp_path_factory.mktemp("flexible")
    made = {}
    for kind in ("mlprogram", "neuralnetwork"):
        for sizes in ("range", "listed"):
            ending = "mlpackage" if kind == "mlprogram" else "mlmodel"
            path = made[kind, sizes] = folder / f"{kind}_{sizes}.{ending}"
            tensorflow.worker("operators").call(FLEXIBLE, path, kind, sizes, stage=Stage.RUN, timeout=120)
    return made


@pytest.mark.parametrize("kind", ["mlprogram", "neuralnetwork"])
@pytest.mark.parametrize("sizes", ["range", "listed"])
def test_allowed_sizes_are_answered_and_others_refused(
    converted: dict[tuple[str, str], Path], kind: str, sizes: str
) -> None:
    model = Evaluator.open(converted[kind, sizes])
    name, answer = model.inputs[0].name, model.outputs[0].name
    for count in (2, 5):
        x = np.random.default_rng(count).standard_normal((count, 3)).astype(np.float32)
        expected = np.maximum(x, 0) + x.mean(axis=0, keepdims=True)
        np.testing.assert_allclose(model.run({name: x})[answer], expected, rtol=1e-5, atol=1e-6)
    for count in (1, 9):
        with pytest.raises(CaseError, match=r"the input \w+ is \dx3, the model takes"):
            model.run({name: np.zeros((count, 3), np.float32)})


def test_a_range_without_an_end_takes_all(tmp_path: Path) -> None:
    package = Package()
    package.input("x", (-1, 2))
    array = package.model.description.input[0].type.multiArrayType
    for low, high in ((2, -1), (2, 2)):
        array.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)
    package.op("relu", "y", (-1, 2), x="x")
    package.answer("y")
    model = Evaluator.open(package.save(tmp_path / "m.mlpackage"))
    assert model.run({"x": np.ones((1000, 2))})["y"].shape == (1000, 2)
    with pytest.raises(CaseError, match=r"is 1x2, the model takes 2\.\. x 2: Core ML"):
        model.run({"x": np.ones((1, 2))})


@pytest.mark.parametrize("listed", [False, True])
def test_pictures_of_several_sizes(tmp_path: Path, listed: bool) -> None:
    package = Package()
    package.input("x", (1, 3, -1, -1))
    kind = package.model.description.input[0].type.imageType
    kind.height, kind.width, kind.colorSpace = 4, 6, 20
    if listed:
        for height, width in ((4, 6), (8, 12)):
            kind.enumeratedSizes.sizes.add(height=height, width=width)
    else:
        kind.imageSizeRange.heightRange.lowerBound, kind.imageSizeRange.heightRange.upperBound = 4, 8
        kind.imageSizeRange.widthRange.lowerBound, kind.imageSizeRange.widthRange.upperBound = 6, -1
    package.op("relu", "y", (1, 3, -1, -1), x="x")
    package.answer("y")
    model = Evaluator.open(package.save(tmp_path / "m.mlpackage"))
    for height, width in ((4, 6), (8, 12)):
        photo = np.zeros((height, width, 3), np.uint8)
        assert model.run({"x": photo})["y"].shape == (1, 3, height, width)
    with pytest.raises(CaseError, match="is 9x12, the model takes"):
        model.run({"x": np.zeros((9, 12, 3), np.uint8)})


def _rectifier(path: Path, *ranges: tuple[int, int]) -> Path:
    """x -> relu(x), of sizes between 1 x 3 x 6 x 6 and what the ranges of all axes or of a picture say."""
    package = Package()
    shape = (1, 3, 6, 6)
    package.input("x", (-1, 3, -1, -1))
    kind = package.model.description.input[0].type
    if len(ranges) == 2:
        kind.imageType.height, kind.imageType.width, kind.imageType.colorSpace = 8, 8, 20
        sizes = kind.imageType.imageSizeRange.heightRange, kind.imageType.imageSizeRange.widthRange
    else:
        kind.multiArrayType.shape[:] = shape
        sizes = tuple(kind.multiArrayType.shapeRange.sizeRanges.add() for _ in ranges)
    for one, (low, high) in zip(sizes, ranges, strict=True):
        one.lowerBound, one.upperBound = low, high
    package.op("relu", "y", (-1, 3, -1, -1), x="x")
    package.answer("y")
    package.model.description.output[0].type.multiArrayType.shape[:] = shape
    return package.save(path)


WANTED = Interface(inputs={"x": ((1, 3, 6, 6), "float32")}, outputs={"y": ((1, 3, 6, 6), "float32")})
PHOTOS = ImageInput(height=6, width=6, preprocessing="none")
ONE, SIZE = (1, 1), (6, 12)


@pytest.mark.parametrize(
    ("ranges", "wrong", "words"),
    [
        ((ONE, (3, 3), SIZE, (2, -1)), "", r"one sample at a time; the input x may be 1 x 3 x 6..12 x 2.."),
        ((SIZE, SIZE), "", r"one sample at a time; the input x may be 6..12 x 6..12"),
        (((1, 2), (3, 3), SIZE, SIZE), "batch", r"the first axis of the input x is free \(1..2 x 3 x 6"),
        ((ONE, (3, 3), (7, 9), SIZE), "inputs", "the input x is 1x3x6x6, the model takes 1 x 3 x 7..9 x"),
        ((SIZE, (7, 9)), "inputs", "the input x is 6x6, the model takes 6..12 x 7..9"),
    ],
)
def test_of_a_given_file_height_and_width_may_be_free_but_not_the_batch(
    tmp_path: Path, ranges: tuple[tuple[int, int], ...], wrong: str, words: str
) -> None:
    path = _rectifier(tmp_path / "m.mlpackage", *ranges)
    picture = len(ranges) == 2
    wanted = replace(WANTED, image=PHOTOS) if picture else WANTED
    found = checks.check(path, "mlprogram_float32", wanted, converted=False)
    failing = [name for name in ("inputs", "outputs", "batch") if found[name].status is not Status.PASSED]
    assert failing == ([wrong] if wrong else [])
    assert re.search(words, found[wrong or "batch"].message), found[wrong or "batch"].message
    ours = checks.check(path, "mlprogram_float32", wanted, converted=True)
    assert "expected a batch of 1" in ours["batch"].message
    if not wrong:
        given = np.random.default_rng(1).integers(-9, 9, (4, 6, 6, 3) if picture else (4, 3, 6, 6))
        (answer,) = open_session(path, 1).run_many({"x": given.astype(np.float32)}).values()
        expected = given.transpose(0, 3, 1, 2) if picture else given
        np.testing.assert_array_equal(answer, np.maximum(expected, 0))
        assert Evaluator.open(path).usual_shape("x") == ((8, 8, 3) if picture else (1, 3, 6, 6))

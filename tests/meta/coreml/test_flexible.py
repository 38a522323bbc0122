"""Inputs of several sizes: what the file allows is taken, all else is refused as Core ML does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from suite.coreml.evaluator import Evaluator
from suite.errors import CaseError
from suite.record import Stage
from suite.runtimes import Pool
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
    with pytest.raises(CaseError, match=r"is 1x2, the model takes 2\.\. x 2\.\.2"):
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

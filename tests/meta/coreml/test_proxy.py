"""coremltools' own tools, unmodified, on the evaluator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.coreml.evaluator import Evaluator
from suite.coreml.proxy import Proxy
from tests.meta.conftest import ROOT
from tests.meta.coreml.conftest import Fixture
from tests.meta.coreml.writing import Package, small

Script = Callable[..., "subprocess.CompletedProcess[str]"]

TOOLS = """
import asyncio, json, sys
import numpy as np
import coremltools as ct
from coremltools.models.ml_program.experimental.debugging_utils import (
    MLModelComparator, MLModelInspector, MLModelValidator,
)
from suite.coreml import proxy

folder = sys.argv[1]
feed = {"x": np.load(f"{folder}/x.npy")}
found = {}


def near(operation, one, other):
    return np.allclose(one, other, rtol=1e-4, atol=1e-4)


def names(operations):
    return [operation.outputs[0].name for operation in operations]


async def inspect(model):
    seen = {name: value async for name, value in MLModelInspector(model).inspect(inputs=feed)}
    return {name: value for name, value in seen.items() if value is not None}  # None: a constant


with proxy.installed():
    good, bounded, torn = (
        ct.models.MLModel(f"{folder}/{name}.mlpackage") for name in ("good", "bounded", "torn")
    )
    found["predict"] = good.predict(feed)["y"].tolist()
    found["inspect"] = {name: value.tolist() for name, value in asyncio.run(inspect(good)).items()}
    for name, other in (("same", good), ("other", bounded)):
        comparator = MLModelComparator(good, other)
        found[name] = names(asyncio.run(comparator.find_failing_ops(inputs=feed, compare_outputs=near)))
    for name, model in (("whole", good), ("torn", torn)):
        validator = MLModelValidator(model)
        found[name] = names(asyncio.run(validator.find_failing_ops_with_nan_output(inputs=feed)))
assert ct.models.model._MLModelProxy is not proxy.Proxy  # coremltools is left as it was
print(json.dumps(found))
"""


def _become(kind: str) -> Package:
    package = small()
    next(one for one in package.block.operations if one.outputs[0].name == "r").type = kind
    return package


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of three programs, and what every tool said of them."""
    folder = tmp_path_factory.mktemp("tools")
    for name, package in (("good", small()), ("bounded", _become("relu6")), ("torn", _become("sqrt"))):
        package.save(folder / f"{name}.mlpackage")
    x = 10 * np.random.default_rng(1).standard_normal((1, 3, 6, 6)).astype(np.float32)
    np.save(folder / "x.npy", x)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TOOLS, str(folder)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def inside(said: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    """Every value of the good program, by the evaluator itself."""
    folder, _ = said
    return dict(Evaluator.open(folder / "good.mlpackage").intermediates({"x": np.load(folder / "x.npy")}))


def test_predict(said: tuple[Path, dict[str, Any]], inside: dict[str, Any]) -> None:
    np.testing.assert_array_equal(np.float32(said[1]["predict"]), inside["y"])


def test_the_inspector_sees_every_value(said: tuple[Path, dict[str, Any]], inside: dict[str, Any]) -> None:
    assert said[1]["inspect"].keys() >= inside.keys()
    for name, value in inside.items():
        np.testing.assert_array_equal(np.float32(said[1]["inspect"][name]), value)


def test_the_comparator_names_the_operation_that_differs(said: tuple[Path, dict[str, Any]]) -> None:
    assert said[1]["same"] == []
    assert said[1]["other"] == ["r"]


def test_the_validator_names_the_operation_that_answers_no_number(said: tuple[Path, dict[str, Any]]) -> None:
    assert said[1]["whole"] == []
    assert said[1]["torn"] == ["r"]


CLASSIFIER = """
import json, sys
import coremltools as ct
import numpy as np
from PIL import Image
from suite.coreml import proxy

photo = Image.fromarray(np.load(sys.argv[2]))
with proxy.installed():
    answer = ct.models.MLModel(sys.argv[1]).predict({"image": photo})
print(json.dumps({"label": answer["classLabel"], "scores": answer["classLabel_probs"]}))
"""


@pytest.mark.parametrize("scores", ["scores", "boxes"])
def test_scores_are_told_from_other_answers_by_their_name(tmp_path: Path, scores: str) -> None:
    """A detector answers as many boxes' sides as it has labels: four."""
    package = Package()
    package.input("x", (4,))
    for name, kind in (("scores", "relu"), ("boxes", "abs")):
        package.op(kind, name, (4,), x="x")
        package.answer(name)
    package.model.description.predictedProbabilitiesName = scores
    answerer = Proxy(str(package.save(tmp_path / "m.mlpackage")))
    answerer._evaluator.labels = tuple("abcd")
    found = answerer.predict({"x": np.float32([-1, 2, -3, 4])})
    by_label = {"scores": [0, 2, 0, 4], "boxes": [1, 2, 3, 4]}
    other = "boxes" if scores == "scores" else "scores"
    assert found[scores] == dict(zip("abcd", by_label[scores], strict=True))
    np.testing.assert_array_equal(found[other], by_label[other])


def test_a_classifier_takes_a_picture_and_answers_by_label(
    photo: Callable[[str], Fixture], script: Script, tmp_path: Path
) -> None:
    path, _ = photo("caffe").convert("mlprogram_float32")
    pixels = np.random.default_rng(2).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    np.save(tmp_path / "photo.npy", pixels)
    done = script(CLASSIFIER, path, tmp_path / "photo.npy")
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    model = Evaluator.open(path)
    expected = model.run({"image": pixels})
    assert list(said["scores"]) == list(model.labels)
    np.testing.assert_allclose(list(said["scores"].values()), expected["classLabel_probs"], rtol=1e-6)
    assert said["label"] == expected["classLabel"].item() == max(said["scores"], key=said["scores"].get)

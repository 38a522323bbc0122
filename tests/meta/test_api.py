"""Plain scripts: open and convert any model file from any folder, without pytest."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from suite import api
from suite.cache import Cache
from suite.errors import PocketproofError, UsageError
from suite.runtimes.base import TensorInfo
from tests.meta.conftest import Subject

# Run in a folder of its own, as a user's script is.
OPEN = """
import json, sys
import numpy as np
import suite

images = np.load(sys.argv[1])
said = {}
for path in sys.argv[2:]:
    with suite.open_model(path) as model:
        (given,), (answered,) = model.inputs, model.outputs
        one = model.run({given.name: images[:1]})
        answer = one[answered.name][0].tolist()
        said[path] = [given.name, list(given.shape), given.dtype, list(answered.shape), answer]
assert not {"tensorflow", "keras"} & set(sys.modules), "TensorFlow is in the user's process"
print(json.dumps(said))
"""

CONVERT = """
import sys
from pathlib import Path
import suite
print(suite.convert(sys.argv[1], "int8", output=Path("mine.tflite")))
print(suite.convert(sys.argv[1], "float32"))
"""


@pytest.fixture
def own_cache(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setattr(api, "default_cache", lambda: cache)
    return cache


def test_every_kind_of_file_opens_from_a_script_elsewhere(
    script: Callable[..., subprocess.CompletedProcess[str]],
    classifier: Subject,
    saved: Path,
    images: np.ndarray,
    expected: np.ndarray,
    tmp_path: Path,
) -> None:
    shutil.copy(classifier.artifact("float32"), tmp_path / "m.tflite")
    np.save(tmp_path / "images.npy", images)
    paths = ["m.tflite", *(str(saved / f"classifier{ending}") for ending in (".keras", ".h5", "_saved"))]
    # One cache with the other tests: what these models are is known there.
    ran = script(OPEN, "images.npy", *paths, POCKETPROOF_CACHE=str(classifier.cache.root))
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    for path in paths:
        name, shape, dtype, answered, answer = said[path]
        assert name
        assert (shape[1:], dtype, answered[1:]) == ([16, 16, 3], "float32", [10])
        np.testing.assert_allclose(answer, expected[0], rtol=1e-4, atol=1e-4)


def test_a_script_converts_to_where_it_wants(
    script: Callable[..., subprocess.CompletedProcess[str]], classifier: Subject, saved: Path, tmp_path: Path
) -> None:
    # Both artifacts are in the cache: the script takes them from there.
    ran = script(CONVERT, saved / "classifier.keras", POCKETPROOF_CACHE=str(classifier.cache.root))
    assert ran.returncode == 0, ran.stderr
    given, cached = (Path(line) for line in ran.stdout.split())
    assert given == Path("mine.tflite")
    assert (tmp_path / given).read_bytes() == classifier.artifact("int8").read_bytes()
    assert cached == classifier.artifact("float32")


class InMemory:
    """A model in the user's process; what of a keras.Model is asked for."""

    name = "mine"

    def __init__(self, path: Path) -> None:
        self._path = path

    def count_params(self) -> int:
        return 1

    def save(self, path: Path) -> None:
        shutil.copy(self._path, path)


def test_a_model_in_memory_is_converted_with_the_given_calibration(
    saved: Path, own_cache: Cache, images: np.ndarray
) -> None:
    model = InMemory(saved / "classifier.keras")
    # Float64, as NumPy makes it.
    path = api.convert(model, "int8", calibration=images.astype(np.float64))
    assert path.read_bytes()[4:8] == b"TFL3"
    assert path.is_relative_to(own_cache.root)


# --- what cannot be opened or converted ------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent.keras", r"no model file at absent\.keras"),
        ("absent.tflite", r"no artifact at absent\.tflite"),
        ("model.onnx", r"model\.onnx cannot be opened: known are \.tflite, \.mlpackage, \.mlmodel, \.keras"),
        ("folder", r"folder is a folder without saved_model\.pb"),
    ],
)
def test_what_cannot_be_opened_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Cache, name: str, words: str
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"1")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=words), api.open_model(name):
        pass


def test_a_damaged_artifact_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(b"not a model")
    with (
        pytest.raises(PocketproofError, match=r"cannot load m\.tflite"),
        api.open_model(tmp_path / "m.tflite"),
    ):
        pass


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("m.keras", "int9"), "unknown variant 'int9': did you mean int8"),
        (("squeezenett", "int8"), "no file at 'squeezenett', and unknown model .*did you mean squeezenet"),
        ((Path("absent.keras"), "int8"), r"no model file at absent\.keras"),
    ],
)
def test_what_cannot_be_converted_is_one_message(
    own_cache: Cache, arguments: tuple[object, str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        api.convert(*arguments)


@pytest.mark.parametrize(
    ("calibration", "words"),
    [
        (np.zeros((4, 8, 8, 3)), r"calibration holds \(4, 8, 8, 3\) for the input input, .*\(16, 16, 3\)"),
        (
            {"a": np.zeros((4, 16, 16, 3)), "b": np.zeros(4)},
            r"calibration: found 2 arrays \(a, b\), expected 1",
        ),
    ],
)
def test_a_calibration_that_does_not_fit_names_both(calibration: object, words: str) -> None:
    inputs = (TensorInfo(name="input", shape=(-1, 16, 16, 3), dtype="float32"),)
    with pytest.raises(UsageError, match=words):
        api._given(calibration, inputs)  # type: ignore[arg-type]

"""A Core ML file that a user brings along: opened from a script, and held to its model by a run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from suite.cache import Cache
from suite.record import Check, Status
from tests.meta.product import Product, no_traceback

MAKE = """
import keras, suite


def build(seed):
    keras.utils.set_random_seed(seed)
    layers = keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(5)
    return keras.Sequential([keras.Input((12, 12, 3)), *layers])


build(0).save("mine.keras")
build(1).save("other.keras")
for variant, name in (("mlprogram_float32", "mine.mlpackage"), ("neuralnetwork", "mine.mlmodel")):
    suite.convert("mine.keras", variant, output=name)
"""

OPEN = """
import json, sys
import numpy as np
import suite

x = np.load("x.npy")
said = {}
for path in ("mine.keras", "mine.mlpackage", "mine.mlmodel"):
    with suite.open_model(path) as model:
        (given,), (answered,) = model.inputs, model.outputs
        answers = model.run({given.name: x})[answered.name]
        said[path] = [list(given.shape), given.dtype, np.asarray(answers).tolist()]
assert not {"tensorflow", "keras", "coremltools"} & set(sys.modules), "all happens in other processes"
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def folder(shared_cache: Cache, product_cache: Path) -> Path:
    """A user's folder with a model in three formats, and another model."""
    return shared_cache.get_or_build("mine", {"code": MAKE}, lambda folder: _run(MAKE, folder, product_cache))


def _run(code: str, folder: Path, cache: Path) -> None:
    _output(code, folder, cache)


def _output(code: str, folder: Path, cache: Path) -> str:
    environment = Product(cache, folder).environment(TF_CPP_MIN_LOG_LEVEL="3")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_script_opens_it(folder: Path, product_cache: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).uniform(0, 1, (1, 12, 12, 3)).astype(np.float32)
    own = Path(shutil.copytree(folder, tmp_path / "mine"))
    np.save(own / "x.npy", x)
    said = json.loads(_output(OPEN, own, product_cache))
    for path in ("mine.mlpackage", "mine.mlmodel"):
        shape, dtype, answers = said[path]
        assert (shape, dtype) == ([1, 12, 12, 3], "float32")
        np.testing.assert_allclose(answers, said["mine.keras"][2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("artifact", ["mine.mlpackage", "mine.mlmodel"])
def test_a_run_holds_it_to_its_model(product: Product, folder: Path, artifact: str) -> None:
    given = (f"--artifact={folder / artifact}", "-m", "not benchmark")
    run = product.run(f"--model-file={folder / 'mine.keras'}", *given)
    assert run.status == 0, run.text
    (record,) = run.records.values()
    assert record.variant == ("neuralnetwork" if artifact.endswith("mlmodel") else "mlprogram_float32")
    assert record.artifact is not None
    assert record.artifact.origin == "given"
    assert record.checks[Check.PARITY].status is Status.PASSED
    assert record.static["weights file"].status is Status.PASSED
    wrong = product.run(f"--model-file={folder / 'other.keras'}", *given)
    assert wrong.status == 1
    (record,) = wrong.records.values()
    assert record.checks[Check.PARITY].status is Status.FAILED
    no_traceback(wrong.text)


def test_without_a_mac_iphones_are_skipped_with_the_remedy_or_fail_where_required(product: Product) -> None:
    asked = ("--models", "digits_cnn", "--variants", "mlprogram_float16", "-m", "ios and parity")
    run = product.run(*asked)
    assert run.status == 0, run.text
    assert "nothing proven: no phone is ready" in run.text
    assert "MAY NOT SHIP" not in run.text
    assert "python -m suite bundle" in run.text
    assert {record.status for record in run.records.values()} == {Status.SKIPPED}
    required = product.run(*asked, "--require-device")
    assert required.status == 1
    assert {record.status for record in required.records.values()} <= {Status.FAILED, Status.ERROR}
    no_traceback(required.text)

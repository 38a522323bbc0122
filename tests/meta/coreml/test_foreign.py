"""Files that are none of ours, or hostile: each is refused with words, wherever it is read first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite import matrix
from suite.coreml.evaluator import Evaluator
from suite.coreml.saved import open_saved, proto
from suite.errors import CaseError, Unsupported
from suite.record import Stage
from tests.meta.coreml.writing import small, small_network
from tests.meta.product import Product, no_traceback

READERS: tuple[Callable[[Path], object], ...] = (matrix.variant_of, Evaluator.open)


def foreign(folder: Path, kind: str) -> Path:
    """A model that is another thing than a program or a network."""
    spec = proto("Model_pb2").Model(specificationVersion=4)
    getattr(spec, kind).SetInParent()
    path = folder / f"{kind}.mlmodel"
    path.write_bytes(spec.SerializeToString())
    return path


def newer(folder: Path) -> Path:
    """A program with a data type that nobody knows yet."""
    package = small()
    package.block.operations[-1].outputs[0].type.tensorType.dataType = 999
    return package.save(folder / "newer.mlpackage")


def test_what_is_good_is_read(tmp_path: Path) -> None:
    assert matrix.variant_of(small().save(tmp_path / "m.mlpackage")) == "mlprogram_float32"
    network = tmp_path / "m.mlmodel"
    network.write_bytes(small_network().SerializeToString())
    assert matrix.variant_of(network) == "neuralnetwork"


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", ["pipeline", "glmClassifier", "treeEnsembleRegressor"])
def test_another_kind_of_model_is_named(tmp_path: Path, kind: str, read: Callable[[Path], object]) -> None:
    said = f"{kind}.mlmodel is a {kind}, expected an ML program or a neural network. Convert the model"
    with pytest.raises(Unsupported, match=said) as caught:
        read(foreign(tmp_path, kind))
    assert caught.value.stage is Stage.LOAD


@pytest.mark.parametrize("read", READERS)
def test_what_is_newer_than_all_that_is_known_is_refused(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    with pytest.raises(CaseError, match=r"DataType has no name.*999"):
        read(newer(tmp_path))


def test_a_run_on_such_a_file_ends_with_words(product: Product) -> None:
    run = product.run("--models=digits_cnn", f"--artifact={foreign(product.folder, 'pipeline')}")
    assert run.status == 4, run.text
    assert "pipeline.mlmodel is a pipeline, expected" in run.text
    no_traceback(run.text)


# --- packages -------------------------------------------------------------------------------------


def _named(name: str) -> Callable[[Path], None]:
    """The manifest gives the model another name."""

    def plant(package: Path) -> None:
        file = package / "Manifest.json"
        file.write_text(file.read_text().replace("model.mlmodel", name))

    return plant


def _circle(name: str) -> Callable[[Path], None]:
    """A file is a link to itself."""

    def plant(package: Path) -> None:
        file = package / "Data/com.apple.CoreML" / name
        file.unlink()
        file.symlink_to(file)

    return plant


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "deep": (
        lambda package: (package / "Manifest.json").write_text("[" * 200_000),
        r"its Manifest\.json is unclear \(RecursionError",
    ),
    "a name with a zero": (_named("\\u0000"), "null byte"),
    "a name of 300 characters": (_named("m" * 300), "File name too long"),
    "a model that is itself": (_circle("model.mlmodel"), "model.mlmodel"),
    "weights that are themselves": (_circle("weights/weight.bin"), "weight.bin"),
}


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("fault", HOSTILE)
def test_a_hostile_package_is_refused(tmp_path: Path, fault: str, read: Callable[[Path], object]) -> None:
    plant, words = HOSTILE[fault]
    path = small().save(tmp_path / "m.mlpackage")
    plant(path)
    with pytest.raises(CaseError, match=rf"^m\.mlpackage is damaged: .*{words}") as caught:
        read(path)
    assert caught.value.stage is Stage.LOAD
    assert len(str(caught.value)) < 500


def test_weights_that_cannot_be_read_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    path = small().save(tmp_path / "m.mlpackage")
    assert open_saved(path).files
    monkeypatch.setattr(np, "memmap", denied)
    with pytest.raises(CaseError, match=r"is damaged: PermissionError: .*Permission denied"):
        open_saved(path)

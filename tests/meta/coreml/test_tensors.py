"""The model that an iPhone is handed: arrays in, arrays out, and the same answers as from photo to label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suite.coreml.evaluator import Evaluator
from suite.coreml.images import planes
from suite.coreml.saved import open_saved
from suite.coreml.tensors import tensors_only
from suite.errors import Unsupported
from tests.meta.coreml.conftest import Fixture
from tests.meta.coreml.writing import small

Photo = Callable[[str], Fixture]


@pytest.mark.parametrize("variant", ["mlprogram_float32", "mlprogram_int8_weights", "neuralnetwork"])
@pytest.mark.parametrize("mode", ["tf", "caffe"])  # RGB with one bias, BGR with three
def test_the_same_is_computed(photo: Photo, mode: str, variant: str) -> None:
    path, _ = photo(mode).convert(variant)
    saved, whole = open_saved(path), Evaluator.open(path)
    spec = tensors_only(saved.spec)
    assert {one.type.WhichOneof("Type") for one in spec.description.input} == {"multiArrayType"}
    assert {one.type.WhichOneof("Type") for one in spec.description.output} == {"multiArrayType"}
    plain = Evaluator(replace(saved, spec=spec))
    pixels = np.random.default_rng(1).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    ((name, kind),) = whole.pictures.items()
    found = plain.run({name: planes(pixels, kind, name)})
    wanted = whole.run({name: pixels})
    (scores,) = found
    assert scores in wanted
    np.testing.assert_allclose(found[scores].reshape(-1), wanted[scores].reshape(-1), rtol=1e-6, atol=1e-6)
    assert saved.spec.description.input[0].type.HasField("imageType")  # the given one is as it was


def test_a_model_of_tensors_stays_as_it_is(tmp_path: Path) -> None:
    spec = open_saved(small().save(tmp_path / "m.mlpackage")).spec
    assert tensors_only(spec) == spec


def test_a_picture_of_a_free_size_is_refused(photo: Photo) -> None:
    spec = open_saved(photo("tf").convert("mlprogram_float32")[0]).spec
    spec.description.input[0].type.imageType.imageSizeRange.SetInParent()
    with pytest.raises(Unsupported, match="free size"):
        tensors_only(spec)

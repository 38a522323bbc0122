"""What a Core ML file tells an app of photos and labels, and an app that believes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from suite import contract
from suite.contract import Photos
from suite.converters.contract import Stated, Told, stated
from suite.converters.interface import interface
from suite.coreml import checks
from suite.data import digits
from suite.gates import check_contract
from suite.spec import Budget
from tests.meta.coreml.conftest import Fixture
from tests.meta.coreml.planting import Copy, Fault

Photo = Callable[[str], Fixture]


def told(model: Fixture, path: Path, variant: str) -> tuple[Stated, Told]:
    card = model.original.card
    terms = stated(model.original.spec, card)
    assert terms is not None
    return terms, checks.told(path, variant, interface(model.original.spec, card))


def findings(terms: Stated, by: Told) -> list[str]:
    files = [contract.file(image) for image in digits.load().evaluation().images[:4]]
    scores = np.eye(10)[:4]
    photos = Photos(files=files, scores=scores, answer=lambda _: scores)
    found = contract.measure(terms, by, photos, converted=True)
    return [one.message for one in check_contract(found, Budget(max_contract_gaps=0))]


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
@pytest.mark.parametrize("variant", ["mlprogram_float16", "neuralnetwork"])
def test_a_good_conversion_tells_the_truth(photo: Photo, mode: str, variant: str) -> None:
    terms, by = told(photo(mode), photo(mode).convert(variant)[0], variant)
    assert terms.image is not None
    assert by.channels == terms.image.mode.channel_order
    assert by.resize == "squash"
    assert by.labels == digits.CLASSES
    # Core ML keeps the numbers of a float16 program in float16.
    np.testing.assert_allclose(1 / np.array(by.std), terms.image.mode.scale, rtol=1e-3)
    assert findings(terms, by) == []


def _colours(copy: Copy) -> None:
    kind = copy.spec.description.input[0].type.imageType
    kind.colorSpace = kind.BGR


def _half(copy: Copy) -> None:
    copy.change(copy.argument(copy.operation("mul"), "y"), lambda values: values / 2)


@pytest.mark.parametrize("plant", [_colours, _half])
def test_a_file_that_lies_feeds_other_tensors(photo: Photo, tmp_path: Path, plant: Fault) -> None:
    variant = "mlprogram_float32"
    copy = Copy(photo("tf").convert(variant)[0], tmp_path)
    terms, by = told(photo("tf"), copy.path, variant)
    assert findings(terms, by) == []
    plant(copy)
    (message,) = findings(*told(photo("tf"), copy.save(), variant))
    assert message.startswith("difference of prepared tensors")

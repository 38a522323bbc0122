"""ConvNeXt's parts from end to end: XLA's grouped convolution and exact GELU, converted, saved, executed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from suite.coreml.saved import open_saved
from tests.meta.coreml.conftest import CONVNEXT, Fixture
from tests.meta.coreml.test_planted import Proof


@pytest.mark.parametrize("variant", ["mlprogram_float32", "mlprogram_float16", "neuralnetwork"])
def test_it_answers_as_keras_does(fixture_model: Callable[[str, str], Fixture], variant: str) -> None:
    model = fixture_model("convnext_like", CONVNEXT)
    path, _ = model.convert(variant)
    saved = open_saved(path)
    kinds = (
        [one.type for one in saved.operations()]
        if saved.program
        else [layer.WhichOneof("layer") for layer in saved.layers()]
    )
    assert "gelu" in kinds
    assert Proof(model).findings(path, variant) == []

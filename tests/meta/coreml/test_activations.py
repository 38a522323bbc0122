"""Activations that float16 cannot hold: found on the samples at hand, whatever the weights are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from suite import checks
from suite.cache import Cache
from suite.converters.interface import interface
from suite.coreml.checks import ACTIVATIONS
from suite.coreml.checks import check as check_all
from suite.coreml.evaluator import Evaluator
from suite.discovery import load_fixture
from suite.lab import Lab
from suite.matrix import Case
from suite.record import StaticCheck, Status
from suite.spec import VARIANTS, Array, Target
from suite.thresholds import Thresholds
from tests.meta.coreml.conftest import Fixture
from tests.meta.coreml.planting import Copy
from tests.meta.coreml.writing import small

Photo = Callable[[str], Fixture]


def examine(model: Fixture, path: Path, variant: str) -> dict[str, StaticCheck]:
    wanted = interface(model.original.spec, model.original.card)
    return check_all(path, variant, wanted, True, model.feeds.one())


@pytest.mark.parametrize("variant", ["mlprogram_float16", "mlprogram_int8_weights", "neuralnetwork"])
def test_good_activations_pass_and_say_how_far_they_reach(photo: Photo, variant: str) -> None:
    found = examine(photo("caffe"), photo("caffe").convert(variant)[0], variant)[ACTIVATIONS]
    assert found.status is Status.PASSED
    assert "of 65504 on 1 samples, in " in found.message


def test_float32_has_room(photo: Photo) -> None:
    path, _ = photo("tf").convert("mlprogram_float32")
    found = examine(photo("tf"), path, "mlprogram_float32")[ACTIVATIONS]
    assert (found.status, found.message) == (Status.PASSED, "computed in float32")


@pytest.mark.parametrize("variant", ["mlprogram_float16", "neuralnetwork"])
def test_an_overflow_is_found_though_every_weight_fits(photo: Photo, tmp_path: Path, variant: str) -> None:
    copy = Copy(photo("tf").convert(variant)[0], tmp_path)
    if variant == "neuralnetwork":
        weights = copy.layer("convolution", 1).convolution.weights.floatValue
        weights[:] = [value * 3e4 for value in weights]
    else:
        copy.change(copy.argument(copy.operation("conv", 1), "weight"), lambda values: values * 3e4)
    found = examine(photo("tf"), copy.save(), variant)
    assert found["float16 range"].status is Status.PASSED
    assert found[ACTIVATIONS].status is Status.FAILED
    assert found[ACTIVATIONS].message.startswith("conv")
    assert "on sample 1: float16 ends at 65504" in found[ACTIVATIONS].message


def test_the_record_of_a_run_holds_it(photo: Photo, shared_cache: Cache) -> None:
    spec = load_fixture(photo("tf").original.ref.path)
    case = Case(spec, VARIANTS["mlprogram_float16"], Target("host", "coreml-evaluator"))
    lab = Lab(shared_cache, Thresholds())
    try:
        found = checks.static(lab, case, lab.artifact(case)[0])
    finally:
        lab.close()
    assert found[ACTIVATIONS].status is Status.PASSED
    assert "on 4 samples" in found[ACTIVATIONS].message


def test_magnitudes_are_those_before_rounding(tmp_path: Path) -> None:
    feed: dict[str, Array] = {"x": np.full((1, 3, 6, 6), 6e4, np.float32)}
    model = Evaluator.open(small("float16").save(tmp_path / "half.mlpackage"))
    assert model.halves == {"c", "r", "m", "y"}
    found = model.largest(feed)
    assert found.keys() == model.halves
    assert 65520 < found["r"] <= found["c"] < np.inf
    assert not np.isfinite(model.intermediates(feed)["c"]).all()
    assert Evaluator.open(small().save(tmp_path / "full.mlpackage")).largest(feed) == {}

"""Faults of compressed weights, as `prove` plants them: each does what it says, and the gate catches it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite import gates
from suite.cache import sha256_tree
from suite.coreml.program import Program
from suite.coreml.saved import open_saved
from suite.faults import FAULTS, Inapplicable
from tests.meta.coreml.conftest import CONVNEXT, Fixture
from tests.meta.coreml.test_checks import examine, failing
from tests.meta.coreml.writing import Package as Writing

INT8, PALETTE = "mlprogram_int8_weights", "mlprogram_palettized_6bit"
PLANTED = {one.name: one for one in FAULTS if one.family == "quantisation" and one.plant is not None}
# Fault -> the variant that it is of.
OF = {
    "zero_point_off_by_one": INT8,
    "per_tensor_weights": INT8,
    "weight_scale_wrong": INT8,
    "palette_entry_wrong": PALETTE,
    "palette_of_another_layer": PALETTE,
}
IN_ALL = ("zero_point_off_by_one", "per_tensor_weights")  # weights that are compressed; others are in one
ROUNDING = 2.0**-10  # of the largest weight: two that are rounded to float16


@pytest.fixture(scope="module")
def net(fixture_model: Callable[[str, str], Fixture]) -> Fixture:
    """Two convolutions and two products are compressed."""
    return fixture_model("convnext_like", CONVNEXT)


def _plant(fault: str, good: Path, folder: Path) -> Path:
    plant = PLANTED[fault].plant
    assert plant is not None
    copy = folder / good.name
    shutil.copytree(good, copy)
    plant(copy)
    return copy


def _unpacked(path: Path) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Each compressed weight, and what it was unpacked from."""
    program = Program(open_saved(path))
    return {name: (program.constants[name], step.constants) for name, step in program.packed.items()}


def test_these_are_all() -> None:
    assert PLANTED.keys() == OF.keys()


def _catches(model: Fixture, fault: str, weights: int, folder: Path, target: str = "") -> None:
    good, _ = model.convert(OF[fault], deployment_target=target)
    assert failing(examine(model, good, OF[fault], target, held=True)) == {}
    copy = _plant(fault, good, folder)
    before, after = _unpacked(good), _unpacked(copy)
    changed = sum(not np.array_equal(before[name][0], after[name][0]) for name in before)
    assert (len(before), changed) == (weights, weights if fault in IN_ALL else 1)
    found = examine(model, copy, OF[fault], target, held=True)
    assert failing(found).keys() == {"compressed weights"}
    assert gates.check_static(found, OF[fault])


@pytest.mark.parametrize("fault", OF)
def test_the_gate_catches_it(net: Fixture, tmp_path: Path, fault: str) -> None:
    _catches(net, fault, 4, tmp_path)


@pytest.mark.parametrize("fault", [one for one in OF if one != "palette_of_another_layer"])
def test_the_gate_catches_it_in_the_operations_of_ios18(
    photo: Callable[[str], Fixture], tmp_path: Path, fault: str
) -> None:
    _catches(photo("tf"), fault, 1, tmp_path, "iOS18")  # one of its weights is compressed


@pytest.mark.parametrize("fault", OF)
def test_a_package_without_such_weights_cannot_have_it(net: Fixture, tmp_path: Path, fault: str) -> None:
    for other in {"mlprogram_float16", INT8, PALETTE} - {OF[fault]}:
        good, _ = net.convert(other)
        with pytest.raises(Inapplicable, match="the file has no"):
            _plant(fault, good, tmp_path / other)
        assert sha256_tree(tmp_path / other / good.name) == sha256_tree(good)


# --- what becomes of the numbers ----------------------------------------------------------------


def test_a_zero_point_shifts_all_weights_by_a_step(net: Fixture, tmp_path: Path) -> None:
    good, _ = net.convert(INT8)
    after = _unpacked(_plant("zero_point_off_by_one", good, tmp_path))
    for name, (weights, held) in _unpacked(good).items():
        shift = np.moveaxis(weights - after[name][0], int(held["axis"]), -1)
        steps = np.broadcast_to(held["scale"], shift.shape)
        np.testing.assert_allclose(shift, steps, rtol=0, atol=ROUNDING * np.abs(weights).max())


def test_weights_of_one_scale_are_as_near_as_it_allows(net: Fixture, tmp_path: Path) -> None:
    good, _ = net.convert(INT8)
    after = _unpacked(_plant("per_tensor_weights", good, tmp_path))
    for name, (weights, held) in _unpacked(good).items():
        spoilt, parts = after[name]
        assert set(parts["scale"].tolist()) == {held["scale"].max()}
        off, rounding = np.abs(weights - spoilt).max(), ROUNDING * np.abs(weights).max()
        assert held["scale"].max() / 3 < off < held["scale"].max() / 2 + rounding


def test_a_scale_that_is_wrong_doubles_one_channel(net: Fixture, tmp_path: Path) -> None:
    good, _ = net.convert(INT8)
    after = _unpacked(_plant("weight_scale_wrong", good, tmp_path))
    changed = []
    for name, (weights, held) in _unpacked(good).items():
        both = (np.moveaxis(one, int(held["axis"]), 0) for one in (weights, after[name][0]))
        changed += [pair for pair in zip(*both, strict=True) if not np.array_equal(*pair)]
    [(channel, spoilt)] = changed
    np.testing.assert_allclose(spoilt, 2 * channel, rtol=ROUNDING)


def test_an_entry_that_is_wrong_changes_the_weights_that_use_it(net: Fixture, tmp_path: Path) -> None:
    good, _ = net.convert(PALETTE)
    after = _unpacked(_plant("palette_entry_wrong", good, tmp_path))
    (name,) = [
        one for one, (weights, _) in _unpacked(good).items() if not np.array_equal(weights, after[one][0])
    ]
    weights, spoilt = _unpacked(good)[name][0], after[name][0]
    entries, uses = np.unique(weights, return_counts=True)
    moved = weights != spoilt
    (before,), (now,) = np.unique(weights[moved]), np.unique(spoilt[moved])
    assert moved.sum() == uses.max()
    assert abs(now - before) == np.sort(np.abs(entries - before))[1]


# --- as no conversion of the net above has it ---------------------------------------------------


def test_weights_that_two_layers_share_stay_shared(tmp_path: Path) -> None:
    """And one scale for all of them, written in the program, is no scale for each channel."""
    package = Writing()
    package.input("x", (1, 2, 5, 5))
    weight = package.op("constexpr_affine_dequantize", "weight", (2, 2, 1, 1))
    held = {"quantized_data": np.int8([[1, -2], [3, 127]]).reshape(2, 2, 1, 1), "zero_point": np.int8(5)}
    for name, value in {**held, "scale": np.float32(0.5), "axis": np.int32(0)}.items():
        package.const(name, value)
        weight.attributes[name].CopyFrom(package.block.operations[-1].attributes["val"])
        del package.block.operations[-1]
    package.op("conv", "c", (1, 2, 5, 5), x="x", weight="weight")
    package.op("conv", "d", (1, 2, 5, 5), x="c", weight="weight")
    package.answer("d")
    good = package.save(tmp_path / "m.mlpackage")
    (after,) = _unpacked(_plant("zero_point_off_by_one", good, tmp_path / "spoilt")).values()
    assert after[0].reshape(-1).tolist() == [-2.5, -4.0, -1.5, 60.5]
    with pytest.raises(Inapplicable, match="a scale for each channel"):
        _plant("per_tensor_weights", good, tmp_path / "refused")

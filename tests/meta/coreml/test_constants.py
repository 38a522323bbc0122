"""Every number held to the float32 conversion: good conversions hold, and each planted fault is named."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.converters.interface import interface
from suite.coreml import checks
from suite.coreml.ops.constexpr import unpack
from suite.coreml.program import Program
from suite.coreml.saved import open_saved
from suite.record import Stage, Status
from suite.runtimes import Pool
from tests.meta.coreml.conftest import CONVNEXT, Fixture
from tests.meta.coreml.planting import Copy, Fault
from tests.meta.coreml.test_checks import examine, failing
from tests.meta.coreml.test_compressed import COMPRESSED
from tests.meta.coreml.writing import small

Photo = Callable[[str], Fixture]
COMPRESSED_VARIANTS = ("mlprogram_int8_weights", "mlprogram_palettized_6bit")
PROGRAMS = ("mlprogram_float32", "mlprogram_float16", *COMPRESSED_VARIANTS)
NAMES = {"graph", "constants", "compressed weights"}


@pytest.mark.parametrize("variant", PROGRAMS)
@pytest.mark.parametrize("net", ["photo", "convnext"])
def test_a_good_conversion_holds(
    photo: Photo, fixture_model: Callable[[str, str], Fixture], net: str, variant: str
) -> None:
    model = photo("tf") if net == "photo" else fixture_model("convnext_like", CONVNEXT)
    found = examine(model, model.convert(variant)[0], variant, held=True)
    assert failing(found) == {}
    compressed = variant in COMPRESSED_VARIANTS
    assert found.keys() & NAMES == (NAMES if compressed else NAMES - {"compressed weights"})
    assert all(int(found[name].message.split()[0]) > 0 for name in found.keys() & NAMES)


def test_a_newer_system_says_the_same_in_other_words(photo: Photo) -> None:
    """Its operators have more arguments, and its compressed weights other operators."""
    model = photo("tf")
    for variant in PROGRAMS:
        path, _ = model.convert(variant, deployment_target="iOS18")
        found = examine(model, path, variant, "iOS18", held=True)
        assert failing(found) == {}
    kinds = {one.type for one in open_saved(path).operations()}
    assert "constexpr_lut_to_dense" in kinds


def test_a_network_of_layers_has_none_of_these(photo: Photo) -> None:
    path, _ = photo("tf").convert("neuralnetwork")
    assert not examine(photo("tf"), path, "neuralnetwork", held=True).keys() & NAMES


# --- planted ----------------------------------------------------------------------------------


def _pad(copy: Copy) -> None:
    copy.set_text(copy.argument(copy.operation("conv", 1), "pad_type"), "same_lower")


def _relu6(copy: Copy) -> None:
    copy.operation("relu6").type = "relu"


def _unwired(copy: Copy) -> None:
    """The second activation is left out."""
    relu = copy.operation("relu")
    relu.inputs["x"].arguments[0].name = copy.operation("relu6").outputs[0].name


def _bias(copy: Copy) -> None:
    def alter(values: np.ndarray) -> np.ndarray:
        values[np.abs(values).argmin()] += np.abs(values).max() / 50
        return values

    copy.change(copy.argument(copy.operation("conv"), "bias"), alter)


def _scale(copy: Copy) -> None:
    copy.change(copy.argument(copy.operation("mul"), "y"), lambda values: values * 1.01)


def _packed(copy: Copy) -> Any:
    return next(one for one in copy.operations if one.type.startswith("constexpr_"))


def _transposed(copy: Copy) -> None:
    one = _packed(copy)
    if one.type == "constexpr_affine_dequantize":
        copy.change(one.attributes["quantized_data"], lambda values: values.swapaxes(2, 3))
        return
    shape = open_saved(copy.path).array(one.attributes["shape"]).tolist()

    def alter(values: np.ndarray) -> np.ndarray:
        places = unpack(values.reshape(-1), 6, math.prod(shape)).reshape(shape).swapaxes(2, 3)
        bits = np.unpackbits(places.reshape(-1, 1), axis=1, count=6, bitorder="little")
        return np.packbits(bits, bitorder="little")

    copy.change(one.attributes["indices"], alter)


def _step(copy: Copy) -> None:
    """A scale of int8, or an entry of a palette, is off by a twentieth."""
    one = _packed(copy)

    def alter(values: np.ndarray) -> np.ndarray:
        values.reshape(-1)[np.abs(values).argmax()] *= values.dtype.type(1.05)
        return values

    copy.change(one.attributes["lut" if "lut" in one.attributes else "scale"], alter)


PLANTED: dict[str, tuple[Fault, str]] = {
    "same padding on the other side": (_pad, "graph"),
    "relu6 becomes relu": (_relu6, "graph"),
    "an activation left out": (_unwired, "graph"),
    "one bias a little off": (_bias, "constants"),
    "a scale of pictures a little off": (_scale, "constants"),
    "weights transposed": (_transposed, "compressed weights"),
    "a step a little off": (_step, "compressed weights"),
}


@pytest.mark.parametrize("variant", PROGRAMS)
@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_named(photo: Photo, tmp_path: Path, variant: str, fault: str) -> None:
    plant, name = PLANTED[fault]
    if name == "compressed weights" and variant not in COMPRESSED_VARIANTS:
        return  # it has none
    copy = Copy(photo("tf").convert(variant)[0], tmp_path)
    plant(copy)
    found = examine(photo("tf"), copy.save(), variant, held=True)
    assert found[name].status is Status.FAILED, found
    assert any(word in found[name].message for word in ("expected", "differ", "nearest", "another layer"))


def test_a_weight_that_was_left_uncompressed_is_held_all_the_same(photo: Photo) -> None:
    """A float16 file under the name of a compressed variant: its numbers are right, nothing is compressed."""
    path, _ = photo("tf").convert("mlprogram_float16")
    found = examine(photo("tf"), path, "mlprogram_int8_weights", held=True)
    assert not failing(found).keys() & NAMES
    assert "compression" in failing(found)


# --- bits at random places ----------------------------------------------------------------------

FLIPS = 40


def _flipped(path: Path, seed: int) -> None:
    """One bit of one stored number, wherever it is; not of the headers between, which another check reads."""
    random = np.random.default_rng(seed)
    saved, stored = open_saved(path), path / "Data/com.apple.CoreML/weights/weight.bin"
    offsets = sorted(
        {
            value.blobFileValue.offset
            for one in saved.operations()
            for value in one.attributes.values()
            if value.WhichOneof("value") == "blobFileValue"
        }
    )
    data = bytearray(stored.read_bytes())
    spans = [struct.unpack_from("<QQ", data, offset + 8) for offset in offsets]
    bits = np.array([8 * size for size, _ in spans])
    chosen = int(random.integers(bits.sum()))
    number = int(np.searchsorted(np.cumsum(bits), chosen, side="right"))
    bit = chosen - int(np.cumsum(bits)[number] - bits[number])
    data[spans[number][1] + bit // 8] ^= 1 << bit % 8
    stored.write_bytes(data)


def _weights(path: Path) -> list[np.ndarray]:
    """All numbers, as they are unpacked."""
    constants = Program(open_saved(path)).constants.values()
    return [one for one in constants if isinstance(one, np.ndarray) and one.dtype == np.float32 and one.ndim]


@pytest.mark.parametrize("variant", PROGRAMS)
def test_a_bit_that_is_flipped_anywhere_is_found(photo: Photo, tmp_path: Path, variant: str) -> None:
    """In compressed weights some are as close afterwards as they were before: nothing can find these."""
    good, _ = photo("tf").convert(variant)
    unnoticed = []
    for seed in range(FLIPS):
        copy = Copy(good, tmp_path / str(seed))
        _flipped(copy.path, seed)
        if not failing(examine(photo("tf"), copy.path, variant, held=True)):
            pairs = zip(_weights(good), _weights(copy.path), strict=True)
            unnoticed.append(max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs))
    if variant in COMPRESSED_VARIANTS:
        assert len(unnoticed) <= FLIPS // 8, unnoticed
        assert all(change < 1 / 50 for change in unnoticed), unnoticed  # of the largest weight
    else:
        assert unnoticed == []


# --- files that were made elsewhere -------------------------------------------------------------


def _given(model: Fixture, path: Path, variant: str) -> dict[str, Status]:
    wanted = interface(model.original.spec, model.original.card, "")
    reference, _ = model.convert("mlprogram_float32")
    found = checks.check(path, variant, wanted, False, reference=reference)
    return {name: one.status for name, one in found.items() if name in NAMES}


WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "uint8, shifted": ("linear", {"mode": "linear", "dtype": "uint8"}),
    "int8 by tensor": ("linear", {"mode": "linear_symmetric", "dtype": "int8", "granularity": "per_tensor"}),
    "a uniform palette": ("palette", {"mode": "uniform", "nbits": 8}),
    "half of them zero": ("prune", {"target_sparsity": 0.5}),
}


@pytest.mark.parametrize("way", WAYS)
def test_another_choice_of_steps_is_no_fault(
    photo: Photo, tensorflow: Pool, tmp_path: Path, way: str
) -> None:
    how, options = WAYS[way]
    target = "iOS18" if "granularity" in options else "iOS16"
    path, _ = photo("tf").convert("mlprogram_float16", deployment_target=target)
    packed = tmp_path / "packed.mlpackage"
    tensorflow.worker("operators").call(COMPRESSED, path, packed, how, options, stage=Stage.RUN, timeout=300)
    variant = "mlprogram_palettized_6bit" if how == "palette" else "mlprogram_int8_weights"
    found = _given(photo("tf"), packed, variant)
    assert found.pop("compressed weights") is (Status.SKIPPED if how == "prune" else Status.PASSED)
    assert set(found.values()) == {Status.PASSED}


def test_a_fault_in_a_file_made_elsewhere_is_a_fault(photo: Photo, tmp_path: Path) -> None:
    for variant in COMPRESSED_VARIANTS:
        copy = Copy(photo("tf").convert(variant)[0], tmp_path / variant)
        _bias(copy)
        assert _given(photo("tf"), copy.save(), variant)["constants"] is Status.FAILED


def test_another_graph_is_not_applicable_in_a_file_made_elsewhere(photo: Photo, tmp_path: Path) -> None:
    path = small().save(tmp_path / "m.mlpackage")
    assert _given(photo("tf"), path, "mlprogram_float32") == {"graph": Status.SKIPPED}

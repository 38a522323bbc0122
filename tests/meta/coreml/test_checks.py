"""Static checks: silent on what was converted well, and each of them proven on a planted fault."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.converters.interface import interface
from suite.coreml import checks
from suite.record import StaticCheck, Status
from suite.spec import COREML
from tests.meta.coreml.conftest import CONVNEXT, Fixture
from tests.meta.coreml.planting import Copy, Fault

Photo = Callable[[str], Fixture]


def examine(
    model: Fixture, path: Path, variant: str, target: str = "", *, held: bool = False, converted: bool = True
) -> dict[str, StaticCheck]:
    """All checks of the file by itself; and `held` to the float32 conversion of the same model."""
    wanted = interface(model.original.spec, model.original.card, target)
    reference = model.convert("mlprogram_float32")[0] if held else None
    return checks.check(path, variant, wanted, converted, reference=reference)


def failing(found: dict[str, StaticCheck]) -> dict[str, str]:
    return {name: one.message for name, one in found.items() if one.status is not Status.PASSED}


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
@pytest.mark.parametrize("variant", COREML)
def test_a_good_conversion_passes_all(photo: Photo, mode: str, variant: str) -> None:
    path, _ = photo(mode).convert(variant)
    found = examine(photo(mode), path, variant)
    assert failing(found) == {}
    assert found.keys() == {"package", *checks.CHECKS}
    assert all(one.message for one in found.values())


@pytest.mark.parametrize("variant", ["mlprogram_float16", "neuralnetwork"])
def test_a_good_convnext_passes_all(fixture_model: Callable[[str, str], Fixture], variant: str) -> None:
    model = fixture_model("convnext_like", CONVNEXT)
    assert failing(examine(model, model.convert(variant)[0], variant)) == {}


def scale(factor: float) -> Fault:
    return lambda copy: copy.change(copy.argument(copy.operation("mul"), "y"), lambda values: values * factor)


def _shift(copy: Copy) -> None:
    copy.change(copy.argument(copy.operation("add"), "y"), lambda values: values * [[[[1]], [[0.9]], [[1]]]])


def _colours(copy: Copy) -> None:
    kind = copy.spec.description.input[0].type.imageType
    kind.colorSpace = kind.BGR


def _scaler(name: str, value: float) -> Fault:
    def plant(copy: Copy) -> None:
        (one,) = copy.spec.neuralNetworkClassifier.preprocessing
        setattr(one.scaler, name, value)

    return plant


def _relabel(order: list[int]) -> Fault:
    def plant(copy: Copy) -> None:
        if copy.path.is_file():
            names = copy.spec.neuralNetworkClassifier.stringClassLabels.vector
            names[:] = [names[i] for i in order]
            return
        values = copy.operation("classify").inputs["classes"].arguments[0].value.immediateValue.list.values
        texts = [one.immediateValue.tensor.strings.values[0] for one in values]
        del values[len(order) :]
        for value, i in zip(values, order, strict=True):
            value.immediateValue.tensor.strings.values[:] = [texts[i]]

    return plant


def _rename_input(copy: Copy) -> None:
    copy.spec.description.input[0].name = "input_7"


def _resize(copy: Copy) -> None:
    copy.spec.description.input[0].type.imageType.width = 20


def _other_program_input(copy: Copy) -> None:
    sizes = copy.spec.mlProgram.functions["main"].inputs[0].type.tensorType.dimensions
    sizes[3].constant.size = 26


def _drop_output(copy: Copy) -> None:
    del copy.spec.description.output[1]


def _rename_output(copy: Copy) -> None:
    outputs = {one.name: one for one in copy.spec.description.output}
    outputs["classLabel_probs"].name = "Identity"
    copy.spec.description.predictedProbabilitiesName = "Identity"


def flexible(least: int) -> Fault:
    def plant(copy: Copy) -> None:
        sizes = copy.spec.description.input[0].type.imageType.imageSizeRange
        sizes.heightRange.lowerBound, sizes.heightRange.upperBound = least, 40
        sizes.widthRange.lowerBound, sizes.widthRange.upperBound = 24, -1

    return plant


def _version(version: int) -> Fault:
    def plant(copy: Copy) -> None:
        copy.spec.specificationVersion = version

    return plant


def _truncate(copy: Copy) -> None:
    copy.weights_file.write_bytes(copy.weights_file.read_bytes()[:-4000])


def _overwrite(copy: Copy) -> None:
    content = bytearray(copy.weights_file.read_bytes())
    content[64:80] = bytes(16)
    copy.weights_file.write_bytes(content)


def _other_type(copy: Copy) -> None:
    content = bytearray(copy.weights_file.read_bytes())
    content[68] = 1  # float16
    copy.weights_file.write_bytes(content)


def _far_offset(copy: Copy) -> None:
    copy.argument(copy.operation("conv"), "weight").blobFileValue.offset = 1 << 40


def _other_file(copy: Copy) -> None:
    copy.argument(copy.operation("conv"), "weight").blobFileValue.fileName = "/etc/passwd"


def _fewer_weights(copy: Copy) -> None:
    weights = copy.layer("convolution").convolution.weights.floatValue
    weights[:] = weights[:-3]


def _junk(copy: Copy) -> None:
    with copy.weights_file.open("ab") as file:
        file.write(bytes(100_000))


def _infinite(copy: Copy) -> None:
    def alter(values: np.ndarray) -> np.ndarray:
        values.reshape(-1)[5] = np.inf
        return values

    copy.change(copy.argument(copy.operation("conv", 1), "weight"), alter)


def _huge(copy: Copy) -> None:
    copy.layer("convolution").convolution.weights.floatValue[3] = 70_000


FAULTS: dict[str, tuple[str, Fault, str, str]] = {
    "truncated": ("mlprogram_float32", _truncate, "weights file", "the file is truncated|is not within"),
    "header overwritten": ("mlprogram_float32", _overwrite, "weights file", "its header was overwritten"),
    "stored as another type": (
        "mlprogram_float32",
        _other_type,
        "weights file",
        "is float16, .* says float32",
    ),
    "offset outside": ("mlprogram_float16", _far_offset, "weights file", "1099511627776 is not within"),
    "another file": ("mlprogram_float16", _other_file, "weights file", "'/etc/passwd', which is not there"),
    "too few weights": ("neuralnetwork", _fewer_weights, "weights file", "has 429 values .* say 432"),
    "version too old": ("mlprogram_int8_weights", _version(6), "specification version", "came with"),
    "version unknown": ("mlprogram_float32", _version(99), "specification version", "newer than any"),
    "input renamed": ("neuralnetwork", _rename_input, "inputs", "called input_7, expected image"),
    "photo of another size": ("neuralnetwork", _resize, "inputs", "photos of 20 x 20, the model 24 x 20"),
    "program of another size": ("mlprogram_float32", _other_program_input, "inputs", "1 x 3 x 20 x 26"),
    "output dropped": (
        "mlprogram_float32",
        _drop_output,
        "outputs",
        "promises classLabel_probs, which is not",
    ),
    "output renamed": ("neuralnetwork", _rename_output, "outputs", "classLabel and Identity, expected"),
    "output not made": ("mlprogram_float32", _rename_output, "outputs", "promises Identity, the program"),
    "flexible": ("mlprogram_float16", flexible(20), "batch", r"of no fixed size \(20..40 x 24..\)"),
    "colours": ("mlprogram_float32", _colours, "image", "taken as BGR, the model was trained on RGB"),
    "scale": ("mlprogram_float32", scale(2), "image", r"scaled by \(0.01569, .* expected \(0.007843"),
    "scale in float16": ("mlprogram_float16", scale(0.98), "image", "scaled by"),
    "bias": ("mlprogram_float32", _shift, "image", r"shifted by \(-1, -0.9, -1\)"),
    "network's scale": ("neuralnetwork", _scaler("channelScale", 1 / 255), "image", r"scaled by \(0.003922"),
    "network's bias": ("neuralnetwork", _scaler("blueBias", 0), "image", r"shifted by \(-1, -1, 0\)"),
    "labels off by one": ("mlprogram_float32", _relabel([9, *range(9)]), "labels", "label 0 is 'nine'"),
    "labels swapped": ("neuralnetwork", _relabel([0, 2, 1, *range(3, 10)]), "labels", "label 1 is 'two'"),
    "label twice": (
        "mlprogram_float16",
        _relabel([0, 0, *range(2, 10)]),
        "labels",
        "'?zero'? stand for several",
    ),
    "label missing": (
        "mlprogram_float32",
        _relabel(list(range(9))),
        "labels",
        "found 9 labels for 10 scores",
    ),
    "junk": ("mlprogram_int8_weights", _junk, "size", "the rest is downloaded for nothing"),
    "infinite": ("mlprogram_float16", _infinite, "float16 range", "1 values that are infinite"),
    "beyond float16": ("neuralnetwork", _huge, "float16 range", "reach 70000"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails_its_check(photo: Photo, tmp_path: Path, fault: str) -> None:
    variant, plant, name, words = FAULTS[fault]
    copy = Copy(photo("tf").convert(variant)[0], tmp_path)
    plant(copy)
    found = failing(examine(photo("tf"), copy.save(), variant))
    assert name in found, found
    assert re.search(words, found[name]), found[name]


def test_a_given_photo_may_be_of_several_sizes(photo: Photo, tmp_path: Path) -> None:
    good = photo("tf").convert("mlprogram_float16")[0]
    for least, wrong in ((20, set()), (21, {"inputs"})):  # the model's photos are 20 high
        copy = Copy(good, tmp_path / str(least))
        flexible(least)(copy)
        found = examine(photo("tf"), copy.save(), "mlprogram_float16", converted=False)
        assert failing(found).keys() == wrong
        assert f"the input image may be {least}..40 x 24.." in found["batch"].message


def test_a_scale_by_channel_that_is_off_in_one_channel_is_found(photo: Photo, tmp_path: Path) -> None:
    copy = Copy(photo("torch").convert("mlprogram_float32")[0], tmp_path)
    factors = copy.argument(copy.operation("mul", 1), "y")
    copy.change(factors, lambda values: values * np.array([1, 1, 1.01]).reshape(values.shape))
    assert failing(examine(photo("torch"), copy.save(), "mlprogram_float32")).keys() == {"image"}


# --- what a variant's name promises -----------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "named", "failed"),
    [
        ("mlprogram_float16", "mlprogram_int8_weights", {"compression"}),
        ("mlprogram_int8_weights", "mlprogram_float16", {"compression", "specification version"}),
        ("mlprogram_float32", "mlprogram_float16", {"precision"}),
        ("mlprogram_float16", "mlprogram_float32", {"precision"}),
    ],
)
def test_a_variant_under_another_name_is_found(
    photo: Photo, variant: str, named: str, failed: set[str]
) -> None:
    assert failing(examine(photo("tf"), photo("tf").convert(variant)[0], named)).keys() == failed


def test_compression_that_raised_the_version_silently_is_found(photo: Photo) -> None:
    """coremltools compresses a model for iOS15 without a word, and the file then needs iOS16."""
    path, facts = photo("tf").convert("mlprogram_int8_weights", deployment_target="iOS15")
    assert facts.minimum_runtime == "iOS16"
    found = failing(examine(photo("tf"), path, "mlprogram_int8_weights", "iOS15"))
    assert found.keys() == {"specification version"}
    assert "needs iOS16, the app is to run on iOS15" in found["specification version"]


def test_an_open_batch_is_found(photo: Photo, two_headed: Fixture, tmp_path: Path) -> None:
    from suite.converters import artifact as artifacts
    from suite.spec import VARIANTS

    path, _ = artifacts.artifact(
        two_headed.original, VARIANTS["mlprogram_float32"], two_headed.feeds, two_headed.cache
    )
    assert failing(examine(two_headed, path, "mlprogram_float32")) == {}
    copy = Copy(path, tmp_path)
    array = copy.spec.description.input[0].type.multiArrayType
    for place, size in enumerate(array.shape):
        one = array.shapeRange.sizeRanges.add()
        one.lowerBound, one.upperBound = size, 2 if place == 0 else size
    found = failing(examine(two_headed, copy.save(), "mlprogram_float32"))
    assert re.search(r"no fixed size \(1\.\.2 x", found["batch"])


def test_an_epsilon_that_float16_rounds_away_is_found(
    fixture_model: Callable[[str, str], Fixture], tmp_path: Path
) -> None:
    model = fixture_model("convnext_like", CONVNEXT)
    copy = Copy(model.convert("mlprogram_float16")[0], tmp_path)
    guard = next(
        one
        for one in copy.operations
        if one.type == "add"
        and any(
            other.inputs["x"].arguments[0].name == one.outputs[0].name
            for other in copy.operations
            if other.type == "rsqrt"
        )
    )
    copy.change(copy.argument(guard, "y"), lambda values: values * 0)
    # coremltools itself lifts the operator's own epsilon to float16's smallest number.
    assert failing(examine(model, copy.save(), "mlprogram_float16")) == {}
    copy.change(copy.argument(copy.operation("rsqrt"), "epsilon"), lambda values: values * 0)
    found = failing(examine(model, copy.save(), "mlprogram_float16"))
    assert found.keys() == {"float16 range"}
    assert "nothing keeps rsqrt" in found["float16 range"]


# --- packages that are none -----------------------------------------------------------------------


def _manifest(alter: Callable[[dict[str, object]], None]) -> Callable[[Path], None]:
    def plant(package: Path) -> None:
        file = package / "Manifest.json"
        content = json.loads(file.read_text())
        alter(content)
        file.write_text(json.dumps(content))

    return plant


def _point_at(path: str) -> Callable[[Path], None]:
    def alter(content: dict[str, object]) -> None:
        content["itemInfoEntries"][content["rootModelIdentifier"]]["path"] = path  # type: ignore[index]

    return _manifest(alter)


def _linked(name: str) -> Callable[[Path], None]:
    """The weights, or the folder that they are in, are a link to elsewhere; the manifest does not name it."""

    def plant(package: Path) -> None:
        inside, outside = package / "Data/com.apple.CoreML" / name, package.parent / "elsewhere"
        inside.rename(outside)
        inside.symlink_to(outside)
        _manifest(lambda content: content.update(itemInfoEntries=_root_alone(content)))(package)

    return plant


def _root_alone(content: dict[str, Any]) -> dict[str, Any]:
    root = content["rootModelIdentifier"]
    return {root: content["itemInfoEntries"][root]}


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "no manifest": (lambda path: (path / "Manifest.json").unlink(), "Manifest.json is unclear"),
    "no JSON": (lambda path: (path / "Manifest.json").write_text("{"), "Manifest.json is unclear"),
    "a list": (lambda path: (path / "Manifest.json").write_text("[]"), "Manifest.json is unclear"),
    "out of the package": (_point_at("../../../../etc/passwd"), "points out of the package"),
    "absolute": (_point_at("/etc/passwd"), "points out of the package"),
    "weights elsewhere": (_linked("weights"), "its weights lie outside of it"),
    "a weights file elsewhere": (_linked("weights/weight.bin"), "its weights lie outside of it"),
    "not there": (_point_at("com.apple.CoreML/other.mlmodel"), "which is not there"),
    "no root": (_manifest(lambda content: content.pop("rootModelIdentifier")), "is unclear"),
    "no model": (
        lambda path: (path / "Data/com.apple.CoreML/model.mlmodel").write_bytes(b"<html>" * 20),
        "no Core ML model|no model that",
    ),
    "empty": (
        lambda path: (path / "Data/com.apple.CoreML/model.mlmodel").write_bytes(b""),
        "holds no model that coremltools knows",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_package_that_cannot_be_opened_fails_as_that_alone(
    photo: Photo, tmp_path: Path, fault: str
) -> None:
    plant, words = BAD[fault]
    copy = Copy(photo("tf").convert("mlprogram_float32")[0], tmp_path)
    plant(copy.path)
    found = failing(examine(photo("tf"), copy.path, "mlprogram_float32"))
    assert found.keys() == {"package"}
    assert re.search(words, found["package"])

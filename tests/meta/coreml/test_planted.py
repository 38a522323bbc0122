"""Faults that really happened, planted into a converted model: static checks or parity find each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from suite import gates, parity
from suite.cache import sha256_tree
from suite.coreml.evaluator import Evaluator
from suite.coreml.saved import open_saved
from suite.errors import StagedError
from suite.faults import FAULTS, Inapplicable
from suite.faults import Fault as FaultOfProve
from suite.faults.coreml.package import Package
from suite.record import StaticCheck
from suite.runtimes.coreml_evaluator import open_session
from suite.spec import VARIANTS, Array
from suite.thresholds import TOLERANCES
from tests.meta.coreml.conftest import CONVNEXT, PHOTO, Fixture
from tests.meta.coreml.planting import Copy, Fault
from tests.meta.coreml.test_checks import examine, failing
from tests.meta.coreml.writing import Package as Writing
from tests.meta.coreml.writing import small

Photo = Callable[[str], Fixture]
SAMPLES = 24


@dataclass
class Proof:
    """One model's references, and the gate that an artifact of it has to pass."""

    model: Fixture

    def __post_init__(self) -> None:
        feeds = self.model.feeds
        self.feeds = feeds.evaluation().first(SAMPLES), feeds.generated()
        self.reference = tuple(self.model.original.answers(feed) for feed in self.feeds)
        self.photos = [feeds.photos(feed).arrays for feed in self.feeds]

    def findings(self, path: Path, variant: str) -> list[str]:
        """What the conversion check and the parity check say of an artifact, as in a run."""
        static = [f"{name}: {words}" for name, words in failing(self.static(path, variant)).items()]
        try:
            return static + self._parity(path, variant)
        except StagedError as error:
            return [*static, str(error)]

    def static(self, path: Path, variant: str) -> dict[str, StaticCheck]:
        return examine(self.model, path, variant, held=True)

    def _parity(self, path: Path, variant: str) -> list[str]:
        session = open_session(path, 1)
        real, made = (session.run_many(photos) for photos in self.photos)
        tolerance = TOLERANCES[variant]
        quantised = VARIANTS[variant].quantised
        reference: tuple[dict[str, Array], dict[str, Array]] = self.reference[0], self.reference[1]
        seen = parity.measure(reference, (real, made), self.feeds[1].names, tolerance, quantised=quantised)
        floors = self.model.floors.beside(VARIANTS[variant], reference, (real, made))
        if not isinstance(floors, str):
            seen = replace(seen, floor=floors[0], generated_floor=floors[1])
        return [finding.message for finding in gates.check_parity(seen, tolerance)]


@pytest.fixture(scope="module")
def proof(photo: Photo) -> Proof:
    return Proof(photo("tf"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_good_artifact_passes(proof: Proof, variant: str) -> None:
    if VARIANTS[variant].format == "coreml":
        assert proof.findings(proof.model.convert(variant)[0], variant) == []


# --- in ML programs ---------------------------------------------------------------------


def _pad(copy: Copy) -> None:
    copy.set_text(copy.argument(copy.operation("conv", 1), "pad_type"), "same_lower")


def _bias(copy: Copy) -> None:
    def alter(values: np.ndarray) -> np.ndarray:
        values[np.abs(values).argmax()] = 0
        return values

    copy.change(copy.argument(copy.operation("conv"), "bias"), alter)


def _relu6(copy: Copy) -> None:
    copy.operation("relu6").type = "relu"


def _colours(copy: Copy) -> None:
    kind = copy.spec.description.input[0].type.imageType
    kind.colorSpace = kind.BGR


def _first_kernel_of_bgr(copy: Copy) -> None:
    copy.change(copy.argument(copy.operation("conv"), "weight"), lambda values: values[:, ::-1])


def _scale(copy: Copy) -> None:
    copy.change(copy.argument(copy.operation("mul"), "y"), lambda values: values / 2)


def _no_shift(copy: Copy) -> None:
    copy.change(copy.argument(copy.operation("add"), "y"), lambda values: values * 0)


def _labels(copy: Copy) -> None:
    values = copy.operation("classify").inputs["classes"].arguments[0].value.immediateValue.list.values
    one, other = (values[i].immediateValue.tensor.strings.values for i in (3, 4))
    one[0], other[0] = other[0], one[0]


def _transposed(copy: Copy) -> None:
    copy.change(copy.argument(copy.operation("conv", 1), "weight"), lambda values: values.swapaxes(2, 3))


def _truncated(copy: Copy) -> None:
    copy.weights_file.write_bytes(copy.weights_file.read_bytes()[:-2000])


def _flipped(bit: int) -> Fault:
    """One bit of the largest weight of the second convolution: 31 is its sign, 23 to 30 its exponent."""

    def plant(copy: Copy) -> None:
        def alter(values: np.ndarray) -> np.ndarray:
            bits = values.reshape(-1).view(np.uint32)
            bits[np.abs(values).argmax()] ^= np.uint32(1 << bit)
            return values

        copy.change(copy.argument(copy.operation("conv", 1), "weight"), alter)

    return plant


def _shape(copy: Copy) -> None:
    copy.operation("conv", 1).outputs[0].type.tensorType.dimensions[2].constant.size += 1


def _unknown(copy: Copy) -> None:
    copy.operation("relu").type = "relu7"


PROGRAM: dict[str, Fault] = {
    "same padding on the other side": _pad,
    "one bias zeroed": _bias,
    "relu6 becomes relu": _relu6,
    "colours swapped by the image type": _colours,
    "colours swapped in the first kernel": _first_kernel_of_bgr,
    "another scale": _scale,
    "no shift": _no_shift,
    "labels in another order": _labels,
    "weights transposed": _transposed,
    "weights truncated": _truncated,
    "a sign flipped": _flipped(31),
    "an exponent's high bit flipped": _flipped(30),
    "an exponent's low bit flipped": _flipped(23),
    "another declared shape": _shape,
    "an unknown operator": _unknown,
}


@pytest.mark.parametrize("fault", PROGRAM)
def test_a_fault_in_a_program_is_found(proof: Proof, tmp_path: Path, fault: str) -> None:
    copy = Copy(proof.model.convert("mlprogram_float32")[0], tmp_path)
    PROGRAM[fault](copy)
    assert proof.findings(copy.save(), "mlprogram_float32")


@pytest.mark.parametrize("fault", ["one bias zeroed", "relu6 becomes relu", "same padding on the other side"])
def test_a_fault_is_found_through_the_rounding_of_float16(proof: Proof, tmp_path: Path, fault: str) -> None:
    copy = Copy(proof.model.convert("mlprogram_float16")[0], tmp_path)
    PROGRAM[fault](copy)
    assert proof.findings(copy.save(), "mlprogram_float16")


def test_another_epsilon_is_found(fixture_model: Callable[[str, str], Fixture], tmp_path: Path) -> None:
    model = fixture_model("convnext_like", CONVNEXT)
    proof = Proof(model)
    path, _ = model.convert("mlprogram_float32")
    assert proof.findings(path, "mlprogram_float32") == []
    copy = Copy(path, tmp_path)
    guard = next(
        one
        for one in copy.operations
        if one.type == "add"
        and any(
            other.type == "rsqrt" and other.inputs["x"].arguments[0].name == one.outputs[0].name
            for other in copy.operations
        )
    )
    copy.change(copy.argument(guard, "y"), lambda values: values * 1000)  # 1e-3 for 1e-6
    assert proof.findings(copy.save(), "mlprogram_float32")


# --- as `prove` plants them ------------------------------------------------------------------

# Those of compressed weights are in test_compressed_faults.py: here are none.
PACKAGED = [
    fault
    for fault in FAULTS
    if (fault.plant is not None or fault.replant is not None) and fault.family != "quantisation"
]
# A net of each kind: convolutions that are padded, bounded and pooled; layer norms, and a skip
# connection; a softmax.
NETS = ("photo", "convnext", "softmax")
SOFTMAX = PHOTO.replace("{mode}", "unit").replace("layers.Dense(10, bias", 'layers.Dense(10, "softmax", bias')


@pytest.fixture(scope="module")
def proofs(photo: Photo, fixture_model: Callable[[str, str], Fixture]) -> dict[str, Proof]:
    return {
        "photo": Proof(photo("caffe")),
        "convnext": Proof(fixture_model("convnext_like", CONVNEXT)),
        "softmax": Proof(fixture_model("photo_softmax", SOFTMAX)),
    }


def _plant(fault: FaultOfProve, copy: Path, model: Fixture) -> None:
    if fault.replant is not None:
        fault.replant(copy, model.original.batch_norms())
    else:
        assert fault.plant is not None
        fault.plant(copy)


@pytest.mark.parametrize("variant", ["mlprogram_float32", "mlprogram_float16"])
@pytest.mark.parametrize("fault", PACKAGED, ids=lambda fault: fault.name)
def test_what_prove_plants_is_found(
    proofs: dict[str, Proof], tmp_path: Path, fault: FaultOfProve, variant: str
) -> None:
    planted = 0
    for name in NETS:
        good, _ = proofs[name].model.convert(variant)
        copy = tmp_path / name / good.name
        shutil.copytree(good, copy)
        try:
            _plant(fault, copy, proofs[name].model)
        except Inapplicable:
            continue
        planted += 1
        assert sha256_tree(copy) != sha256_tree(good)
        assert _size(copy) <= _size(good) + 10_000  # its size does not give it away
        assert proofs[name].findings(copy, variant), name
    assert planted


@pytest.mark.parametrize("variant", ["mlprogram_float32", "mlprogram_float16"])
def test_what_becomes_of_the_softmax(proofs: dict[str, Proof], tmp_path: Path, variant: str) -> None:
    """No check but the evaluator: the scores themselves, ones, and one score more."""
    proof = proofs["softmax"]
    good, _ = proof.model.convert(variant)

    def answers(name: str = "") -> np.ndarray:
        copy = tmp_path / (name or "good") / good.name
        shutil.copytree(good, copy)
        if name:
            _plant(next(one for one in FAULTS if one.name == name), copy, proof.model)
        (found,) = open_session(copy, 1).run_many(proof.photos[0]).values()
        return found

    expected, scores = answers(), answers("softmax_missing")
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), expected, atol=2e-3)
    assert np.abs(scores.sum(axis=1) - 1).min() > 0.01
    np.testing.assert_allclose(answers("softmax_axis"), 1.0)


def test_a_normalisation_folded_twice_is_that_of_tflite(proofs: dict[str, Proof], tmp_path: Path) -> None:
    model = proofs["photo"].model
    (norm,) = model.original.batch_norms()
    good, _ = model.convert("mlprogram_float32")
    copy = tmp_path / good.name
    shutil.copytree(good, copy)
    _plant(next(one for one in FAULTS if one.name == "folded_twice"), copy, model)
    before, after = (Package(path).layers()[0] for path in (good, copy))
    factor = norm.gamma / np.sqrt(norm.variance + norm.epsilon)
    kernels = Package(good).constant(before, "weight"), Package(copy).constant(after, "weight")
    np.testing.assert_allclose(kernels[1], kernels[0] * factor[:, None, None, None], rtol=1e-5)
    bias = Package(good).constant(before, "bias")
    expected = (bias - norm.mean) * factor + norm.beta
    np.testing.assert_allclose(Package(copy).constant(after, "bias"), expected, rtol=1e-4, atol=1e-5)


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def test_a_fault_of_one_layer_leaves_a_shared_constant_to_the_others(tmp_path: Path) -> None:
    package = Writing()
    package.input("x", (1, 2, 5, 5))
    package.const("weight", np.ones((2, 2, 3, 3), np.float32), stored=True)
    package.const("same", "same")
    for number, source in enumerate(("x", "c0", "c1")):
        package.op("conv", f"c{number}", (1, 2, 5, 5), x=source, weight="weight", pad_type="same")
    package.answer("c2")
    path = package.save(tmp_path / "m.mlpackage")
    next(one for one in PACKAGED if one.name == "layer_zeroed").plant(path)  # type: ignore[misc]
    spoilt = Package(path)
    values = [spoilt.constant(one, "weight") for one in spoilt.layers()]
    assert [bool(one.any()) for one in values] == [True, False, True]
    answers = Evaluator.open(path).intermediates({"x": np.ones((1, 2, 5, 5), np.float32)})
    assert answers["c0"].any()
    assert not answers["c1"].any()


def test_the_answer_of_another_layer_keeps_its_name(tmp_path: Path) -> None:
    path = small().save(tmp_path / "m.mlpackage")
    package = Package(path)
    package.answer_is("c")
    package.save()
    feed = {"x": np.ones((1, 3, 6, 6), np.float32)}
    good = Evaluator.open(small().save(tmp_path / "good.mlpackage")).intermediates(feed)
    np.testing.assert_array_equal(Evaluator.open(path).run(feed)["y"], good["c"])


# --- in neural networks --------------------------------------------------------------------


def _network_bias(copy: Copy) -> None:
    bias = copy.layer("convolution", 1).convolution.bias.floatValue
    bias[int(np.abs(np.array(bias)).argmax())] = 0


def _network_pad(copy: Copy) -> None:
    copy.layer("convolution", 1).convolution.same.asymmetryMode = 1


def _network_scale(copy: Copy) -> None:
    copy.spec.neuralNetworkClassifier.preprocessing[0].scaler.channelScale *= 1.02


def _network_transposed(copy: Copy) -> None:
    weights = copy.layer("innerProduct").innerProduct.weights.floatValue
    weights[:] = np.array(weights, np.float32).reshape(10, -1).T.reshape(-1).tolist()


def _network_labels(copy: Copy) -> None:
    names = copy.spec.neuralNetworkClassifier.stringClassLabels.vector
    names[0], names[1] = names[1], names[0]


NETWORK: dict[str, Fault] = {
    "one bias zeroed": _network_bias,
    "same padding on the other side": _network_pad,
    "another scale": _network_scale,
    "weights transposed": _network_transposed,
    "labels in another order": _network_labels,
}


@pytest.mark.parametrize("fault", NETWORK)
def test_a_fault_in_a_network_is_found(proof: Proof, tmp_path: Path, fault: str) -> None:
    copy = Copy(proof.model.convert("neuralnetwork")[0], tmp_path)
    NETWORK[fault](copy)
    assert proof.findings(copy.save(), "neuralnetwork")


def test_what_is_planted_is_in_the_file(proof: Proof, tmp_path: Path) -> None:
    """A fault that changes nothing would prove nothing."""
    path, _ = proof.model.convert("mlprogram_float32")
    copy = Copy(path, tmp_path)
    _bias(copy)
    value = copy.argument(copy.operation("conv"), "bias")
    before, after = (open_saved(one).array(value) for one in (path, copy.save()))
    assert (before != after).sum() == 1

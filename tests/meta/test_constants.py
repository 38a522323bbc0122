"""The numbers of a quantised file: good conversions hold, and each planted fault is named by its check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from suite.converters.flatbuffer import Flatbuffer
from suite.converters.holding import judged
from suite.faults import FAULTS
from suite.floor import Floors
from suite.record import Status
from suite.runtimes import Pool
from suite.spec import VARIANTS
from tests.meta.conftest import Subject

QUANTISED = ("float16", "dynamic_int8", "int8", "int8_io", "int16x8")
CALIBRATED = ("int8", "int8_io", "int16x8")
Check = Callable[..., dict[str, Status]]


@pytest.fixture(scope="module")
def floors(classifier: Subject, tensorflow: Pool, tmp_path_factory: pytest.TempPathFactory) -> Floors:
    scratch = tmp_path_factory.mktemp("scratch")
    return Floors(classifier.original, classifier.feeds, classifier.cache, tensorflow, scratch, 1)


@pytest.fixture
def check(floors: Floors, tmp_path: Path) -> Check:
    """The statuses of a file of these bytes, by check; and what they said, as an attribute would."""

    def run(data: bytes, variant: str, *, converted: bool = True) -> dict[str, Status]:
        path = tmp_path / "model.tflite"
        path.write_bytes(data)
        found = floors.check(path, VARIANTS[variant], converted=converted)
        return {name: one.status for name, one in found.items()}

    return run


@pytest.mark.parametrize("converted", [True, False])
@pytest.mark.parametrize("variant", QUANTISED)
def test_a_good_conversion_holds(classifier: Subject, check: Check, variant: str, converted: bool) -> None:
    found = check(classifier.artifact(variant).read_bytes(), variant, converted=converted)
    assert set(found) == {"graph", "weights", "biases"} | (
        {"activation ranges"} if variant in CALIBRATED else set()
    )
    assert set(found.values()) == {Status.PASSED}


def test_every_number_of_several_inputs_and_outputs_is_looked_at(
    two_headed: Subject, tensorflow: Pool, tmp_path: Path
) -> None:
    floors = Floors(two_headed.original, two_headed.feeds, two_headed.cache, tensorflow, tmp_path, 1)
    found = floors.check(two_headed.artifact("int8"), VARIANTS["int8"], converted=True)
    assert {one.status for one in found.values()} == {Status.PASSED}
    assert found["weights"].message.startswith("4 ")  # of three layers, and the shape that one flattens to


# The fault and the check that names it, in a full int8 conversion.
PLANTED = {
    "layer_transposed": "weights",
    "layer_zeroed": "weights",
    "channel_scale_wrong": "weights",
    "low_bits_flipped": "weights",
    "other_checkpoint": "weights",
    "relu_with_a_bound": "graph",
    "activation_dropped": "graph",
    "output_of_another_layer": "graph",
    "softmax_doubled": "graph",
    "zero_point_off_by_one": "biases",
    "input_scale_wrong": "weights",
    "per_tensor_weights": "weights",
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_named(classifier: Subject, check: Check, fault: str) -> None:
    (planted,) = [one for one in FAULTS if one.name == fault]
    assert planted.alter is not None
    data = planted.alter(classifier.artifact("int8").read_bytes())
    assert check(data, "int8")[PLANTED[fault]] is Status.FAILED


def _changed(path: Path, change: Callable[[Flatbuffer], None]) -> bytes:
    model = Flatbuffer(path.read_bytes())
    change(model)
    return model.pack()


def _narrowed(share: float) -> Callable[[Flatbuffer], None]:
    """The range of the first layer's answer, as after another calibration."""

    def change(model: Flatbuffer) -> None:
        quantization = model.tensor(model.layers()[0].outputs[0]).quantization
        quantization.scale = np.array(quantization.scale) * np.float32(share)

    return change


def _moved(model: Flatbuffer) -> None:
    quantization = model.tensor(model.layers()[0].outputs[0]).quantization
    quantization.zeroPoint = np.array(quantization.zeroPoint) + 1


@pytest.mark.parametrize("change", [_narrowed(0.98), _narrowed(1 / 8), _moved])
def test_a_range_that_calibration_did_not_see_is_named(
    classifier: Subject, check: Check, change: Callable[[Flatbuffer], None]
) -> None:
    data = _changed(classifier.artifact("int8"), change)
    assert check(data, "int8")["activation ranges"] is Status.FAILED


@pytest.mark.parametrize("fault", ["layer_zeroed", "low_bits_flipped", "other_checkpoint"])
def test_weights_alone_are_held_too(classifier: Subject, check: Check, fault: str) -> None:
    (planted,) = [one for one in FAULTS if one.name == fault]
    assert planted.alter is not None
    data = planted.alter(classifier.artifact("dynamic_int8").read_bytes())
    assert check(data, "dynamic_int8")["weights"] is Status.FAILED


def test_half_precision_is_that_of_the_very_weights(classifier: Subject, check: Check) -> None:
    def doubled(model: Flatbuffer) -> None:
        index = next(i for i, one in enumerate(model.graph.tensors) if one.type == 1 and len(one.shape) > 1)
        values = model.constant(index)
        values.flat[0] *= 2
        model.put(index, values)

    data = _changed(classifier.artifact("float16"), doubled)
    assert check(data, "float16")["weights"] is Status.FAILED


# --- files that were made elsewhere -----------------------------------------------------


def test_another_choice_of_steps_is_no_fault_of_a_file_made_elsewhere(
    classifier: Subject, check: Check
) -> None:
    (fault,) = [one for one in FAULTS if one.name == "per_tensor_weights"]
    assert fault.alter is not None
    data = fault.alter(classifier.artifact("int8").read_bytes())
    found = check(data, "int8", converted=False)
    assert Status.FAILED not in found.values()
    wider = _changed(classifier.artifact("int8"), _narrowed(1.5))
    assert check(wider, "int8", converted=False)["activation ranges"] is Status.PASSED


def test_a_graph_of_other_operators_is_not_applicable_and_says_so(
    classifier: Subject, floors: Floors, tmp_path: Path
) -> None:
    path = tmp_path / "other.tflite"
    (fault,) = [one for one in FAULTS if one.name == "softmax_doubled"]
    assert fault.alter is not None
    path.write_bytes(fault.alter(classifier.artifact("int8").read_bytes()))
    found = floors.check(path, VARIANTS["int8"], converted=False)
    assert {name: one.status for name, one in found.items()} == {"graph": Status.SKIPPED}
    assert "not applicable" in found["graph"].message


def test_a_few_faulty_layers_of_a_file_made_elsewhere_are_faults() -> None:
    items = ["a", "b", "c", "d"]

    def status(faulty: str, *, converted: bool) -> Status:
        words = dict.fromkeys(faulty, "wrong")
        return judged(items, lambda one: words.get(one, ""), "weights", converted, "the other").status

    assert status("", converted=True) is Status.PASSED
    assert status("a", converted=False) is Status.FAILED
    assert status("ab", converted=False) is Status.SKIPPED
    assert status("ab", converted=True) is Status.FAILED

"""What is called equivalent is so for every input; what merely does not show is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from suite.converters.flatbuffer import Flatbuffer
from suite.equivalence import proof
from suite.faults import Fault, select
from suite.spec import ImageInput

FILE = Path("good.tflite")


def _fault(name: str) -> Fault:
    (found,) = select((name,))
    return found


@pytest.mark.parametrize(
    ("name", "mode", "equivalent"),
    [
        ("mean_order_wrong", "unit", True),
        ("mean_order_wrong", "tf", True),
        ("mean_order_wrong", "torch", False),
        ("mean_order_wrong", "caffe", False),
        ("scaling_missing", "none", True),
        ("scaling_missing", "unit", False),
        ("scaling_doubled", "none", False),
        ("mean_of_unit_values", "none", False),
        ("channels_exchanged", "unit", False),  # grey photos would not tell
        ("geometry_exchanged", "unit", False),  # nor would square ones
        ("interpolation_nearest", "unit", False),  # nor those of the model's own size
        ("rotated", "unit", False),
    ],
)
def test_preparing_alike_is_a_proof_for_all_photos(name: str, mode: str, equivalent: bool) -> None:
    image = ImageInput(height=32, width=32, preprocessing=mode)
    assert bool(proof(_fault(name), image, FILE, FILE)) is equivalent
    assert proof(_fault(name), None, FILE, FILE) == ""


def _files(classifier: object, folder: Path, largest: float, *, zeroed: bool = False) -> tuple[Path, Path]:
    """An int8 net whose ReLU answers reach so far, and the same with ReLU6."""
    model = Flatbuffer(classifier.artifact("int8").read_bytes())  # type: ignore[attr-defined]
    for operator in model.layers():
        if operator.builtinOptions.fusedActivationFunction == 1:
            found = model.tensor(operator.outputs[0]).quantization
            found.scale = np.array([largest / 255], np.float32)
            found.zeroPoint = np.array([-128], np.int64)
    good, faulty = folder / "good.tflite", folder / "faulty.tflite"
    good.write_bytes(model.pack())
    alter = _fault("relu_with_a_bound").alter
    assert alter is not None
    changed = Flatbuffer(alter(good.read_bytes()))
    if zeroed:
        place = changed.layers()[0].inputs[1]
        changed.put(place, np.zeros_like(changed.constant(place)))
    faulty.write_bytes(changed.pack())
    return faulty, good


def test_a_bound_that_integers_cannot_reach_is_a_proof(classifier: object, tmp_path: Path) -> None:
    fault = _fault("relu_with_a_bound")
    assert "beyond the bound" in proof(fault, None, *_files(classifier, tmp_path, 5.9))
    assert proof(fault, None, *_files(classifier, tmp_path, 6.5)) == ""
    assert proof(fault, None, *_files(classifier, tmp_path, 5.9, zeroed=True)) == ""


def test_a_bound_on_reals_is_never_out_of_reach(classifier: object, tmp_path: Path) -> None:
    good, fault = classifier.artifact("float32"), _fault("relu_with_a_bound")  # type: ignore[attr-defined]
    faulty = tmp_path / "faulty.tflite"
    assert fault.alter is not None
    faulty.write_bytes(fault.alter(good.read_bytes()))
    assert proof(fault, None, faulty, good) == ""

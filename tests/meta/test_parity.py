"""Parity: the good artifact passes the default tolerance, and each planted fault does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from suite import parity
from suite.errors import CheckFailed
from suite.gates import check_parity
from suite.record.answers import Parity
from suite.thresholds import TOLERANCES

CLASSES = 10
_random = np.random.default_rng(0)
INPUTS = _random.normal(0, 1, (64, 4, 4, 3))
MADE = _random.uniform(-3, 3, (32, 4, 4, 3))
KERNEL = _random.normal(0, 1, (4 * 4 * 3, CLASSES))
BIAS = _random.normal(0, 2, CLASSES)
PATTERNS = tuple(f"pattern {i}" for i in range(32))


def model(inputs: np.ndarray, kernel: np.ndarray = KERNEL, bias: np.ndarray = BIAS) -> np.ndarray:
    return (inputs.reshape(len(inputs), -1) @ kernel + bias).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def noise(values: np.ndarray, db: float) -> np.ndarray:
    """Add noise of a given ratio."""
    size = values.std() * 10 ** (-db / 20)
    return (values + np.random.default_rng(1).normal(0, size, values.shape)).astype(np.float32)


def findings(artifact: Callable[[np.ndarray], np.ndarray], variant: str) -> list[str]:
    """What the gate says of an artifact, with the variant's default tolerance."""
    tolerance = TOLERANCES[variant]
    seen = parity.measure(
        ({"output": model(INPUTS)}, {"output": model(MADE)}),
        ({"output": artifact(INPUTS)}, {"output": artifact(MADE)}),
        PATTERNS,
        tolerance,
        quantised=variant not in ("float32", "float16"),
    )
    return [finding.message for finding in check_parity(seen, tolerance)]


GOOD = {"float32": 115, "float16": 55, "dynamic_int8": 34, "int8": 34, "int8_io": 34, "int16x8": 34}


@pytest.mark.parametrize("variant", GOOD)
def test_a_good_artifact_passes(variant: str) -> None:
    assert findings(lambda inputs: noise(model(inputs), GOOD[variant]), variant) == []


FAULTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "channels swapped": lambda x: model(x[..., ::-1]),
    "input scaled": lambda x: model(x / 2),
    "output scaled": lambda x: model(x) * 1.2,
    "classes permuted": lambda x: np.roll(model(x), 1, axis=1),
    "two classes swapped": lambda x: model(x)[:, [1, 0, *range(2, CLASSES)]],
    "bias dropped": lambda x: model(x, bias=np.zeros(CLASSES)),
    "one weight's sign turned": lambda x: model(x, KERNEL * np.where(np.arange(48) == 7, -1, 1)[:, None]),
    "transposed": lambda x: model(x.transpose(0, 2, 1, 3)),
    "half the kernel zeroed": lambda x: model(x, KERNEL * (np.arange(48) % 2)[:, None]),
    "quantised to 3 bits": lambda x: np.rint(model(x) / 8) * np.float32(8),
    "clipped": lambda x: np.clip(model(x), -3, 3),
    "softmax added": lambda x: softmax(model(x)),
}


@pytest.mark.parametrize("variant", GOOD)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault: str, variant: str) -> None:
    assert findings(FAULTS[fault], variant), fault


SMALL_FAULTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "output scaled by a thousandth": lambda x: model(x) * np.float32(1.001),
    "one class off": lambda x: model(x) + np.float32(0.01) * (np.arange(CLASSES) == 3),
    "weights in half precision": lambda x: model(x, KERNEL.astype(np.float16).astype(float)),
    "one sample of 64 off": lambda x: (
        model(x) + np.where(np.arange(len(x)) == 5, 0.01, 0)[:, None].astype("f4")
    ),
}


@pytest.mark.parametrize("fault", SMALL_FAULTS)
def test_float32_is_held_to_its_own_tolerance_and_not_to_int8s(fault: str) -> None:
    assert findings(SMALL_FAULTS[fault], "float32")
    assert findings(SMALL_FAULTS[fault], "int8") == []


@pytest.mark.parametrize(
    ("artifact", "words"),
    [
        (lambda x: np.where(np.arange(CLASSES) == 3, np.nan, model(x)).astype("f4"), "NaN"),
        (lambda x: np.where(np.arange(CLASSES) == 3, np.inf, model(x)).astype("f4"), "infinite"),
        (lambda x: model(x)[:, :9], r"has shape \(64, 9\), expected \(64, 10\)"),
        (lambda x: model(x).T, r"has shape \(10, 64\)"),
        (lambda x: model(x)[:1], r"has shape \(1, 10\)"),
        (lambda x: model(x).astype(np.int8), "is int8, expected float32"),
        (lambda x: np.zeros_like(model(x)), "vacuous: the artifact's"),
        (lambda x: np.tile(model(x)[:1], (len(x), 1)), "vacuous: the artifact's"),
    ],
)
def test_what_cannot_be_compared_is_refused(artifact: Callable[[np.ndarray], np.ndarray], words: str) -> None:
    with pytest.raises(CheckFailed, match=words):
        findings(artifact, "int8")


# --- generated inputs ------------------------------------------------------------------


def test_a_fault_on_generated_inputs_alone_is_caught_and_its_pattern_named() -> None:
    def saturates(inputs: np.ndarray) -> np.ndarray:
        answers = model(inputs)
        if inputs is MADE:
            answers[11] = -answers[11]
        return answers

    (found,) = findings(saturates, "float32")[:1]
    assert "worst pattern 11" in found


def test_a_nan_on_generated_inputs_alone_is_caught() -> None:
    with pytest.raises(CheckFailed, match="NaN"):
        findings(lambda x: model(x) if x is INPUTS else np.full_like(model(x), np.nan), "int8")


# --- softmax ------------------------------------------------------------------------------


def compare_softmax(logits: Callable[[np.ndarray], np.ndarray], *, quantised: bool) -> Parity:
    answers = [softmax(model(inputs)) for inputs in (INPUTS, MADE)]
    found = [softmax(logits(inputs)) for inputs in (INPUTS, MADE)]
    return parity.measure(
        ({"p": answers[0]}, {"p": answers[1]}),
        ({"p": found[0]}, {"p": found[1]}),
        PATTERNS,
        TOLERANCES["float32"],
        quantised=quantised,
    )


def test_probabilities_of_float_variants_are_held_as_logits() -> None:
    # Saturated: most samples' probabilities are 0 and 1, whatever happens to the scores below.
    def subdued(inputs: np.ndarray) -> np.ndarray:
        answers = model(inputs) * 2
        lower = answers < answers.max(axis=1, keepdims=True)
        return np.where(lower, answers * 0.98, answers)

    floats = compare_softmax(subdued, quantised=False)
    assert floats.scale == "log_probabilities"
    assert check_parity(floats, TOLERANCES["float32"])
    integers = compare_softmax(subdued, quantised=True)
    assert integers.scale == "outputs"
    assert check_parity(compare_softmax(model, quantised=False), TOLERANCES["float32"]) == []


# --- several outputs -----------------------------------------------------------------------

# Corners far enough apart that a little noise does not change which is the largest.
BOX = {
    "real": (INPUTS.reshape(64, -1)[:, :4] + [0, 9, 18, 27]).astype("f4"),
    "made": (MADE.reshape(32, -1)[:, :4] + [0, 9, 18, 27]).astype("f4"),
}


def compare_two(real: dict[str, np.ndarray], made: dict[str, np.ndarray]) -> list[str]:
    seen = parity.measure(
        ({"scores": model(INPUTS), "box": BOX["real"]}, {"scores": model(MADE), "box": BOX["made"]}),
        (real, made),
        PATTERNS,
        TOLERANCES["int8"],
        quantised=True,
    )
    return [finding.message for finding in check_parity(seen, TOLERANCES["int8"])]


def test_both_outputs_good() -> None:
    real = {"scores": noise(model(INPUTS), 40), "box": noise(BOX["real"], 34)}
    assert compare_two(real, {"scores": model(MADE), "box": BOX["made"]}) == []


@pytest.mark.parametrize("name", ["scores", "box"])
def test_no_output_hides_a_fault_behind_the_noise_of_another(name: str) -> None:
    other = {"scores": "box", "box": "scores"}[name]
    real = {"scores": model(INPUTS), "box": BOX["real"]}
    made = {"scores": model(MADE), "box": BOX["made"]}
    assert compare_two({**real, other: noise(real[other], 40)}, made) == []
    # Perfect on real inputs, wrong on generated ones, beside an output that is noisier on real ones.
    faulty = compare_two({**real, other: noise(real[other], 40)}, {**made, name: -made[name]})
    assert any("generated" in message for message in faulty)
    swapped = compare_two({**real, name: real[name][:, ::-1], other: noise(real[other], 40)}, made)
    assert any("real inputs" in message for message in swapped)


def test_renamed_outputs_are_told_apart_by_their_shape() -> None:
    real = {"StatefulPartitionedCall:1": BOX["real"], "StatefulPartitionedCall:0": model(INPUTS)}
    made = {"StatefulPartitionedCall:1": BOX["made"], "StatefulPartitionedCall:0": model(MADE)}
    assert compare_two(real, made) == []


def test_another_number_of_outputs_names_both_sides() -> None:
    with pytest.raises(CheckFailed, match=r"has 1 outputs \(scores\), expected 2 .*\(scores, box\)"):
        compare_two({"scores": model(INPUTS)}, {"scores": model(MADE)})


def test_outputs_of_one_shape_are_paired_by_name_or_else_by_order() -> None:
    one, two = np.ones((2, 3)), np.zeros((2, 3))
    assert parity.align({"a": one, "b": two}, {"b": two, "a": one})["a"][1] is one
    assert parity.align({"a": one, "b": two}, {"x": one, "y": two})["b"][1] is two

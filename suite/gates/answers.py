"""Does an artifact answer as the original does: parity and accuracy."""

from __future__ import annotations

import math
from dataclasses import replace

from suite.gates.findings import Finding, Gate, bound, number, unproven
from suite.record.answers import Accuracy, ErrorStats, Floor, Parity
from suite.spec import Budget, Tolerance
from suite.thresholds import beside

ONE_STEP = 1.01  # and what float arithmetic on dequantised values adds


def check_parity(parity: Parity | None, tolerance: Tolerance) -> list[Finding]:
    """Findings on the errors of an artifact's outputs, for real and generated inputs."""
    if parity is None:
        return [unproven(Gate.PARITY, "no error statistics were recorded")]
    made = f"generated inputs, worst {parity.worst_pattern}"
    invalid = [*_check_errors(parity.real, "real inputs"), *_check_errors(parity.generated, made)]
    floors = [
        *check_floor(parity.floor, tolerance),
        *check_generated_floor(parity.generated_floor, tolerance),
    ]
    tolerance = beside(tolerance, parity.floor, parity.generated_floor, parity.float32_diff)
    return invalid or [
        *floors,
        *_check_real(parity.real, tolerance),
        *_at_least(
            "cosine similarity", made, parity.generated.cosine_similarity, tolerance.generated_min_cosine
        ),
        *_at_least("SQNR in dB", made, parity.generated.sqnr_db, tolerance.generated_min_sqnr_db),
    ]


def check_floor(floor: Floor | None, tolerance: Tolerance) -> list[Finding]:
    """Findings on an artifact's error beside what rounding to its precision costs the original."""
    if floor is None or (margin := tolerance.floor_margin_db) is None:
        return []
    found = _beside_floor(floor, margin, "real")
    if not math.isfinite(floor.sqnr_db):
        return found
    for what, value, limit in (
        ("noise floor in dB", floor.sqnr_db, tolerance.min_floor_db),
        ("top-1 agreement of the noise floor", floor.top1_agreement, tolerance.min_floor_agreement),
    ):
        if value is not None:  # None: the answer is no vector of scores
            found += bound(Gate.PARITY, what, value, limit, lambda: _TOO_MUCH, is_maximum=False)
    return found


_TOO_MUCH = "Rounding alone takes the answers apart: choose a wider precision for this net."


def check_generated_floor(floor: Floor | None, tolerance: Tolerance) -> list[Finding]:
    """Likewise on generated inputs, where a floor may be as low as it is: nobody photographs these."""
    if floor is None or (margin := tolerance.generated_floor_margin_db) is None:
        return []
    return _beside_floor(floor, margin, "generated")


def _beside_floor(floor: Floor, margin: float, inputs: str) -> list[Finding]:
    if not floor.n > 0 or not math.isfinite(floor.sqnr_db + floor.measured_db):
        words = f"a noise floor of {floor.sqnr_db} dB on {floor.n} {inputs} samples"
        return [unproven(Gate.PARITY, words)]
    on_these = f"SQNR in dB on the first {floor.n} {inputs} inputs"
    advice = (
        f"Rounding alone leaves {number(floor.sqnr_db)}, and {margin:g} are allowed below that. The artifact "
        "has lost more than its precision explains: look for the layer where it leaves the original."
    )
    least = floor.sqnr_db - margin
    return bound(Gate.PARITY, on_these, floor.measured_db, least, lambda: advice, is_maximum=False)


def check_host(parity: Parity | None, tolerance: Tolerance) -> list[Finding]:
    """Findings on a device's answers against this machine's to the same artifact on the same tensors.

    8-bit outputs may differ by one step, as kernels round in their own ways; others by the precision's
    tolerance.
    """
    if parity is None or parity.max_steps is None:
        return [
            replace(item, message=f"{_THERE}: {item.message}") for item in check_parity(parity, tolerance)
        ]
    found = [*_check_errors(parity.real, "real inputs"), *_check_errors(parity.generated, "generated inputs")]
    advice = f"{_THERE}. {_worst(parity.real)}"
    return found or bound(
        Gate.PARITY, "difference in quantisation steps", parity.max_steps, ONE_STEP, lambda: advice
    )


_THERE = "The device against this machine, on the same artifact"


def _check_errors(errors: ErrorStats, inputs: str) -> list[Finding]:
    """Findings on statistics that say nothing: no sample, or a number that is not finite."""
    if not errors.n > 0:
        return [unproven(Gate.PARITY, f"no output was compared on {inputs}")]
    values = (
        errors.max_abs_diff,
        errors.max_scaled_diff,
        errors.cosine_similarity,
        errors.worst_sample_cosine,
        errors.sqnr_db,
        errors.top1_agreement or 0.0,
    )
    if math.isfinite(sum(values)):
        return []
    advice = "Look for NaN or infinity in the artifact's outputs."
    return [
        Finding(gate=Gate.PARITY, message=f"{name} on {inputs} is {value}. {advice}", obtained=value)
        for name, value in zip(_NUMBERS, values, strict=True)
        if not math.isfinite(value)
    ]


_NUMBERS = (
    "max_abs_diff",
    "max_scaled_diff",
    "cosine_similarity",
    "worst_sample_cosine",
    "sqnr_db",
    "top1_agreement",
)
_PARITY_ADVICE = "Look at the worst sample, or give this model a tolerance of its own with a reason."


def _check_real(real: ErrorStats, tolerance: Tolerance) -> list[Finding]:
    inputs = "real inputs"
    scaled, limit = real.max_scaled_diff, tolerance.max_scaled_diff
    found = bound(Gate.PARITY, f"max scaled difference on {inputs}", scaled, limit, lambda: _worst(real))
    found += _at_least("cosine similarity", inputs, real.cosine_similarity, tolerance.min_cosine)
    found += _at_least("SQNR in dB", inputs, real.sqnr_db, tolerance.min_sqnr_db)
    if real.top1_agreement is not None:  # None: the output is not a vector of scores
        found += _at_least("top-1 agreement", inputs, real.top1_agreement, tolerance.min_top1_agreement)
    return found


def _worst(real: ErrorStats) -> str:
    return (
        f"The largest difference is at {list(real.worst_index)}: reference {real.worst_reference:.6g}, "
        f"actual {real.worst_actual:.6g}. {_PARITY_ADVICE}"
    )


def _at_least(name: str, inputs: str, obtained: float, limit: float | None) -> list[Finding]:
    if limit is None or obtained >= limit:
        return []
    what = f"{name} on {inputs}"
    return bound(Gate.PARITY, what, obtained, limit, lambda: _PARITY_ADVICE, is_maximum=False)


def check_accuracy(accuracy: Accuracy | None, budget: Budget) -> list[Finding]:
    """Findings on the drop in top-1 accuracy, paired on the same samples.

    A limit that is less than one sample is one sample: the first that flips,
    of a hundred, is no evidence of a drop of a hundredth.
    """
    if accuracy is None or not accuracy.n > 0:
        return [unproven(Gate.ACCURACY, "no labelled sample was answered")]
    for name, value in (("top1", accuracy.top1), ("reference_top1", accuracy.reference_top1)):
        if not 0 <= value <= 1:
            return [unproven(Gate.ACCURACY, f"{name} is {value}")]
    if not abs(accuracy.reference_top1 - accuracy.top1 - accuracy.drop) < 1e-6:
        return [unproven(Gate.ACCURACY, f"the drop {accuracy.drop} is not the difference of the accuracies")]
    drop, limit = accuracy.drop, budget.max_accuracy_drop
    if limit is not None and limit >= 0:
        limit = max(limit, 1 / accuracy.n)
    return bound(Gate.ACCURACY, "drop in top-1 accuracy", drop, limit, lambda: _accuracy_advice(accuracy))


def _accuracy_advice(accuracy: Accuracy) -> str:
    low, high = accuracy.drop_interval
    return (
        f"Reference {accuracy.reference_top1:.4f}, artifact {accuracy.top1:.4f}, n {accuracy.n}, "
        f"95 % interval of the drop {low:+.4f} to {high:+.4f}. Calibrate on more real samples, "
        "or ship a variant of higher precision."
    )

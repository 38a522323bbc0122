"""Parity: the artifact's answers held to the original's on identical tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from suite import metrics
from suite.errors import CheckFailed
from suite.record import Stage
from suite.record.answers import ErrorStats, Floor, Parity
from suite.spec import Array, Tolerance, Variant

Answers = Mapping[str, Array]


def measure(
    reference: tuple[Answers, Answers],
    actual: tuple[Answers, Answers],
    patterns: tuple[str, ...],
    tolerance: Tolerance,
    *,
    quantised: bool,
    steps: tuple[float | None, ...] = (),
) -> Parity:
    """Compare (real, generated) answers, each (n, ...) by output name.

    Of several outputs the worst of each measure is reported. `steps` are the
    quantisation steps of 8-bit outputs, in order, where differences count in them.

    Raises CheckFailed where they cannot be compared (names, shape, dtype, NaN)
    or where either side's answers carry no signal.
    """
    pairs = [align(expected, found) for expected, found in zip(reference, actual, strict=True)]
    compared = []
    for name in reference[0]:
        (real_ref, real_act), (made_ref, made_act) = (pair[name] for pair in pairs)
        metrics.check_comparable(name, real_ref, real_act)
        metrics.check_comparable(name, made_ref, made_act)
        metrics.check_varied(name, real_ref, "the original's")
        metrics.check_varied(name, real_act, "the artifact's")
        compared.append(
            _compare(
                (real_ref, real_act, made_ref, made_act),
                patterns,
                tolerance,
                quantised=quantised,
                # Of several outputs, one may be a box: its largest coordinate is nobody's answer.
                scores=len(reference[0]) == 1 or metrics.is_probabilities(real_ref),
            )
        )
    return replace(_worst(compared), max_steps=_most_steps(pairs, steps))


def floor(reference: Answers, rounded: Answers, actual: Answers, variant: Variant) -> Floor:
    """The error of the rounded original beside the artifact's, on the samples that were rounded.

    Answers are (n, ...) by output name, `rounded` the first of them. Of several
    outputs the one counts in which the artifact falls furthest behind. Raises
    CheckFailed where they cannot be compared.
    """
    count = min(len(next(iter(side.values()))) for side in (reference, rounded, actual))
    expected, simulated, found = (
        {name: values[:count] for name, values in side.items()} for side in (reference, rounded, actual)
    )
    ours, theirs = align(expected, simulated), align(expected, found)
    floors = []
    for name, (wanted, rounded_one) in ours.items():
        metrics.check_comparable(name, wanted, rounded_one)
        sides = [wanted, rounded_one, theirs[name][1]]
        if not variant.quantised and all(map(metrics.is_probabilities, sides)):
            sides = [metrics.log_scores(one) for one in sides]
        stats = metrics.error_stats(sides[0], sides[1], scores=len(expected) == 1)
        floors.append(
            Floor(
                n=count,
                sqnr_db=stats.sqnr_db,
                cosine_similarity=stats.cosine_similarity,
                top1_agreement=stats.top1_agreement,
                measured_db=metrics.error_stats(sides[0], sides[2]).sqnr_db,
            )
        )
    return min(floors, key=lambda one: one.measured_db - one.sqnr_db)


def scaled_diff(reference: Answers, actual: Answers) -> float:
    """The largest `max_scaled_diff` of two sides' answers, (n, ...) by name, on the scale of `measure`."""
    largest = 0.0
    for name, sides in align(reference, actual).items():
        metrics.check_comparable(name, *(np.asarray(side, np.float32) for side in sides))
        if all(map(metrics.is_probabilities, sides)):
            sides = metrics.log_scores(sides[0]), metrics.log_scores(sides[1])
        largest = max(largest, metrics.error_stats(*sides).max_scaled_diff)
    return largest


def _most_steps(
    pairs: Sequence[Mapping[str, tuple[Array, Array]]], steps: tuple[float | None, ...]
) -> float | None:
    """The largest difference in steps; None unless every output has one."""
    known = [step for step in steps if step]
    if not known or len(known) != len(pairs[0]):
        return None
    return max(
        float(np.abs(np.asarray(found, np.float64) - expected).max()) / step
        for pair in pairs
        for (expected, found), step in zip(pair.values(), known, strict=True)
    )


def align(reference: Answers, actual: Answers) -> dict[str, tuple[Array, Array]]:
    """Pair outputs by name; where converters renamed them, by shape if that is unambiguous, else by order."""
    if len(reference) != len(actual):
        raise CheckFailed(
            f"the artifact has {len(actual)} outputs ({', '.join(actual)}), "
            f"expected {len(reference)} as the original ({', '.join(reference)})",
            stage=Stage.COMPARE,
        )
    if set(reference) == set(actual):
        return {name: (reference[name], actual[name]) for name in reference}
    shapes = [values.shape for values in reference.values()]
    if len(set(shapes)) == len(shapes):
        by_shape = {values.shape: values for values in actual.values()}
        if set(by_shape) == set(shapes):
            return {name: (values, by_shape[values.shape]) for name, values in reference.items()}
    return {
        name: (values, found)
        for (name, values), found in zip(reference.items(), actual.values(), strict=True)
    }


def _compare(
    arrays: tuple[Array, Array, Array, Array],
    patterns: tuple[str, ...],
    tolerance: Tolerance,
    *,
    quantised: bool,
    scores: bool,
) -> Parity:
    """Probabilities of float variants are compared as logits: a softmax hides what it saturates."""
    scale = "outputs"
    real_ref, real_act, made_ref, made_act = arrays
    if not quantised and metrics.is_probabilities(real_ref) and metrics.is_probabilities(real_act):
        scale = "log_probabilities"
        real_ref, real_act, made_ref, made_act = (
            metrics.log_scores(values) for values in (real_ref, real_act, made_ref, made_act)
        )
    return Parity(
        scale=scale,
        real=metrics.error_stats(real_ref, real_act, scores=scores),
        generated=metrics.error_stats(made_ref, made_act, scores=scores),
        worst_pattern=_worst_pattern(made_ref, made_act, patterns),
        tolerance={name: value for name, value in asdict(tolerance).items() if name != "stated"},
    )


def _worst(outputs: Sequence[Parity]) -> Parity:
    """The worst of each measure: an output that is off in one must not hide behind one off in another."""
    return replace(
        min(outputs, key=lambda parity: parity.generated.sqnr_db),
        real=_worst_stats([parity.real for parity in outputs]),
        generated=_worst_stats([parity.generated for parity in outputs]),
    )


def _worst_stats(outputs: Sequence[ErrorStats]) -> ErrorStats:
    agreements = [stats.top1_agreement for stats in outputs if stats.top1_agreement is not None]
    return replace(
        max(outputs, key=lambda stats: stats.max_scaled_diff),
        cosine_similarity=min(stats.cosine_similarity for stats in outputs),
        worst_sample_cosine=min(stats.worst_sample_cosine for stats in outputs),
        sqnr_db=min(stats.sqnr_db for stats in outputs),
        top1_agreement=min(agreements, default=None),
    )


def _worst_pattern(reference: Array, actual: Array, patterns: tuple[str, ...]) -> str:
    difference = np.abs(np.asarray(reference, np.float64) - actual).reshape(len(reference), -1).max(axis=1)
    worst = int(difference.argmax())
    return patterns[worst] if worst < len(patterns) else f"sample {worst}"


def describe(stats: ErrorStats) -> str:
    """A few words for a progress line."""
    return f"{stats.sqnr_db:.1f} dB"

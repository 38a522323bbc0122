"""Arrays in, error statistics out. What cannot be compared is refused before it is measured."""

from __future__ import annotations

import numpy as np

from suite.errors import CheckFailed
from suite.record import Stage
from suite.record.answers import ErrorStats
from suite.spec import Array

SQNR_CAP_DB = 200.0  # reads "equal to the bit"; float32 itself ends near 150 dB


def error_stats(reference: Array, actual: Array, *, scores: bool = True) -> ErrorStats:
    """Compare `actual` with `reference`, both (n, ...) and comparable (see `check_comparable`).

    Top-1 agreement is measured where `scores` says that an answer is one vector of scores.

    `cosine_similarity` is over all samples as one vector; `sqnr_db` is
    10 log10(sum reference^2 / sum (reference - actual)^2) over all samples,
    after the mean of the reference is taken off each side, so that a constant
    offset common to all scores cannot hide an error.
    """
    ref, act = (np.asarray(values, np.float64).reshape(len(values), -1) for values in (reference, actual))
    difference = np.abs(ref - act)
    worst = np.unravel_index(int(difference.argmax()), difference.shape)
    deviation = float(ref.std())
    return ErrorStats(
        n=len(ref),
        max_abs_diff=float(difference[worst]),
        max_scaled_diff=float(difference[worst]) / deviation if deviation else float(difference[worst] > 0),
        cosine_similarity=float(_cosine(ref.reshape(1, -1), act.reshape(1, -1))[0]),
        worst_sample_cosine=float(_cosine(ref, act).min()),
        sqnr_db=sqnr_db(ref - ref.mean(), act - ref.mean()),
        top1_agreement=top1_agreement(ref, act) if scores and _is_scores(reference) else None,
        worst_index=tuple(int(i) for i in (worst[0], *np.unravel_index(int(worst[1]), reference.shape[1:]))),
        worst_reference=float(ref[worst]),
        worst_actual=float(act[worst]),
    )


def sqnr_db(reference: Array, actual: Array) -> float:
    """Signal to quantisation noise ratio in dB, at most SQNR_CAP_DB."""
    signal = float(np.square(reference, dtype=np.float64).sum())
    noise = float(np.square(np.asarray(reference, np.float64) - actual).sum())
    if noise == 0:
        return SQNR_CAP_DB
    if signal == 0:
        return -SQNR_CAP_DB
    return float(np.clip(10 * np.log10(signal / noise), -SQNR_CAP_DB, SQNR_CAP_DB))


def top1_agreement(reference: Array, actual: Array) -> float:
    """Share of samples whose highest score is of the same class."""
    return float(np.mean(reference.argmax(axis=-1) == actual.argmax(axis=-1)))


def _cosine(reference: Array, actual: Array) -> Array:
    """(n,) cosine similarities; two zero vectors are alike, one alone is not."""
    norms = np.linalg.norm(reference, axis=1) * np.linalg.norm(actual, axis=1)
    products = np.einsum("ij,ij->i", reference, actual)
    both_zero = ~reference.any(axis=1) & ~actual.any(axis=1)
    cosines = np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
    return np.asarray(np.where(both_zero, 1.0, cosines))


def _is_scores(values: Array) -> bool:
    """Whether each sample's answer is a vector of at least two scores."""
    return values.ndim == 2 and values.shape[1] > 1


def check_comparable(name: str, reference: Array, actual: Array) -> None:
    """Shape, dtype kind and finiteness, in this order; CheckFailed names what was found.

    Broadcasting would compare a (2, 3) with a (3, 2); a NaN makes every
    comparison false: both are looked for before any number is computed.
    """
    if actual.shape != reference.shape:
        raise CheckFailed(
            f"output {name} has shape {actual.shape}, expected {reference.shape} as the original's: "
            "the artifact is of another model, or its output is another layer",
            stage=Stage.COMPARE,
        )
    if actual.dtype.kind != reference.dtype.kind:
        raise CheckFailed(
            f"output {name} is {actual.dtype}, expected {reference.dtype} as the original's",
            stage=Stage.COMPARE,
        )
    bad = ~np.isfinite(actual)
    if bad.any():
        raise CheckFailed(
            f"output {name} holds {int(bad.sum())} of {bad.size} values that are NaN or infinite, "
            f"first at {_first(bad)}: look for an overflow in a float16 weight "
            "or an unset quantisation range",
            stage=Stage.COMPARE,
        )
    if not np.isfinite(reference).all():
        raise CheckFailed(
            f"the original's own output {name} holds NaN or infinite values: nothing can be held to that",
            stage=Stage.BUILD,
        )


def check_varied(name: str, values: Array, whose: str) -> None:
    """Refuse answers that prove nothing: the same for every input, or all scores equal.

    Raises CheckFailed when the spread over samples, or over the scores of each
    sample, is below a millionth of the values' size.
    """
    flat = np.asarray(values, np.float64).reshape(len(values), -1)
    size = float(np.abs(flat).max())
    over_samples = float(flat.std(axis=0).max())
    within = float(flat.std(axis=1).max()) if flat.shape[1] > 1 else np.inf
    if size == 0 or over_samples <= 1e-6 * size:
        raise CheckFailed(
            f"vacuous: {whose} output {name} is the same for all {len(flat)} inputs "
            f"(largest deviation {over_samples:.1e}): any fault would pass. "
            "Give the model weights that carry signal, and inputs in its range",
            stage=Stage.COMPARE,
        )
    if within <= 1e-6 * size:
        raise CheckFailed(
            f"vacuous: every element of {whose} output {name} has the same value ({flat.flat[0]:.4g}): "
            "any fault would pass. Give the model weights that carry signal",
            stage=Stage.COMPARE,
        )


def _first(mask: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(mask)[0])


def is_probabilities(values: Array) -> bool:
    """Whether (n, k) rows are non-negative and sum to one: a softmax answered."""
    return bool(_is_scores(values) and (values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-3))


def log_scores(probabilities: Array, floor: float = 1e-7) -> Array:
    """Logits up to a constant a sample: the centred logarithm of probabilities, floored."""
    logs = np.log(np.maximum(np.asarray(probabilities, np.float64), floor))
    return np.asarray(logs - logs.mean(axis=-1, keepdims=True))

"""What an artifact answers, held to its original: number by number, by labels, and from photo to label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorStats:
    """`actual` against `reference` over one set of samples."""

    n: int
    max_abs_diff: float
    max_scaled_diff: float  # max_abs_diff / standard deviation of the reference
    cosine_similarity: float  # over all samples
    worst_sample_cosine: float  # of the sample that is worst by it
    sqnr_db: float  # over all samples; bit-equal outputs read as SQNR_CAP_DB
    top1_agreement: float | None  # None where the output is not a vector of scores
    worst_index: tuple[int, ...] = ()  # (sample, element...) of max_abs_diff
    worst_reference: float = 0.0
    worst_actual: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """What rounding to the artifact's precision costs the original, and the artifact on the same samples."""

    n: int
    sqnr_db: float  # of the rounded original
    cosine_similarity: float
    top1_agreement: float | None  # None where the output is not a vector of scores
    measured_db: float  # of the artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The artifact held to the original on identical tensors."""

    scale: str  # what was compared: "outputs", "log_probabilities"
    real: ErrorStats
    generated: ErrorStats
    worst_pattern: str  # the generated input with the largest difference
    tolerance: Mapping[str, float | str | None]
    max_steps: float | None = None  # largest difference in quantisation steps, where outputs are 8-bit
    floor: Floor | None = None  # on real inputs
    generated_floor: Floor | None = None
    no_floor: str = ""  # why there is none
    float32_diff: float | None = None  # of the original itself to float64, scaled; where that is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Top-k accuracy on labelled samples, and the paired difference to the reference."""

    n: int
    dataset: str
    dataset_sha256: str
    top1: float
    top1_interval: tuple[float, float]  # 95 %, Wilson
    top5: float | None
    reference_top1: float
    reference_top5: float | None
    drop: float  # reference_top1 - top1, on the same samples
    drop_interval: tuple[float, float]  # 95 %, Agresti-Min for matched pairs
    max_drop: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """From photo to label: an app that does what the artifact tells, beside the reference pipeline."""

    photos: int
    max_pixel_diff: (
        float | None
    )  # of prepared tensors, in steps of 0..255; None where they cannot be compared
    labels: int  # that the artifact names
    same_label: float | None  # share of the photos; None where either side names no scores
    wrong: tuple[str, ...] = ()  # what the artifact tells wrongly
    gaps: tuple[str, ...] = ()  # what it leaves open
    in_words: tuple[str, ...] = ()  # what stands in a description alone: the format has no field for it
    float16: bool = False  # the artifact keeps scale and bias in float16, which rounds more

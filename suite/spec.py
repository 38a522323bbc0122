"""What to check: models, their inputs, variants, targets, tolerances. Plain data, no vendor library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from suite.record import Check, Status

    FloatArray = npt.NDArray[np.float32]
    Array = npt.NDArray[Any]
else:  # a gate has a thousand records to read in the time that importing NumPy takes
    FloatArray = Array = Any


# --- variants and targets ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class Variant:
    """A precision and a format that phones run."""

    name: str
    format: str  # "tflite" or "coreml"
    suffix: str  # of the artifact's file name
    quantised: bool  # weights or activations are integers
    calibrated: bool  # activation ranges come from sample inputs


def _tflite(name: str, *, quantised: bool = True, calibrated: bool = False) -> Variant:
    return Variant(name, "tflite", ".tflite", quantised, calibrated)


def _coreml(name: str, *, quantised: bool = False, suffix: str = ".mlpackage") -> Variant:
    return Variant(name, "coreml", suffix, quantised, calibrated=False)


VARIANTS: Mapping[str, Variant] = {
    variant.name: variant
    for variant in (
        _tflite("float32", quantised=False),
        _tflite("float16", quantised=False),
        _tflite("dynamic_int8"),
        _tflite("int8", calibrated=True),
        _tflite("int8_io", calibrated=True),
        _tflite("int16x8", calibrated=True),
        _coreml("mlprogram_float32"),
        _coreml("mlprogram_float16"),
        _coreml("mlprogram_int8_weights", quantised=True),
        _coreml("mlprogram_palettized_6bit", quantised=True),
        _coreml("neuralnetwork", suffix=".mlmodel"),
    )
}

TFLITE = tuple(name for name, variant in VARIANTS.items() if variant.format == "tflite")
COREML = tuple(name for name, variant in VARIANTS.items() if variant.format == "coreml")

# The Core ML specification version that each iOS reads at most; newer systems read older versions.
DEPLOYMENT_TARGETS: Mapping[str, int] = {
    "iOS13": 4,
    "iOS14": 5,
    "iOS15": 6,
    "iOS16": 7,
    "iOS17": 8,
    "iOS18": 9,
    "iOS26": 10,
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where an artifact runs: a place and the engine there, `host/litert-xnnpack`."""

    place: str  # "host", "android:<serial>"
    engine: str

    def __str__(self) -> str:
        return f"{self.place}/{self.engine}"

    @property
    def on_ios(self) -> bool:
        """Whether it is an iPhone or iPad."""
        return self.place.startswith("ios")

    @property
    def on_android(self) -> bool:
        """Whether it is a phone over adb."""
        return self.place.startswith("android:")


# --- inputs -----------------------------------------------------------------


class Resize(StrEnum):
    """How a photo becomes the model's height and width."""

    SQUASH = "squash"  # both axes scaled on their own; the aspect ratio is lost
    CENTRE_CROP = "centre_crop"  # the largest centred box of the model's aspect ratio, then scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """`x = pixel * scale + bias` per channel, in the model's channel order; pixels are 0..255."""

    name: str
    scale: tuple[float, float, float]
    bias: tuple[float, float, float]
    channel_order: str  # of the model's input: "RGB" or "BGR"


_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_STD = (0.229, 0.224, 0.225)

# The modes of keras.applications.imagenet_utils.preprocess_input, and two more.
PREPROCESSING: Mapping[str, Preprocessing] = {
    mode.name: mode
    for mode in (
        Preprocessing(name="none", scale=(1.0,) * 3, bias=(0.0,) * 3, channel_order="RGB"),
        Preprocessing(name="unit", scale=(1 / 255,) * 3, bias=(0.0,) * 3, channel_order="RGB"),
        Preprocessing(name="tf", scale=(1 / 127.5,) * 3, bias=(-1.0,) * 3, channel_order="RGB"),
        Preprocessing(
            name="torch",
            scale=(1 / (255 * _TORCH_STD[0]), 1 / (255 * _TORCH_STD[1]), 1 / (255 * _TORCH_STD[2])),
            bias=(
                -_TORCH_MEAN[0] / _TORCH_STD[0],
                -_TORCH_MEAN[1] / _TORCH_STD[1],
                -_TORCH_MEAN[2] / _TORCH_STD[2],
            ),
            channel_order="RGB",
        ),
        Preprocessing(
            name="caffe", scale=(1.0,) * 3, bias=(-103.939, -116.779, -123.68), channel_order="BGR"
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """The contract between a photo and the model's one image input.

    `preprocessing` is a name in PREPROCESSING or a Preprocessing of one's own.
    `channels` is 3, or 1 for models of grey images (ITU-R 601 luma of the photo).
    """

    height: int
    width: int
    channels: int = 3
    preprocessing: str | Preprocessing = "none"
    resize: Resize = Resize.SQUASH
    interpolation: str = "bilinear"  # or "nearest", "bicubic"

    @property
    def mode(self) -> Preprocessing:
        """The preprocessing itself, whether named or given."""
        if isinstance(self.preprocessing, Preprocessing):
            return self.preprocessing
        return PREPROCESSING[self.preprocessing]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInput:
    """An input that is fed as it is: values between `low` and `high`, no image contract."""

    low: float = 0.0
    high: float = 1.0


# --- data -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Some samples of a data set.

    `images`: uint8 photos (n, height, width, 3), a list of such photos where
    their sizes differ, or float tensors as the model takes them.
    `labels`: (n,) int64, or None where there are none.
    """

    images: Any
    labels: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.images)


class Dataset(Protocol):
    """Real samples."""

    @property
    def name(self) -> str:
        """What a report calls it."""
        ...

    @property
    def photos(self) -> bool:
        """Whether the samples are uint8 RGB photos; else they are tensors as the model takes them."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all labels, in order; empty where nothing names them."""
        ...

    def calibration(self, count: int) -> Samples:
        """Samples that quantisation may look at; never among the evaluation ones."""
        ...

    def evaluation(self) -> Samples:
        """Held-out samples."""
        ...

    def sha256(self) -> str:
        """Hash of every sample and label."""
        ...


# --- tolerances and budgets -------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Bounds on parity; None leaves a measure unbounded.

    The `generated_` bounds hold for generated inputs (extremes, noise, ...),
    where a calibrated range does not apply. `floor_margin_db` is how far SQNR
    may lie below the noise floor, `min_floor_db` and `min_floor_agreement` how
    low that may be at all, `generated_floor_margin_db` the margin on generated
    inputs. An override states its `reason`. `stated` names the bounds that
    someone moved or confirmed, which no noise floor lowers; `suite.thresholds`
    fills it in.
    """

    max_scaled_diff: float | None = None
    min_cosine: float | None = None
    min_sqnr_db: float | None = None
    min_top1_agreement: float | None = None
    generated_min_cosine: float | None = None
    generated_min_sqnr_db: float | None = None
    floor_margin_db: float | None = None
    min_floor_db: float | None = None
    min_floor_agreement: float | None = None
    generated_floor_margin_db: float | None = None
    source: str = ""
    reason: str = ""
    stated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Bounds on what an artifact may cost; None leaves a cost unbounded. `stated` as of a Tolerance."""

    max_accuracy_drop: float | None = None  # paired, as a fraction
    max_contract_gaps: int | None = None  # what an artifact leaves an app to guess; 0 demands metadata
    max_bytes_per_parameter: float | None = None
    max_bytes: int | None = None
    max_p50_ms: float | None = None
    max_peak_bytes: int | None = None
    min_processed_fps: float | None = None  # behind a camera of 30 fps, in the better of two schemes
    reason: str = ""
    stated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedFailure:
    """A failure that is known and accepted; strict: if it passes, that is an error.

    `check` and `target` are patterns. Accepted is a missed bound, of whatever
    size: a budget or a tolerance with its reason says more. With `status`
    "unsupported" it is a runtime's word that it cannot run the artifact. What
    is worse (NaN, answers of another shape, an error) fails all the same; but
    for `check` "*", an artifact that cannot be converted at all.

    ValueError without a reason, or without an owner, who mends it or decides.
    """

    variant: str
    check: Check | str
    reason: str
    owner: str
    target: str = "*"
    status: Status | str = "failed"  # or "unsupported"

    def __post_init__(self) -> None:
        missing = [name for name in ("reason", "owner") if not getattr(self, name).strip()]
        if missing:
            raise ValueError(
                f"the expected failure {self.variant}/{self.check} has no {' and no '.join(missing)}: "
                "say why it is accepted, and who mends it or decides"
            )


# --- models -----------------------------------------------------------------

PUBLISHED = "published"  # what weights are called that are not the offline ones


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model: how to build it, what it takes, what it answers, how close a copy must come.

    `build(weights)` returns a keras.Model whose answer is scores (logits where
    it can be had); it imports Keras itself, so that reading a fixture is cheap.
    `weights` is the value of `--weights`.
    """

    name: str = ""  # the file's stem where empty
    build: Callable[[str], Any] | None = None
    file: Path | None = None  # a saved model, in place of `build`
    input: ImageInput | TensorInput = field(default_factory=TensorInput)
    labels: tuple[str, ...] = ()  # of the answer's last axis; the data set's classes where empty
    dataset: Callable[[], Dataset] | None = None
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)  # by variant
    budgets: Mapping[str, Budget] = field(default_factory=dict)  # by variant
    expected_failures: tuple[ExpectedFailure, ...] = ()
    profiles: tuple[str, ...] = ("default", "full")
    gmacs: float = 0.0  # billions of multiply-adds of an inference: with -n, long work is begun first
    weights: str = "as built"  # what `--weights offline` gives: "trained", "conditioned"
    files: tuple[Path, ...] = ()  # read by `build` in ways Python cannot see; part of the cache key
    path: Path | None = None  # of the fixture; set by discovery
    notes: tuple[str, ...] = ()  # what a reader of the report must know

    @property
    def is_published(self) -> bool:
        """Whether its weights are the published ones, which know other classes than its data set may."""
        return self.weights == PUBLISHED

    def published(self) -> ModelSpec:
        """The model under published weights: without what is stated of the answers of the offline ones."""
        budgets = {
            variant: replace(budget, max_accuracy_drop=None) for variant, budget in self.budgets.items()
        }
        return replace(self, tolerances={}, budgets=budgets, expected_failures=(), weights=PUBLISHED)

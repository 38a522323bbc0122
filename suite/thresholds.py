"""What is allowed: the bounds of each variant, where they come from, and who may move them.

From weakest to strongest: the defaults here, `[tool.pocketproof.thresholds.VARIANT]`
of a pyproject.toml, what the model's fixture states, and
`[tool.pocketproof.models.MODEL.VARIANT]`. Whoever moves the bound of one model
gives a `reason`, which the report shows beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from suite.errors import UsageError
from suite.record.answers import Floor
from suite.spec import Budget, Tolerance

Bound = float | int | None

FEWEST_SAMPLES = 64  # real ones that parity rests on at least
AGREEMENT_MARGIN = 0.03  # of 32 samples one, by which two kinds of rounding may part
UNBOUNDED = "unbounded"  # how a file says None, which TOML lacks
_WORDS = ("source", "reason")
_NO_BOUNDS = (*_WORDS, "stated")
TOLERANCE_BOUNDS = tuple(item.name for item in fields(Tolerance) if item.name not in _NO_BOUNDS)
BUDGET_BOUNDS = tuple(item.name for item in fields(Budget) if item.name not in _NO_BOUNDS)
BOUNDS = (*TOLERANCE_BOUNDS, *BUDGET_BOUNDS)

# What a bound can be at all; outside of it someone meant another unit (98 for 0.98).
_RANGES: Mapping[str, tuple[float, float]] = {
    "min_cosine": (-1.0, 1.0),
    "generated_min_cosine": (-1.0, 1.0),
    "min_top1_agreement": (0.0, 1.0),
    "min_sqnr_db": (-math.inf, math.inf),
    "generated_min_sqnr_db": (-math.inf, math.inf),
    "min_floor_db": (-math.inf, math.inf),
    "min_floor_agreement": (0.0, 1.0),
    "max_accuracy_drop": (-1.0, 1.0),
}

FLOOR_MARGIN_DB = 3.0  # twice the noise of rounding; good conversions lie a dB below at most
# Of float32, whose kernels add up in orders of their own: how much farther from float64 an artifact may be
# than the original is, and what of the published bound that can be at most. LiteRT's XNNPACK is 3.2 times as
# far as Keras in densenet121, 4.8 times in mobilenet_v3_small, 1.7 times in nasnet_mobile.
FLOAT32_ROOM = 8.0
FLOAT32_MOST = 10.0
MIN_FLOOR_DB = 0.0  # where noise is as large as the signal
MIN_FLOOR_AGREEMENT = 0.8  # of the ten bundled nets the least is 0.906 (densenet121 in int8), then 0.938

_FLOAT32 = Tolerance(
    max_scaled_diff=1e-4,
    min_cosine=0.9999,
    min_sqnr_db=80.0,
    min_top1_agreement=0.99,
    generated_min_cosine=0.9999,
    generated_min_sqnr_db=60.0,
    source="LiteRT's accelerator tests hold float32 to atol 1e-4, rtol 1e-4",
)
_FLOAT16 = Tolerance(
    min_cosine=0.999,
    min_sqnr_db=30.0,
    min_top1_agreement=0.97,
    generated_min_cosine=0.99,
    generated_min_sqnr_db=20.0,
    floor_margin_db=FLOOR_MARGIN_DB,
    min_floor_db=MIN_FLOOR_DB,
    min_floor_agreement=MIN_FLOOR_AGREEMENT,
    generated_floor_margin_db=FLOOR_MARGIN_DB,
    source="LiteRT's accelerator tests hold float16 convolutions to rtol 5e-3; 30 dB is that over a deep net",
)
_DYNAMIC = Tolerance(
    min_cosine=0.997,
    min_sqnr_db=20.0,
    min_top1_agreement=0.95,
    generated_min_cosine=0.5,
    floor_margin_db=FLOOR_MARGIN_DB,
    min_floor_db=MIN_FLOOR_DB,
    min_floor_agreement=MIN_FLOOR_AGREEMENT,
    generated_floor_margin_db=FLOOR_MARGIN_DB,
    source="Polygraphy holds int8 weights to cosine 0.997 and an SNR of 20 dB",
)
_INT8 = Tolerance(
    min_cosine=0.99,
    min_sqnr_db=20.0,
    min_top1_agreement=0.98,
    generated_min_cosine=0.5,
    floor_margin_db=FLOOR_MARGIN_DB,
    min_floor_db=MIN_FLOOR_DB,
    min_floor_agreement=MIN_FLOOR_AGREEMENT,
    generated_floor_margin_db=FLOOR_MARGIN_DB,
    source="full int8 against float in use: cosine 0.99, SQNR 20 dB, top-1 agreement 98 %",
)

# Core ML. The evaluator rounds as the artifact declares, so the bounds are those of the same precision.
_MLPROGRAM_FLOAT32 = replace(
    _FLOAT32, min_cosine=0.99999, source="coremltools' validation holds float32 to atol 1e-4, rtol 1e-5"
)
_MLPROGRAM_FLOAT16 = replace(_FLOAT16, source="as float16 of TFLite; coremltools' own tests: SNR 20 dB")
_MLPROGRAM_INT8 = replace(_DYNAMIC, source="as dynamic_int8: int8 weights, float16 arithmetic")
_PALETTIZED = replace(
    _DYNAMIC,
    min_cosine=0.99,
    min_sqnr_db=15.0,
    floor_margin_db=None,  # a palette is no rounding
    min_floor_db=None,
    min_floor_agreement=None,
    generated_floor_margin_db=None,
    source="64 values a tensor; coremltools' guide: palettization without training works well from 6 bits",
)

TOLERANCES: Mapping[str, Tolerance] = {
    "float32": _FLOAT32,
    "float16": _FLOAT16,
    "dynamic_int8": _DYNAMIC,
    "int8": _INT8,
    "int8_io": _INT8,
    "int16x8": _DYNAMIC,
    "mlprogram_float32": _MLPROGRAM_FLOAT32,
    "mlprogram_float16": _MLPROGRAM_FLOAT16,
    "mlprogram_int8_weights": _MLPROGRAM_INT8,
    "mlprogram_palettized_6bit": _PALETTIZED,
    "neuralnetwork": _MLPROGRAM_FLOAT32,
}

# Accuracy: MLPerf Mobile accepts a classifier at 98 % of its float32 accuracy.
# Bytes per parameter: the width of a weight, and an eighth to a half more for scales and the like.
# p50: the slowest of TensorFlow's published table, Inception v3 on one core of a Pixel 2, takes
# 1130 ms; 16-bit activations have no optimised kernels. Memory: a quarter, and an eighth, of the
# 2 GB of an entry-level phone. Latency and memory are generous on purpose: they catch disasters on
# any machine, and an engineer sets the model's own in its fixture or in pyproject.toml.
_FLOAT_COST = Budget(max_p50_ms=1500.0, max_peak_bytes=512_000_000)
_INT_COST = Budget(
    max_accuracy_drop=0.02, max_bytes_per_parameter=1.5, max_p50_ms=1500.0, max_peak_bytes=256_000_000
)

BUDGETS: Mapping[str, Budget] = {
    "float32": replace(_FLOAT_COST, max_accuracy_drop=0.005, max_bytes_per_parameter=4.5),
    "float16": replace(_FLOAT_COST, max_accuracy_drop=0.01, max_bytes_per_parameter=2.5),
    "dynamic_int8": _INT_COST,
    "int8": _INT_COST,
    "int8_io": _INT_COST,
    "int16x8": replace(_INT_COST, max_p50_ms=15_000.0),
    "mlprogram_float32": replace(_FLOAT_COST, max_accuracy_drop=0.005, max_bytes_per_parameter=4.5),
    "mlprogram_float16": replace(_FLOAT_COST, max_accuracy_drop=0.01, max_bytes_per_parameter=2.5),
    "mlprogram_int8_weights": _INT_COST,
    "mlprogram_palettized_6bit": replace(_INT_COST, max_bytes_per_parameter=1.0),
    "neuralnetwork": replace(_FLOAT_COST, max_accuracy_drop=0.005, max_bytes_per_parameter=4.5),
}

DEFAULTS: Mapping[str, tuple[Tolerance, Budget]] = {
    variant: (tolerance, BUDGETS[variant]) for variant, tolerance in TOLERANCES.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineTolerance:
    """How far a run may fall behind its baseline, a run of the same machine; None leaves it unbounded.

    The ratio of p50 is held by its whole interval. 10 %: what finished runs of
    one machine can tell apart (C. Laaber, J. Scheuner, P. Leitner, "Software
    microbenchmarking in the cloud. How bad is it really?", Empirical Software
    Engineering 24, 2019); less is for an interleaved comparison. Converters
    write the same weights again, so sizes may differ by metadata alone. 1 dB of
    SQNR is a sixth of a bit. Half a point of accuracy is the float32 budget.
    Answered frames behind a camera are as many as latency lets them be.
    """

    max_p50_ratio: float | None = 1.10
    max_size_ratio: float | None = 1.01
    max_peak_ratio: float | None = 1.10
    max_sqnr_drop_db: float | None = 1.0
    max_top1_drop: float | None = 0.005
    min_fps_ratio: float | None = 0.90


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The bounds in force, for any model and variant.

    `variants` are the bounds of each variant, and `models` what a pyproject.toml
    says of (model, variant), checked. `origin` names the file, for messages.
    """

    variants: Mapping[str, tuple[Tolerance, Budget]] = field(default_factory=lambda: dict(DEFAULTS))
    models: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    origin: str = "the defaults"
    baseline: BaselineTolerance = field(default_factory=BaselineTolerance)

    @classmethod
    def load(cls, pyproject: Path | str | None = None) -> Thresholds:
        """Read the overrides of a pyproject.toml; None gives the defaults alone.

        Raises UsageError for a file that cannot be read, an unknown variant or
        bound (with the nearest known one), a value of the wrong kind, or a
        model's override without a reason.
        """
        if pyproject is None:
            return cls()
        tables = _read_tables(Path(pyproject))
        origin = str(pyproject)
        _known(tables, ("thresholds", "models", "baseline"), f"{origin}: [tool.pocketproof]", "table")
        return cls(
            _read_variants(tables, origin),
            _read_models(tables, origin),
            origin,
            _read_baseline(tables, origin),
        )

    def resolve(
        self, model: str, variant: str, override: Mapping[str, Any] | None = None
    ) -> tuple[Tolerance, Budget]:
        """Bounds for one model and variant; `override` is what the model's fixture states.

        Raises UsageError for an unknown variant, and for an override that is
        unknown or has no reason.
        """
        _known((variant,), self.variants, f"{model}/{variant}", "variant")
        tolerance, budget = self.variants[variant]
        if override:
            checked = _read_bounds(override, f"the fixture of {model}, {variant}", reason_needed=True)
            tolerance, budget = _apply(tolerance, budget, checked, self.origin, of_model=True)
        if table := self.models.get((model, variant)):
            tolerance, budget = _apply(tolerance, budget, table, self.origin, of_model=True)
        return tolerance, budget

    def misspelt(self, models: Iterable[str]) -> list[str]:
        """Warnings for overrides of a model that is not among `models` but close to one of them."""
        present = sorted(set(models))
        warnings = []
        for model in sorted({model for model, _ in self.models} - set(present)):
            if near := _nearest(model, present, 0.8):
                warnings.append(
                    f"{self.origin} has thresholds for {model!r}, which is not in this run; "
                    f"was {near[0]!r} meant?"
                )
        return warnings


def beside(
    tolerance: Tolerance,
    floor: Floor | None,
    generated: Floor | None = None,
    float32_diff: float | None = None,
) -> Tolerance:
    """The bounds in force where the noise floor is known: no tighter than what rounding alone explains.

    A net that amplifies rounding cannot reach the published bounds however well
    it is converted: it is held to its floor, SQNR and cosine `floor_margin_db`
    below, top-1 agreement AGREEMENT_MARGIN below. That a shallow net is held to
    its floor too, above the published bounds, is a gate of its own. On generated
    inputs alike. In float32 the largest difference may be FLOAT32_ROOM times
    what the original's own arithmetic makes. A bound that someone stated stands
    as it is: whoever stated it knew the model.
    """
    if float32_diff is not None and may_be_rounding(tolerance):
        least = tolerance.max_scaled_diff or 0.0
        most = min(FLOAT32_ROOM * float32_diff, FLOAT32_MOST * least)
        tolerance = replace(tolerance, max_scaled_diff=max(least, most))
    if floor is None and generated is None:
        return tolerance
    explained = {
        **_explained_by(floor, tolerance.floor_margin_db),
        **{
            f"generated_{name}": value
            for name, value in _explained_by(generated, tolerance.generated_floor_margin_db).items()
        },
    }
    lowered: dict[str, Any] = {
        name: min(published, explained[name])
        for name in sorted(explained.keys() - set(tolerance.stated))
        if (published := getattr(tolerance, name, None)) is not None
    }
    return replace(tolerance, **lowered)


def may_be_rounding(tolerance: Tolerance, scaled_diff: float | None = None) -> bool:
    """Whether a largest difference beyond its bound may be what float32 arithmetic itself makes."""
    limit = tolerance.max_scaled_diff
    if limit is None or "max_scaled_diff" in tolerance.stated:
        return False
    return scaled_diff is None or limit < scaled_diff <= FLOAT32_MOST * limit


def _explained_by(floor: Floor | None, margin_db: float | None) -> dict[str, float]:
    """What is left of each measure so far below a floor; nothing where there is none."""
    if floor is None or margin_db is None:
        return {}
    found = {
        "min_sqnr_db": floor.sqnr_db - margin_db,
        "min_cosine": _explained(floor.cosine_similarity, margin_db),
    }
    if floor.top1_agreement is not None:
        found["min_top1_agreement"] = floor.top1_agreement - AGREEMENT_MARGIN
    return found


def _explained(cosine: float, margin_db: float) -> float:
    """The cosine similarity where the noise is so much larger."""
    return 1 - (1 - cosine) * float(10 ** (margin_db / 10))


def _apply(
    tolerance: Tolerance, budget: Budget, table: Mapping[str, Any], origin: str, *, of_model: bool = False
) -> tuple[Tolerance, Budget]:
    """Lay checked values over bounds; words go where a bound was moved.

    A bound of one model is stated even where it repeats the variant's; one of a
    variant is where it was moved, for files list the defaults too.
    """
    reason = str(table.get("reason", ""))
    moved = {name: table[name] for name in TOLERANCE_BOUNDS if name in table}
    spent = {name: table[name] for name in BUDGET_BOUNDS if name in table}
    tolerance = replace(tolerance, stated=_stated(tolerance, moved, of_model))
    budget = replace(budget, stated=_stated(budget, spent, of_model))
    if any(value != getattr(tolerance, name) for name, value in moved.items()):
        source = str(table.get("source", "")) or (tolerance.source if reason else origin)
        tolerance = replace(tolerance, **moved, source=source, reason=reason or tolerance.reason)
    if any(value != getattr(budget, name) for name, value in spent.items()):
        budget = replace(budget, **spent, reason=reason or budget.reason)
    return tolerance, budget


def _stated(bounds: Tolerance | Budget, laid: Mapping[str, Any], of_model: bool) -> tuple[str, ...]:
    """The names that someone stated, with those of values that are laid over the bounds."""
    moved = (name for name, value in laid.items() if of_model or value != getattr(bounds, name))
    return tuple(sorted({*bounds.stated, *moved}))


# --- reading ----------------------------------------------------------------


def _read_tables(path: Path) -> Mapping[str, Any]:
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot read the thresholds: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    tool = _table(document.get("tool", {}), f"{path}: [tool]")
    return _table(tool.get("pocketproof", {}), f"{path}: [tool.pocketproof]")


def _read_variants(tables: Mapping[str, Any], origin: str) -> dict[str, tuple[Tolerance, Budget]]:
    root = f"{origin}: [tool.pocketproof.thresholds]"
    thresholds = _table(tables.get("thresholds", {}), root)
    _known(thresholds, DEFAULTS, root, "variant")
    variants = dict(DEFAULTS)
    for variant, table in thresholds.items():
        checked = _read_bounds(table, f"{origin}: [tool.pocketproof.thresholds.{variant}]")
        variants[variant] = _apply(*variants[variant], checked, origin)
    return variants


def _read_models(tables: Mapping[str, Any], origin: str) -> dict[tuple[str, str], Mapping[str, Any]]:
    read: dict[tuple[str, str], Mapping[str, Any]] = {}
    root = f"{origin}: [tool.pocketproof.models"
    for model, variants in _table(tables.get("models", {}), f"{root}]").items():
        _known(_table(variants, f"{root}.{model}]"), DEFAULTS, f"{root}.{model}]", "variant")
        for variant, table in variants.items():
            read[model, variant] = _read_bounds(table, f"{root}.{model}.{variant}]", reason_needed=True)
    return read


def _read_baseline(tables: Mapping[str, Any], origin: str) -> BaselineTolerance:
    where = f"{origin}: [tool.pocketproof.baseline]"
    values = _table(tables.get("baseline", {}), where)
    _known(values, [item.name for item in fields(BaselineTolerance)], where, "threshold")
    return BaselineTolerance(**{name: _bound(name, value, where) for name, value in values.items()})


def _read_bounds(table: object, where: str, *, reason_needed: bool = False) -> dict[str, Any]:
    values = _table(table, where)
    _known(values, (*BOUNDS, *_WORDS), where, "threshold")
    for word in _WORDS:
        if not isinstance(values.get(word, ""), str):
            raise UsageError(f"{where}: {word} is {values[word]!r}, expected text")
    if reason_needed and not str(values.get("reason", "")).strip():
        raise UsageError(f'{where}: moves a threshold without a reason; add reason = "why this is right"')
    return {name: value if name in _WORDS else _bound(name, value, where) for name, value in values.items()}


def _bound(name: str, value: object, where: str) -> Bound:
    if value is None or value == UNBOUNDED:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f'{where}: {name} is {value!r}, expected a number or "{UNBOUNDED}"')
    low, high = _RANGES.get(name, (0.0, math.inf))
    if not low <= value <= high:
        raise UsageError(f"{where}: {name} is {value!r}, expected a value from {low:g} to {high:g}")
    return value


def _table(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: found {value!r}, expected a table")
    return value


def _known(names: Iterable[str], valid: Iterable[str], where: str, kind: str) -> None:
    """UsageError at the first name that is not valid, with the nearest that is."""
    choices = tuple(valid)
    for name in names:
        if name not in choices:
            near = _nearest(name, choices, 0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(choices)}"
            raise UsageError(f"{where}: unknown {kind} {name!r}; {hint}")


def _nearest(name: str, choices: Sequence[str], cutoff: float) -> list[str]:
    """The one that was meant, if any is close."""
    import difflib

    return difflib.get_close_matches(name, choices, 1, cutoff)

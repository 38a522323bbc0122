"""The noise floor: good conversions lie at it, planted faults below it, and it moves with the net."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suite import floor as floor_module
from suite import parity
from suite.converters import rounding
from suite.errors import CaseError
from suite.faults import FAULTS
from suite.floor import GENERATED, RECIPES, SAMPLES, Floors
from suite.gates import check_floor, check_generated_floor, check_parity
from suite.record import Stage
from suite.record.answers import ErrorStats, Floor, Parity
from suite.runtimes import Pool, open_session
from suite.spec import TFLITE, VARIANTS, Tolerance
from suite.thresholds import TOLERANCES, Thresholds, beside, may_be_rounding
from tests.meta.conftest import Subject

ROUNDED = tuple(variant for variant in TFLITE if variant in RECIPES)


@pytest.fixture(scope="module")
def floors(classifier: Subject, tensorflow: Pool, tmp_path_factory: pytest.TempPathFactory) -> Floors:
    scratch = tmp_path_factory.mktemp("scratch")
    return Floors(classifier.original, classifier.feeds, classifier.cache, tensorflow, scratch, 1)


def seen(floors: Floors, variant: str, path: Path) -> tuple[Floor, Floor]:
    """The floors of a variant beside the error of the artifact at `path`, on real and generated samples."""
    real, made = floors.feeds.evaluation().first(SAMPLES), floors.feeds.generated().first(GENERATED)
    worker = floors.pool.worker("LiteRT")
    with open_session("litert-xnnpack", path, threads=1, worker=worker) as session:
        actual = session.run_many(real.arrays), session.run_many(made.arrays)
    reference = floors.original.answers(real), floors.original.answers(made)
    found = floors.beside(VARIANTS[variant], reference, actual)
    assert not isinstance(found, str), found
    return found


@pytest.mark.parametrize("variant", ROUNDED)
def test_a_good_conversion_lies_at_the_floor(floors: Floors, classifier: Subject, variant: str) -> None:
    found = seen(floors, variant, classifier.artifact(variant))
    assert [one.n for one in found] == [SAMPLES, GENERATED]
    assert check_floor(found[0], TOLERANCES[variant]) == []
    assert check_generated_floor(found[1], TOLERANCES[variant]) == []
    for one in found:
        assert one.sqnr_db < 90  # rounding does cost something
        assert abs(one.measured_db - one.sqnr_db) < 12  # and it is of the size that is measured


@pytest.mark.parametrize(
    "fault", ["layer_zeroed", "other_checkpoint", "channel_scale_wrong", "layer_transposed"]
)
@pytest.mark.parametrize("variant", ["dynamic_int8", "int8"])
def test_a_planted_fault_lies_below_the_floor(
    floors: Floors, classifier: Subject, tmp_path: Path, fault: str, variant: str
) -> None:
    (planted,) = [one for one in FAULTS if one.name == fault]
    assert planted.alter is not None
    path = tmp_path / "faulty.tflite"
    path.write_bytes(planted.alter(classifier.artifact(variant).read_bytes()))
    real, made = seen(floors, variant, path)
    (finding,) = check_floor(real, TOLERANCES[variant])
    assert "below that" in finding.message
    if variant == "dynamic_int8":  # a calibrated range cuts generated inputs, which hides what else is wrong
        (finding,) = check_generated_floor(made, TOLERANCES[variant])
        assert f"the first {GENERATED} generated inputs" in finding.message


def test_a_program_in_float16_answers_in_float16(floors: Floors) -> None:
    """Small probabilities lose most of their bits there: their logarithms are compared."""

    def off(variant: str) -> float:
        (values,) = floors.rounded(VARIANTS[variant], floors.feeds.evaluation().first(SAMPLES)).values()  # type: ignore[union-attr]
        return float(np.abs(values - values.astype(np.float16)).max())

    assert off("mlprogram_float16") == 0
    assert off("float16") > 0  # TFLite stores weights so, and answers in float32


def test_answers_and_ranges_are_computed_once(floors: Floors, monkeypatch: pytest.MonkeyPatch) -> None:
    first = floors.answers(VARIANTS["int8"])
    assert not isinstance(first, str)

    def again(*_: object) -> None:
        raise AssertionError("computed anew")

    monkeypatch.setattr(Floors, "_run", again)
    second = floors.answers(VARIANTS["int8"])
    assert not isinstance(second, str)
    for before, after in zip(first, second, strict=True):
        assert all(np.array_equal(before[name], after[name]) for name in before)


def test_ranges_hold_every_activation_and_the_input(floors: Floors) -> None:
    found = floors.ranges()
    seen_ones = found[np.isfinite(found).all(axis=1)]
    assert len(seen_ones) >= 5  # the input and four layers
    assert (seen_ones[:, 0] <= seen_ones[:, 1]).all()


def test_a_conversion_that_leaves_the_original_has_no_floor(
    floors: Floors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floor_module, "FAITHFUL_DB", 500.0)
    found = floors.answers(VARIANTS["int8"])
    assert isinstance(found, str)
    assert "the float32 conversion itself answers at" in found


def test_what_is_not_simulated_says_why(floors: Floors) -> None:
    assert "own precision" in str(floors.beside(VARIANTS["float32"], ({}, {}), ({}, {})))
    assert "palette" in str(floors.beside(VARIANTS["mlprogram_palettized_6bit"], ({}, {}), ({}, {})))


# --- the gate -----------------------------------------------------------------------------


def stats(sqnr_db: float) -> ErrorStats:
    """Errors of that size, cosine and agreement with it."""
    cosine = 1 - 10 ** (-sqnr_db / 10) / 2
    return ErrorStats(
        n=240,
        max_abs_diff=0.1,
        max_scaled_diff=0.1,
        cosine_similarity=cosine,
        worst_sample_cosine=cosine,
        sqnr_db=sqnr_db,
        top1_agreement=0.95 if sqnr_db < 15 else 0.99,
    )


def judged(measured_db: float, floor_db: float) -> list[str]:
    """What the gate says of an int8 artifact of that SQNR, over a floor."""
    rounded = stats(floor_db)
    floor = Floor(
        n=64,
        sqnr_db=floor_db,
        cosine_similarity=rounded.cosine_similarity,
        top1_agreement=rounded.top1_agreement,
        measured_db=measured_db,
    )
    found = Parity(
        scale="outputs",
        real=stats(measured_db),
        generated=stats(20),
        worst_pattern="x",
        tolerance={},
        floor=floor,
    )
    return [one.message for one in check_parity(found, TOLERANCES["int8"])]


def test_a_deep_net_needs_no_loosened_tolerance_and_a_shallow_one_gets_a_tight_one() -> None:
    assert judged(measured_db=11.5, floor_db=12) == []  # below the published 20 dB
    assert judged(measured_db=40, floor_db=42) == []
    assert any("first 64 real inputs" in one for one in judged(measured_db=30, floor_db=42))
    assert judged(measured_db=6, floor_db=12)


def test_rounding_that_takes_the_answers_apart_fails_whatever_is_measured() -> None:
    (found,) = judged(measured_db=-1, floor_db=-1)
    assert "noise floor in dB" in found


def agreeing(floor: float, measured: float, tolerance: Tolerance) -> list[str]:
    """What the gate says of an unlabelled net's int8 artifact that agrees on so much; its SQNR is good."""
    low = replace(stats(12), top1_agreement=measured)
    rounded = Floor(
        n=32, sqnr_db=12, cosine_similarity=low.cosine_similarity, top1_agreement=floor, measured_db=12
    )
    found = Parity(
        scale="outputs", real=low, generated=stats(20), worst_pattern="x", tolerance={}, floor=rounded
    )
    return [one.message for one in check_parity(found, tolerance)]


def test_a_floor_that_agrees_on_little_vouches_for_no_artifact() -> None:
    """Without labels there is no accuracy: agreement is all that is known of the answers."""
    (found,) = agreeing(0.63, 0.61, TOLERANCES["int8"])
    assert "top-1 agreement of the noise floor" in found
    assert "wider precision" in found
    assert agreeing(0.906, 0.933, TOLERANCES["int8"]) == []  # densenet121, as it is measured
    (found,) = agreeing(0.906, 0.87, TOLERANCES["int8"])
    assert "top-1 agreement on real inputs" in found


def test_no_floor_lowers_a_bound_that_someone_stated(tmp_path: Path) -> None:
    """Whether it repeats the variant's own, as in a fixture, or moves it, in a pyproject.toml."""
    fixture = {"min_top1_agreement": 0.98, "reason": "agreed with the app team"}
    tolerance, _ = Thresholds().resolve("any", "int8", fixture)
    (found,) = agreeing(0.906, 0.933, tolerance)
    assert "obtained 0.933, expected at least 0.98" in found
    table = '[tool.pocketproof.models.any.int8]\nmin_sqnr_db = 14\nreason = "x"\n'
    file = tmp_path / "pyproject.toml"
    for text, bound in ((table, 14), ("[tool.pocketproof.thresholds.int8]\nmin_sqnr_db = 15\n", 15)):
        file.write_text(text)
        tolerance, _ = Thresholds.load(file).resolve("any", "int8")
        assert f"SQNR in dB on real inputs: obtained 12, expected at least {bound}" in " ".join(
            agreeing(0.906, 0.933, tolerance)
        )


def test_a_file_that_lists_the_defaults_states_nothing(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text("[tool.pocketproof.thresholds.int8]\nmin_sqnr_db = 20.0\nmin_top1_agreement = 0.98\n")
    tolerance, _ = Thresholds.load(file).resolve("any", "int8")
    assert tolerance.stated == ()
    assert agreeing(0.906, 0.933, tolerance) == []


def test_stated_bounds_on_generated_inputs_stand_too() -> None:
    floor = Floor(n=10, sqnr_db=5, cosine_similarity=0.8, top1_agreement=None, measured_db=5)
    stated = replace(TOLERANCES["float16"], stated=("generated_min_sqnr_db",))
    assert beside(TOLERANCES["float16"], None, floor).generated_min_sqnr_db == 2
    assert beside(stated, None, floor).generated_min_sqnr_db == 20
    assert beside(stated, None, floor).generated_min_cosine < 0.8


def test_on_generated_inputs_the_floor_counts_too_but_may_be_as_low_as_it_is() -> None:
    tolerance = TOLERANCES["mlprogram_float16"]
    assert tolerance.generated_floor_margin_db is not None

    def made(measured_db: float, floor_db: float) -> Parity:
        floor = Floor(
            n=10,
            sqnr_db=floor_db,
            cosine_similarity=stats(floor_db).cosine_similarity,
            top1_agreement=None,
            measured_db=measured_db,
        )
        return Parity(
            scale="outputs",
            real=stats(60),
            generated=stats(measured_db),
            worst_pattern="x",
            tolerance={},
            generated_floor=floor,
        )

    (found,) = check_parity(
        made(24.1, 46.0), tolerance
    )  # one channel twice as large, that photos leave at rest
    assert "generated inputs" in found.message
    assert check_parity(made(44.0, 46.0), tolerance) == []
    assert check_parity(made(12.0, 14.0), tolerance) == []  # below the published 20 dB
    assert check_parity(made(-3.0, -1.0), TOLERANCES["int8"]) == []
    assert check_parity(made(7.0, 14.0), tolerance)


def test_float64_is_what_the_originals_own_arithmetic_is_held_to(floors: Floors) -> None:
    own = floors.float32_diff()
    assert own is not None
    assert 0 < own < 1e-5  # float32 is not float64, and a shallow net amplifies nothing


def test_an_original_without_layers_has_no_float64(floors: Floors, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise CaseError("a SavedModel computes in the types of its graph", stage=Stage.COMPARE)

    monkeypatch.setattr(type(floors.original), "answers_in_float64", refuse)
    assert floors.float32_diff() is None


@pytest.mark.parametrize(
    ("diff", "own", "holds"),
    [
        (0.9e-4, None, True),
        (1.2e-4, None, False),  # nothing explains it
        (1.2e-4, 3.5e-5, True),  # as densenet121
        (2.9e-4, 3.5e-5, False),
        (1.2e-4, 1e-5, False),  # a net that amplifies nothing
        (9e-4, 1e-2, True),
        (1.1e-3, 1e-2, False),  # whatever the net does
    ],
)
def test_float32_may_be_as_far_as_the_nets_own_arithmetic_explains(
    diff: float, own: float | None, holds: bool
) -> None:
    real = replace(stats(89.0), max_scaled_diff=diff, cosine_similarity=1.0)
    parity_ = Parity(
        scale="outputs", real=real, generated=real, worst_pattern="noise", tolerance={}, float32_diff=own
    )
    for variant in ("float32", "mlprogram_float32", "neuralnetwork"):
        assert (check_parity(parity_, TOLERANCES[variant]) == []) is holds
        stated = replace(TOLERANCES[variant], stated=("max_scaled_diff",))
        assert (check_parity(parity_, stated) == []) is (diff <= 1e-4)
    assert may_be_rounding(TOLERANCES["float32"], diff) is (1e-4 < diff <= 1e-3)


def test_without_a_floor_the_published_bounds_stand() -> None:
    tolerance = TOLERANCES["int8"]
    assert beside(tolerance, None) == tolerance
    found = Parity(
        scale="outputs", real=stats(12), generated=stats(20), worst_pattern="x", tolerance={}, no_floor="why"
    )
    assert any("expected at least 20" in one.message for one in check_parity(found, tolerance))


def test_a_floor_that_is_no_number_proves_nothing() -> None:
    floor = Floor(
        n=64, sqnr_db=float("nan"), cosine_similarity=1.0, top1_agreement=1.0, measured_db=float("nan")
    )
    (found,) = check_floor(floor, TOLERANCES["int8"])
    assert "proves nothing" in found.message
    (found,) = check_floor(replace(floor, n=0, sqnr_db=30.0, measured_db=30.0), TOLERANCES["int8"])
    assert "proves nothing" in found.message


def test_of_several_outputs_the_one_that_falls_furthest_behind_counts() -> None:
    random = np.random.default_rng(0)
    reference = {name: random.normal(0, 1, (8, 5)).astype(np.float32) for name in ("a", "b")}
    slightly = {name: values + np.float32(0.01) for name, values in reference.items()}
    actual = {"a": slightly["a"], "b": -reference["b"]}
    found = parity.floor(reference, slightly, actual, VARIANTS["int8"])
    assert found.measured_db < 0 < found.sqnr_db


# --- rounding -----------------------------------------------------------------------------


def test_eight_bits_hold_zero_exactly_and_both_ends() -> None:
    for low, high in ((-1.0, 2.0), (0.0, 6.0), (0.5, 3.0), (-4.0, -1.0)):
        step = rounding.step_of(low, high, 8)
        values = np.array([0.0, low, high], np.float32)
        off = np.abs(rounding.rounded(values, step, 8) - values)
        assert off[0] == 0
        assert off.max() <= step.scale / 2 * 1.001
    assert rounding.step_of(0.0, 0.0, 8).scale == 1.0
    assert rounding.step_of(-3.0, 1.0, 16).zero_point == 0


def test_each_channel_of_weights_has_its_own_step() -> None:
    values = np.array([[1.0, -2.0], [10.0, 0.0], [0.0, 0.0]])
    assert rounding.weight_scales(values, 0).ravel() == pytest.approx([2 / 127, 10 / 127, 1.0])
    assert rounding.weight_scales(values, 1).ravel() == pytest.approx([10 / 127, 2 / 127])


def test_splitting_rounds_as_float16_does() -> None:
    values = np.random.default_rng(0).normal(0, 10, 1000).astype(np.float32)
    large = values * np.float32(2**13 + 1)
    assert np.array_equal(large - (large - values), values.astype(np.float16).astype(np.float32))

"""A planted fault is placed in its step and its layer; a good conversion is not suspected."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from suite import metrics
from suite.cache import default_cache, sha256_file
from suite.converters.flatbuffer import Flatbuffer
from suite.discovery import BUNDLED, discover
from suite.errors import BoundMissed, CaseError, CheckFailed, Unsupported
from suite.faults import select
from suite.lab import Lab
from suite.localise import _joined, chain, layers, localise, located, probes
from suite.matrix import Case, Request, cases
from suite.record import Check, Stage, Status
from suite.record.localisation import ChainStep, LayerError, Localisation
from suite.recorder import Recorder
from suite.runtimes.keras_layers import Layer
from suite.spec import VARIANTS, ExpectedFailure, ModelSpec, Target
from suite.thresholds import Thresholds
from tests.bench.localise import Placed, altered, plant, planted, truth
from tests.meta.coreml.planting import Copy


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab(default_cache(), Thresholds())
    yield made
    made.close()


def _case(variant: str, target: str = "host/litert-xnnpack") -> Case:
    request = Request(profile="smoke", models=("digits_cnn",), variants=(variant,))
    return next(one for one in cases(discover(BUNDLED), request) if str(one.target) == target)


def _planted(lab: Lab, case: Case, name: str, folder: Path) -> Case:
    (fault,) = select((name,))
    path = folder / f"{name}.tflite"
    path.write_bytes(altered(lab, case, fault, lab.artifact(case)[0].read_bytes()))
    return replace(case, artifact=path)


def _localised(lab: Lab, case: Case) -> Localisation:
    path, facts = lab.artifact(case)
    return localise(lab, case, path, facts.sha256)


# --- real faults, real conversions ---------------------------------------------------------


@pytest.mark.parametrize("variant", ["float32", "float16", "dynamic_int8", "int8", "int8_io"])
def test_a_good_conversion_has_no_suspect(lab: Lab, variant: str) -> None:
    found = _localised(lab, _case(variant))
    assert (found.suspect, found.cause) == (None, ""), found.message
    assert "No step adds more than rounding explains" in found.message
    assert all(step.deficit_db < chain.MARGIN_DB for step in found.steps if step.on_path)
    assert "No layer is worse than its precision explains" in found.message
    assert {one.layer for one in found.layers} >= {"relu1", "pool1", "relu2", "relu3", "flatten", "scores"}
    assert next(one for one in found.layers if one.layer == "relu2").fused == ("conv2", "bn2")


@pytest.mark.parametrize("variant", ["float32", "int8"])
@pytest.mark.parametrize(
    ("fault", "layer"),
    [
        ("layer_transposed", "relu2"),
        ("bias_dropped", "relu3"),
        ("channel_scale_wrong", "relu3"),
        ("padding_exchanged", "relu2"),  # such a file cannot even be prepared to its end
        ("pooling_exchanged", "pool2"),
        ("softmax_doubled", "scores"),
        ("output_of_another_layer", "scores"),
        ("softmax_axis", "scores"),
        ("background_score", "scores"),
    ],
)
def test_a_fault_is_placed_in_its_layer(
    lab: Lab, tmp_path: Path, variant: str, fault: str, layer: str
) -> None:
    case = _case(variant)
    faulty = _planted(lab, case, fault, tmp_path)
    right, _ = truth(lab, case, lab.artifact(case)[0], faulty.artifact or tmp_path, tmp_path)
    assert layer in right
    found = _localised(lab, faulty)
    assert (found.cause, found.suspect) == ("conversion", layer), found.message
    assert layer in found.message


def test_an_operator_that_cannot_be_prepared_is_itself_the_suspect(lab: Lab, tmp_path: Path) -> None:
    case = _case("int8")
    model = Flatbuffer(lab.artifact(case)[0].read_bytes())
    (flatten,) = model.operators("RESHAPE")
    model.put(flatten.inputs[1], np.array([1, 7]))  # into fewer values than it is given
    path = tmp_path / "stops.tflite"
    path.write_bytes(model.pack())
    found = _localised(lab, replace(case, artifact=path))
    assert (found.cause, found.suspect) == ("conversion", "flatten"), found.message
    assert "cannot be run beyond flatten" in found.message


def test_a_dynamic_range_file_is_looked_at_too(lab: Lab, tmp_path: Path) -> None:
    found = _localised(lab, _planted(lab, _case("dynamic_int8"), "layer_transposed", tmp_path))
    assert found.suspect == "relu2", found.message


def test_a_file_that_is_no_model_is_placed_at_conversion_without_a_layer(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(lab.artifact(_case("float32"))[0].read_bytes()[:5000])
    case = replace(_case("float32"), artifact=path)
    found = localise(lab, case, path, sha256_file(path))
    assert (found.cause, found.suspect, found.layers) == ("conversion", None, ())


def test_the_chain_names_every_step_and_its_size(lab: Lab) -> None:
    found = _localised(lab, _case("float32"))
    assert [step.cause for step in found.steps] == ["conversion", "kernels", "delegate", "runtime"]
    assert all(step.sqnr_db is not None and step.sqnr_db > 90 for step in found.steps)
    assert [step.on_path for step in found.steps] == [True, True, True, False]


# --- Core ML --------------------------------------------------------------------------------

EVALUATOR = "host/coreml-evaluator"


@pytest.mark.parametrize("variant", ["mlprogram_float32", "mlprogram_float16", "mlprogram_int8_weights"])
def test_a_core_ml_file_is_looked_into_by_the_evaluators_values(
    lab: Lab, tmp_path: Path, variant: str
) -> None:
    case = _case(variant, EVALUATOR)
    good, facts = lab.artifact(case)
    found = localise(lab, case, good, facts.sha256)
    assert found.suspect is None, found.message
    assert {one.layer for one in found.layers} >= {"relu1", "pool1", "relu2", "relu3", "scores"}
    copy = Copy(good, tmp_path)
    bias = copy.argument(copy.operation("conv", 1), "bias")
    copy.change(bias, np.zeros_like)
    path = copy.save()
    found = localise(lab, replace(case, artifact=path), path, "with a bias dropped")
    assert (found.cause, found.engine) == ("conversion", EVALUATOR)
    suspect = next(one for one in found.layers if one.layer == found.suspect)
    assert "conv2" in (suspect.layer, *suspect.fused), found.message


@pytest.mark.parametrize("variant", ["mlprogram_float32", "mlprogram_float16"])
@pytest.mark.parametrize(
    ("fault", "layer"),
    [
        ("layer_transposed", "relu2"),
        ("bias_dropped", "relu3"),
        ("channel_scale_wrong", "relu3"),
        ("pooling_exchanged", "pool2"),
        ("softmax_doubled", "scores"),
        ("folded_twice", "relu2"),
        ("padding_exchanged", "bn2"),  # these cannot be computed to their end
        ("declared_shape_wrong", "bn3"),
        ("output_of_another_layer", "scores"),
    ],
)
def test_what_prove_plants_in_a_core_ml_file_is_placed_in_its_layer(
    lab: Lab, tmp_path: Path, variant: str, fault: str, layer: str
) -> None:
    case = _case(variant, EVALUATOR)
    (chosen,) = select((fault,))
    found = plant(lab, case, chosen, lab.artifact(case)[0], tmp_path)
    assert found is not None
    assert found.held, (found.found.message, found.right)
    assert found.found.cause == "conversion"


def test_of_faults_in_every_layer_the_first_is_the_right_one(lab: Lab, tmp_path: Path) -> None:
    """Else any name would do."""
    for variant, target in (("float32", "host/litert-xnnpack"), ("mlprogram_float32", EVALUATOR)):
        case = _case(variant, target)
        good, (fault,) = lab.artifact(case)[0], select(("other_checkpoint",))
        faulty = planted(lab, case, fault, good, tmp_path)
        assert faulty is not None
        right, _ = truth(lab, case, good, faulty, tmp_path)
        assert len(right) == 1, variant
        assert right <= {"conv1", "bn1", "relu1"}
        later = Placed("x", right, frozenset(), Localisation(cause="conversion", steps=(), suspect="relu3"))
        assert not later.held


# --- the chain ------------------------------------------------------------------------------


def _anywhere(variant: str, target: str) -> Case:
    place, _, engine = target.rpartition("/")
    return Case(ModelSpec(name="m"), VARIANTS[variant], Target(place, engine))


@pytest.mark.parametrize(
    ("variant", "target", "causes"),
    [
        ("int8", "host/litert-reference", "conversion"),
        ("int8", "host/litert-builtin", "conversion kernels"),
        ("int8", "host/litert-xnnpack", "conversion kernels delegate"),
        ("int8", "host/tflite-runtime", "conversion kernels runtime"),
        ("int8", "host/tf-lite", "conversion kernels runtime"),
        ("int8", "android:X/xnnpack", "conversion kernels delegate device"),
        ("int8", "android:X/cpu", "conversion kernels device"),
        ("mlprogram_float16", "host/coreml-evaluator", "conversion"),
        ("mlprogram_float16", "host/coreml", "conversion device"),
        ("mlprogram_float16", "ios:X/coreml", "conversion device"),
    ],
)
def test_each_step_on_the_way_changes_one_thing(variant: str, target: str, causes: str) -> None:
    links = [one for one in chain.links(_anywhere(variant, target)) if one.on_path]
    assert [one.cause for one in links] == causes.split()
    assert links[0].before is None
    assert str(links[-1].after) == target
    assert all(later.before == earlier.after for earlier, later in itertools.pairwise(links))


def _step(cause: str, sqnr_db: float | None, expected: float = 90, *, on_path: bool = True) -> ChainStep:
    return ChainStep(
        cause=cause,
        before="a",
        after="b",
        sqnr_db=sqnr_db,
        max_abs_diff=None,
        on_path=on_path,
        expected_db=expected,
    )


def test_the_step_that_adds_most_is_to_blame_and_one_aside_never() -> None:
    steps = [_step("conversion", 40), _step("kernels", 9), _step("runtime", 1, on_path=False)]
    assert chain.most(steps).cause == "kernels"
    assert chain.most([_step("conversion", 40), _step("device", None)]).cause == "device"


def test_a_step_is_held_to_what_rounding_may_do_there() -> None:
    """Of a deep int8 net the conversion leaves 8 dB, as it must; the delegate leaves 15, and should more."""
    steps = [_step("conversion", 8, 9), _step("kernels", 40, 35), _step("delegate", 15, 35)]
    assert chain.most(steps).cause == "delegate"


def test_kernels_may_round_and_are_not_excused_by_what_a_range_cuts() -> None:
    random = np.random.default_rng(0)
    original = random.normal(0, 1, (40, 10))
    rounded = original + random.normal(0, 0.01, original.shape)
    rounded[6:] += 5  # cut, as of samples beyond the calibrated ranges
    both = {"output": original}, {"output": rounded}
    assert chain.rounding_db(*both, 6, ()) == pytest.approx(40, abs=1.5)
    assert chain.rounding_db(*both, 6, (0.1,)) == pytest.approx(20, abs=1)  # a step of the answer is coarser
    assert chain.rounding_db(*both, 40, ()) < -10


@pytest.mark.parametrize(
    ("variant", "cause", "like"),
    [
        ("float32", "conversion", "float32"),
        ("float32", "device", "float32"),
        ("float16", "conversion", "floor"),
        ("float16", "kernels", "float32"),  # weights are stored so; kernels here compute in float32
        ("float16", "device", "floor"),
        ("int8", "conversion", "floor"),
        ("int8", "delegate", "rounding"),
        ("mlprogram_palettized_6bit", "conversion", "published"),
    ],
)
def test_what_rounding_explains_depends_on_the_step(lab: Lab, variant: str, cause: str, like: str) -> None:
    case = _case(variant, EVALUATOR if variant.startswith("ml") else "host/litert-xnnpack")
    path, facts = lab.artifact(case)
    fair, hard = probes(lab, case, path, facts.sha256)
    feed = _joined(fair, hard)
    found = chain._explained(lab, case, path, feed, fair.count)(cause)
    if like in ("float32", "published"):
        assert found == {"float32": chain.FLOAT32_DB, "published": 15.0}[like]
        return
    rounded = lab.floors(case.spec).rounded(case.variant, feed)
    original = lab.subject(case.spec).original.answers(feed)
    assert not isinstance(rounded, str)
    pair = (next(iter(side.values())) for side in (original, rounded))
    floor = metrics.error_stats(*pair).sqnr_db
    assert (found == pytest.approx(floor)) is (like == "floor")
    assert found >= floor - 1e-6


def test_a_delegate_that_is_off_is_told_from_the_rounding_of_int8(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None here is off: XNNPACK's answers are made so, by 15 dB."""
    answer = Lab.answer

    def noisy(self: Lab, case: Case, path: Path, feed: object) -> dict[str, np.ndarray]:
        found = answer(self, case, path, feed)  # type: ignore[arg-type]
        if case.target.engine != "litert-xnnpack" or len(found) > 1:  # its inner tensors are as they are
            return found
        random = np.random.default_rng(0)
        size = 10 ** (-15 / 20)
        return {
            name: (values + random.normal(0, size * values.std(), values.shape)).astype(values.dtype)
            for name, values in found.items()
        }

    monkeypatch.setattr(Lab, "answer", noisy)
    found = _localised(lab, _case("int8"))
    assert (found.cause, found.engine) == ("delegate", "host/litert-xnnpack"), found.message
    delegate = next(step for step in found.steps if step.cause == "delegate")
    assert delegate.sqnr_db == pytest.approx(15, abs=1)
    conversion = next(step for step in found.steps if step.cause == "conversion")
    assert conversion.deficit_db < chain.MARGIN_DB


def test_a_wrong_kernel_is_told_from_a_wrong_file(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel here is wrong: one is made so, by doubling what the builtin engine answers."""
    answer = Lab.answer

    def doubled(self: Lab, case: Case, path: Path, feed: object) -> dict[str, np.ndarray]:
        found = answer(self, case, path, feed)  # type: ignore[arg-type]
        if case.target.engine == "litert-reference":
            return found
        return {name: values * 2 for name, values in found.items()}

    monkeypatch.setattr(Lab, "answer", doubled)
    found = _localised(lab, _case("float32", "host/litert-xnnpack"))
    assert found.cause == "kernels"
    assert found.engine == "host/litert-builtin"


# --- the suspect ----------------------------------------------------------------------------


def _error(layer: str, own: float, floor: float = 40.0, message: str = "") -> LayerError:
    return LayerError(
        layer=layer, fused=(), operator="X", own_db=own, floor_db=floor, sqnr_db=own, message=message
    )


def test_the_first_layer_beyond_its_margin_is_suspect() -> None:
    errors = [_error("a", 40), _error("b", 35), _error("c", 33), _error("d", 5)]
    assert layers.suspect(errors).layer == "c"  # type: ignore[union-attr]
    assert layers.suspect(errors[:2]) is None
    assert layers.suspect([_error("a", 40), _error("b", 90, message="it holds NaN")]).layer == "b"  # type: ignore[union-attr]


# --- in a run -------------------------------------------------------------------------------

FOUND = Localisation(cause="conversion", steps=(), suspect="relu2", message="First layer at fault: relu2.")


def _inside(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch, *, always: bool, known: bool = False
) -> Recorder:
    case = _case("int8")
    if known:
        failure = ExpectedFailure(variant="int8", check=Check.PARITY, reason="known", owner="us")
        case = replace(case, spec=replace(case.spec, expected_failures=(failure,)))
    recorder = Recorder(case, Check.PARITY)
    monkeypatch.setattr("suite.localise.localise", lambda *args: FOUND)
    facts = type("Facts", (), {"sha256": ""})()
    with located(None, case, (Path(), facts), recorder, always=always):  # type: ignore[arg-type]
        if error is not None:
            raise error
    return recorder


def test_a_failure_says_where_it_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckFailed, match=r"(?s)SQNR is low.*First layer at fault: relu2") as caught:
        _inside(CheckFailed("SQNR is low", stage=Stage.COMPARE), monkeypatch, always=False)
    assert (caught.value.stage, caught.value.status) == (Stage.COMPARE, Status.FAILED)


def test_what_holds_is_looked_into_only_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "localisation" not in _inside(None, monkeypatch, always=False).sections
    assert _inside(None, monkeypatch, always=True).sections["localisation"] is FOUND


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (Unsupported("too new", stage=Stage.LOAD), False),
        (CaseError("no phone", stage=Stage.LOAD, status=Status.SKIPPED), False),
        (BoundMissed("SQNR is low", stage=Stage.COMPARE), True),
    ],
)
def test_what_is_no_failure_of_its_own_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, error: Exception, known: bool
) -> None:
    with pytest.raises(type(error)) as caught:
        _inside(error, monkeypatch, always=False, known=known)
    assert "relu2" not in str(caught.value)


def test_what_is_worse_than_the_known_failure_is_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckFailed, match=r"(?s)holds NaN.*relu2"):
        _inside(CheckFailed("it holds NaN", stage=Stage.COMPARE), monkeypatch, always=False, known=True)


def test_a_search_that_breaks_hides_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        case = _case("int8")
        recorder = Recorder(case, Check.PARITY)
        patched.setattr("suite.localise.localise", lambda *args: 1 / 0)
        facts = type("Facts", (), {"sha256": ""})()
        with (
            pytest.raises(CheckFailed, match=r"(?s)SQNR is low.*not placed: division by zero"),
            located(None, case, (Path(), facts), recorder),  # type: ignore[arg-type]
        ):
            raise CheckFailed("SQNR is low", stage=Stage.COMPARE)
    assert recorder.reasons["localisation"].startswith("not placed")


def test_what_a_layer_computes_on_the_way_stops_at_that_layer() -> None:
    """Its activation alone stands for the layer: a convolution that cannot be run is known by its name."""
    apart = layers.Apart.__new__(layers.Apart)
    apart.layers = tuple(
        Layer(name, "Conv2D", (8, 8, 4), ("image",)) for name in ("fire6_expand1x1", "fire6_expand3x3")
    )
    apart.known = {"net_fire6_expand3x3_1_Relu": "fire6_expand3x3"}
    for name, layer in {
        "net_fire6_expand3x3_1_Relu": "fire6_expand3x3",
        "net_fire6_expand3x3_1_BiasAdd": "fire6_expand3x3",
        "another_networks_conv": None,
    }.items():
        apart.view = SimpleNamespace(stopped="it cannot be executed", stops_at=name)  # type: ignore[assignment]
        assert apart._stops_at() == layer
    apart.view = SimpleNamespace(stopped="", stops_at="")  # type: ignore[assignment]
    assert apart._stops_at() is None

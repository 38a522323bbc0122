"""Cases: which there are, what they are called, and what is said of a name that nothing bears."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.discovery import BUNDLED, BrokenFixture, discover
from suite.errors import CaseError, UsageError, unknown
from suite.matrix import PROFILES, Case, Request, cases
from suite.record import Check
from suite.runtimes import ENGINES
from suite.spec import VARIANTS, ExpectedFailure, ModelSpec, Target
from tests.meta.conftest import Subject

EVERY = ("smoke", "default", "full")
MACS = {"coreml", "coreml-cpu", "coreml-cpu-gpu", "coreml-cpu-ne"}  # whose cases are there on a Mac
MODELS = {
    "digits_cnn": ModelSpec(name="digits_cnn", profiles=EVERY),
    "squeezenet": ModelSpec(name="squeezenet", profiles=EVERY),
    "resnet50": ModelSpec(name="resnet50"),
    "mobilenet_v2": ModelSpec(name="mobilenet_v2", profiles=("full",)),
}


def ids(**request: object) -> list[str]:
    return [case.id for case in cases(MODELS, Request(**request))]  # type: ignore[arg-type]


def test_a_profile_holds_the_models_that_say_so_in_its_variants() -> None:
    smoke = ids(profile="smoke")
    assert smoke == [
        f"{model}/{variant}/host/litert-xnnpack"
        for model in ("digits_cnn", "squeezenet")
        for variant in ("float32", "int8")
    ]
    default, full = ids(), ids(profile="full")
    assert "resnet50/dynamic_int8/host/litert-xnnpack" in default
    assert not any(case.startswith("mobilenet_v2") for case in default)
    assert "digits_cnn/float32/host/tflite-runtime" in default
    assert "resnet50/float32/host/tflite-runtime" not in default
    assert "mobilenet_v2/int16x8/host/litert-xnnpack" in full
    assert set(smoke) < set(default) < set(full)


@pytest.mark.parametrize("profile", PROFILES)
def test_ids_are_unique_and_the_same_at_each_run(profile: str) -> None:
    found = ids(profile=profile)
    assert len(set(found)) == len(found)
    assert found == ids(profile=profile)
    assert all(len(case.split("/")) == 4 for case in found)


def test_the_default_profile_holds_the_six_in_four_variants() -> None:
    six = {"mobilenet_v1", "inception_v3", "resnet50", "densenet121", "squeezenet", "digits_cnn"}
    found = [case for case in cases(discover(BUNDLED), Request()) if case.target.engine == "litert-xnnpack"]
    assert {case.spec.name for case in found} == six
    assert {case.variant.name for case in found} == {"float32", "float16", "dynamic_int8", "int8"}
    assert len(found) == 24


def test_the_default_profile_holds_the_six_in_two_variants_for_ios() -> None:
    found = [case for case in cases(discover(BUNDLED), Request()) if case.target.engine == "coreml-evaluator"]
    assert len({case.spec.name for case in found}) == 6
    assert {case.variant.name for case in found} == {"mlprogram_float32", "mlprogram_float16"}
    assert len(found) == 12


def test_every_engine_of_the_matrix_exists() -> None:
    named = {target.engine for chosen in PROFILES.values() for one in chosen for target in one.targets}
    assert named | MACS == set(ENGINES)


def test_patterns_choose_models_of_any_profile_in_the_fixtures_order() -> None:
    assert ids(models=("mobilenet*", "squeeze*"), variants=("float16",)) == [
        "squeezenet/float16/host/litert-xnnpack",
        "mobilenet_v2/float16/host/litert-xnnpack",
    ]


def test_a_variant_asked_for_by_name_runs_also_where_the_profile_lacks_it() -> None:
    assert "resnet50/int16x8/host/litert-xnnpack" in ids(variants=("int16x8",))
    assert all("/int16x8/" in case for case in ids(variants=("int16x8",)))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"profile": "defualt"}, "unknown profile 'defualt': did you mean default"),
        ({"variants": ("int8x16",)}, "unknown variant 'int8x16': did you mean .*int16x8"),
        ({"models": ("resnet5",)}, "unknown model 'resnet5': did you mean resnet50"),
        ({"models": ("squeezenet", "zzz")}, "unknown model 'zzz': known are digits_cnn, .*mobilenet_v2"),
    ],
)
def test_a_name_that_nothing_bears_ends_the_run_and_names_the_nearest(
    request_: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        ids(**request_)


def test_a_profile_without_a_model_is_an_error_and_no_empty_success() -> None:
    with pytest.raises(UsageError, match="no model belongs to the profile 'smoke'"):
        cases({"resnet50": MODELS["resnet50"]}, Request(profile="smoke"))
    with pytest.raises(UsageError, match="no model belongs"):
        cases({}, Request())


def test_no_name_is_known_where_there_is_none() -> None:
    assert unknown("model", "a", []) == "unknown model 'a': known are none"


def test_a_broken_fixture_has_cases_that_say_why() -> None:
    found = cases({"bad": BrokenFixture("it raised"), **MODELS}, Request(profile="smoke"))
    assert {case.broken for case in found if case.spec.name == "bad"} == {"it raised"}
    assert {case.broken for case in found if case.spec.name != "bad"} == {""}


# --- artifacts ------------------------------------------------------------------------


def test_a_given_artifact_is_one_case_of_the_variant_that_it_is(classifier: Subject) -> None:
    paths = tuple(classifier.artifact(variant) for variant in ("int8_io", "float16"))
    found = cases(MODELS, Request(models=("squeezenet",), artifacts=paths))
    assert [case.id for case in found] == [
        "squeezenet/int8_io/host/litert-xnnpack",
        "squeezenet/float16/host/litert-xnnpack",
    ]
    assert [case.artifact for case in found] == list(paths)
    (named,) = cases(MODELS, Request(models=("squeezenet",), artifacts=paths[:1], variants=("int8",)))
    assert named.variant.name == "int8"


def test_artifacts_that_cannot_be_told_apart_or_held_to_one_model_are_refused(
    classifier: Subject, tmp_path: Path
) -> None:
    path = classifier.artifact("int8")
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match="two artifacts are both squeezenet/int8/host/litert-xnnpack"):
        cases(MODELS, Request(models=("squeezenet",), artifacts=(path, copy)))
    with pytest.raises(UsageError, match="held to one model, found 3"):
        cases(MODELS, Request(artifacts=(path,)))
    with pytest.raises(UsageError, match=r"no artifact at .*absent\.tflite"):
        cases(MODELS, Request(models=("squeezenet",), artifacts=(tmp_path / "absent.tflite",)))
    other = tmp_path / "m.onnx"
    other.write_bytes(b"1")
    with pytest.raises(UsageError, match=r"m\.onnx is no artifact"):
        cases(MODELS, Request(models=("squeezenet",), artifacts=(other,)))
    empty = tmp_path / "empty.tflite"
    empty.write_bytes(b"")
    with pytest.raises(CaseError, match=r"empty\.tflite is no TFLite file"):
        cases(MODELS, Request(models=("squeezenet",), artifacts=(empty,)))


# --- expected failures ------------------------------------------------------------------


def test_an_expected_failure_is_that_of_its_variant_check_and_target() -> None:
    known = ExpectedFailure(
        variant="int8", check="parity", reason="swish", owner="us", target="host/litert-*"
    )
    spec = ModelSpec(name="m", expected_failures=(known,))

    def found(variant: str, engine: str, check: str) -> ExpectedFailure | None:
        return Case(spec, VARIANTS[variant], Target("host", engine)).expected_failure(check)

    assert found("int8", "litert-xnnpack", "parity") is known
    assert found("int8", "litert-reference", "parity") is known
    assert found("int8", "tf-lite", "parity") is None
    assert found("float32", "litert-xnnpack", "parity") is None
    assert found("int8", "litert-xnnpack", "accuracy") is None


@pytest.mark.parametrize(
    ("missing", "words"),
    [({"owner": " "}, "int8/parity has no owner"), ({"reason": ""}, "int8/parity has no reason")],
)
def test_an_expected_failure_without_a_reason_or_an_owner_is_refused(
    missing: dict[str, str], words: str
) -> None:
    stated = {"variant": "int8", "check": "parity", "reason": "swish", "owner": "us"}
    assert ExpectedFailure(**stated).owner == "us"
    with pytest.raises(ValueError, match=words):
        ExpectedFailure(**{**stated, **missing})
    with pytest.raises(TypeError, match=next(iter(missing))):
        ExpectedFailure(**{name: value for name, value in stated.items() if name not in missing})


def test_a_failure_of_every_check_is_expected_of_each() -> None:
    known = ExpectedFailure(variant="int16x8", check="*", reason="the converter has no such op", owner="us")
    case = Case(
        ModelSpec(name="m", expected_failures=(known,)), VARIANTS["int16x8"], Target("host", "litert-xnnpack")
    )
    assert {case.expected_failure(check) for check in Check} == {known}

"""Which cases are put behind a camera: a few of a profile, and whatever has a bound on its frames."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from suite import collection
from suite.collection import Proof
from suite.matrix import Request, cases
from suite.record import Check
from suite.spec import Budget, ModelSpec
from suite.thresholds import Thresholds

NAME = "digits_cnn"  # a model that has cases on other runtimes too
SMOOTH = Budget(min_processed_fps=15, reason="agreed with the app team")
SLOW = Budget(max_p50_ms=40, reason="agreed with the app team")


def taken(
    budgets: dict[str, Budget],
    profile: str = "default",
    test: str = "test_realtime",
    thresholds: Thresholds | None = None,
) -> set[str]:
    """Variants that the test takes; none on another target than the camera's."""
    spec = ModelSpec(name=NAME, profiles=("smoke", "default"), budgets=budgets)
    found: list[Any] = []
    metafunc: Any = SimpleNamespace(
        function=SimpleNamespace(__name__=test),
        definition=SimpleNamespace(iter_markers=lambda: [pytest.mark.realtime.mark]),
        config=SimpleNamespace(option=SimpleNamespace(profile=profile, variants="")),
        fixturenames=["case"],
        parametrize=lambda _, made, scope: found.extend(param.values[0] for param in made),
    )
    given = cases({NAME: spec}, Request(profile=profile))
    collection.parametrize(metafunc, given, thresholds or Thresholds())
    assert {str(case.target) for case in found} <= {"host/litert-xnnpack"}
    return {case.variant.name for case in found}


FEW = {"float32", "int8"}


@pytest.mark.parametrize(
    ("profile", "budgets", "variants"),
    [
        ("default", {}, FEW),
        ("default", {"float16": SLOW}, FEW),
        ("default", {"float16": SMOOTH}, FEW | {"float16"}),
        ("default", {"mlprogram_float16": SMOOTH}, FEW),  # no camera there: the verdict says so
        ("smoke", {}, set()),
        ("smoke", {"int8": SLOW}, set()),
        ("smoke", {"int8": SMOOTH}, {"int8"}),
    ],
)
def test_a_bound_on_frames_puts_a_case_behind_a_camera(
    profile: str, budgets: dict[str, Budget], variants: set[str]
) -> None:
    assert taken(budgets, profile) == variants


def test_a_bound_of_pyproject_does_too() -> None:
    stated = {"min_processed_fps": 15, "reason": "agreed"}
    thresholds = Thresholds(models={(NAME, "float16"): stated, ("another", "dynamic_int8"): stated})
    assert taken({}, thresholds=thresholds) == FEW | {"float16"}


def test_minutes_on_end_are_not_run_for_a_bound_on_frames() -> None:
    assert taken({"float16": SMOOTH}, test="test_sustained") == taken({}, "smoke", "test_sustained") == FEW


# --- what is started ahead ------------------------------------------------------------------


def proofs(variants: tuple[str, ...], *tests: tuple[str, Check, int | None]) -> list[Proof]:
    """Tests by name, check and threads of a small model's cases."""
    spec = ModelSpec(name=NAME, profiles=("default",))
    request = Request(profile="default", variants=variants)
    return [
        Proof(item_of(name, {"case": case} | ({} if threads is None else {"threads": threads})), case, check)
        for case in cases({NAME: spec}, request)
        for name, check, threads in tests
    ]


def item_of(name: str, params: dict[str, Any]) -> Any:
    return SimpleNamespace(originalname=name, callspec=SimpleNamespace(params=params))


PARITY = ("test_parity", Check.PARITY, None)
CAMERA = ("test_realtime", Check.REALTIME, None)
MINUTES = ("test_sustained", Check.BENCHMARK, None)


def timed(count: int) -> tuple[str, Check, int]:
    return "test_benchmark", Check.BENCHMARK, count


def test_the_workers_of_a_run_are_those_of_its_cases_engines() -> None:
    assert collection.workers(proofs(("int8_io",), PARITY)) == ["LiteRT"]
    assert collection.workers(proofs(("mlprogram_float32",), PARITY)) == ["Core ML evaluator", "Core ML"]
    assert set(collection.workers(proofs(("float32",), PARITY))) == {"LiteRT", "tflite-runtime"}


def test_a_fresh_worker_is_expected_for_each_memory_pass_and_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "thread_counts", lambda target: (1, 4))
    assert collection.fresh_workers(proofs(("int8_io",), PARITY, MINUTES, timed(1))) == {}
    assert collection.fresh_workers(proofs(("int8_io",), PARITY, timed(1), timed(4))) == {"LiteRT": 1}
    assert collection.fresh_workers(proofs(("int8_io",), timed(1), timed(4), CAMERA)) == {"LiteRT": 2}


def test_cases_come_in_the_order_of_their_first_tests() -> None:
    found = proofs(("int8_io", "int16x8"), PARITY, timed(1))
    assert [case.variant.name for case in collection.in_turn(found)] == ["int8_io", "int16x8"]
    assert [case.variant.name for case in collection.in_turn(found[::-1])] == ["int16x8", "int8_io"]

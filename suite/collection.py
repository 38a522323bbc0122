"""Which cases each test is given, and in which order tests run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from suite import run
from suite.benchmark import thread_counts, timed
from suite.errors import BoundMissed, StagedError, Unsupported
from suite.matrix import Case
from suite.record import Check, Status
from suite.runtimes import CORE_ML, ENGINES, Engine
from suite.spec import ExpectedFailure
from suite.thresholds import Thresholds

_TIMED = ("benchmark", "realtime")  # marks of what an engine without a latency of its own cannot show
_CAMERA_TEST, _MINUTES_TEST = "test_realtime", "test_sustained"
_LASTING_TARGET = "host/litert-xnnpack"  # of both on this machine
_LASTING_VARIANTS = ("float32", "int8")  # in the default profile: the slowest of a model and the quickest


@dataclass(frozen=True, slots=True)
class Proof:
    """A test that puts a check to a case."""

    item: pytest.Function
    case: Case
    check: Check

    @property
    def alone(self) -> bool:
        """Whether it needs a quiet machine; a phone's benchmark stays with the phone's other tests."""
        return self.check in run.QUIET and not self.case.target.on_android


def parametrize(metafunc: pytest.Metafunc, cases: Sequence[Case], thresholds: Thresholds) -> None:
    """Give a test its `case`, one at a time, and `threads` as many as its place is measured with."""
    taken = _taken(metafunc, cases, thresholds)
    if "threads" not in metafunc.fixturenames:
        made = [pytest.param(case, id=case.id, marks=_marks(case)) for case in taken]
        metafunc.parametrize("case", made, scope="function")
        return
    made = [
        pytest.param(case, count, id=f"{case.id}-threads={count}", marks=_marks(case))
        for case in taken
        for count in thread_counts(case.target)
    ]
    metafunc.parametrize(("case", "threads"), made, scope="function")


def _taken(metafunc: pytest.Metafunc, cases: Sequence[Case], thresholds: Thresholds) -> list[Case]:
    """The cases that a test is for, by its name and marks."""
    marks = {mark.name for mark in metafunc.definition.iter_markers()}
    taken = [case for case in cases if case.target.on_android or "android" not in marks]
    if (test := metafunc.function.__name__) in (_CAMERA_TEST, _MINUTES_TEST):
        camera = thresholds if test == _CAMERA_TEST else None
        taken = [case for case in taken if _lasts(case, metafunc.config.option, camera)]
    if "android" not in marks and "host_parity" in marks:
        taken = [case for case in taken if case.variant.format == "coreml" and timed(case.target)]
    if "ios" in marks:
        taken = [case for case in taken if case.target.on_ios]
    if "contract" in marks:  # the file's, wherever it runs
        taken = [case for case in taken if case.target.place == "host"]
    if marks.intersection(_TIMED):
        taken = [case for case in taken if timed(case.target)]
    return taken


def _lasts(case: Case, option: Any, camera: Thresholds | None) -> bool:
    """Whether it is run for minutes, or behind a `camera`: in all that time nothing else may run there.

    Behind a camera is whatever has a bound on its frames; in the smoke profile nothing else is.
    """
    if str(case.target) != _LASTING_TARGET and not case.target.on_android:
        return False
    if camera is not None:
        _, budget = camera.resolve(case.spec.name, case.variant.name, case.override)
        promised = budget.min_processed_fps is not None
        if promised or option.profile == "smoke":
            return promised
    few = option.profile == "default" and not option.variants
    return not few or case.variant.name in _LASTING_VARIANTS


def _marks(case: Case) -> list[pytest.MarkDecorator]:
    if case.target.on_ios:
        return [pytest.mark.ios]
    return [pytest.mark.android] if case.target.on_android else []


def without_a_case(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Tests of a check that no case of this run takes."""
    return [
        item
        for item in items
        if item.name.endswith("[NOTSET]") and "case" in getattr(item, "fixturenames", ())
    ]


def proofs(items: Sequence[pytest.Item]) -> list[Proof]:
    """The tests of the product among others."""
    return [found for item in items if (found := proof(item)) is not None]


def proof(item: pytest.Item) -> Proof | None:
    """The case and check of a test of the product; None for other tests."""
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return None
    case = item.callspec.params.get("case")
    check = next((check for check in Check if item.get_closest_marker(check)), None)
    return Proof(item, case, check) if isinstance(case, Case) and check is not None else None


def in_turn(proofs: Sequence[Proof]) -> list[Case]:
    """The cases in the order in which these tests come to them."""
    return list({proof.case.id: proof.case for proof in proofs}.values())


def workers(proofs: Sequence[Proof]) -> list[str]:
    """The kinds of workers on this machine that these tests ask."""
    kinds = [engine.worker for proof in proofs if (engine := _engine(proof.case)) is not None]
    if any(proof.case.variant.format == "coreml" for proof in proofs):
        kinds.append(CORE_ML)
    return list(dict.fromkeys(kinds))


def fresh_workers(proofs: Sequence[Proof]) -> Counter[str]:
    """How many workers of each kind are to hold one artifact alone: for its memory, and behind a camera."""
    return Counter(
        engine.worker
        for proof in proofs
        if proof.item.originalname in (f"test_{Check.BENCHMARK}", _CAMERA_TEST)
        and _holds_bounds(proof)
        and (engine := _engine(proof.case)) is not None
    )


def _engine(case: Case) -> Engine | None:
    return ENGINES.get(case.target.engine) if case.target.place == "host" else None


def in_order(cases: Sequence[Case], config: pytest.Config) -> Sequence[Case]:
    """As they are; among xdist's workers the longest model first, so that none is left for last."""
    if not run.is_worker(config):
        return cases
    return sorted(cases, key=lambda case: -case.spec.gmacs)


def order(items: list[pytest.Item], proofs: Sequence[Proof], cases: Sequence[Case]) -> None:
    """Case by case, each by its checks; what needs a quiet machine last, other tests first."""
    order, checks = {case.id: place for place, case in enumerate(cases)}, list(Check)
    places: dict[pytest.Item, tuple[bool, int, int]] = {
        proof.item: (proof.alone, order[proof.case.id], checks.index(proof.check)) for proof in proofs
    }
    items.sort(key=lambda item: places.get(item, (False, -1, 0)))


def mark_known_failure(proof: Proof) -> None:
    """Expect the failure that the fixture states, and no other ending, of the tests that it shows in."""
    known = proof.case.expected_failure(proof.check)
    if known is None or ((ending := _ending(known)) is BoundMissed and not _holds_bounds(proof)):
        return
    reason = f"{known.reason} (owner: {known.owner})"
    proof.item.add_marker(pytest.mark.xfail(reason=reason, raises=ending, strict=True))


def _ending(known: ExpectedFailure) -> type[StagedError]:
    """The error that a known failure is; anything else is another failure, which nobody accepted."""
    if known.check == "*":
        return StagedError
    return Unsupported if known.status == Status.UNSUPPORTED else BoundMissed


def _holds_bounds(proof: Proof) -> bool:
    """Whether the test is the one of its check that holds bounds: a benchmark's are held with all cores."""
    threads = proof.item.callspec.params.get("threads")
    return proof.item.originalname == f"test_{proof.check}" and (
        threads is None or threads == thread_counts(proof.case.target)[-1]
    )

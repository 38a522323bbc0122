"""Work beside: one piece at a time, waited for where quiet is needed, and silent where it fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from suite.ahead import Ahead
from suite.cache import Cache
from suite.lab import Lab
from suite.matrix import Case
from suite.spec import VARIANTS, Target
from suite.thresholds import Thresholds
from tests.meta.conftest import Subject


def test_work_is_done_beside_and_waited_for() -> None:
    ahead, may_end, ended = Ahead(), threading.Event(), []

    def work() -> None:
        may_end.wait(30)
        ended.append(threading.current_thread())

    ahead.wait()  # for nothing
    ahead.begin(work)
    assert not ended
    may_end.set()
    ahead.wait()
    (thread,) = ended
    assert thread is not threading.current_thread()
    assert not thread.is_alive()


def test_the_next_work_begins_when_the_last_has_ended() -> None:
    ahead, order = Ahead(), []
    first = threading.Event()
    ahead.begin(lambda: order.append(first.wait(30)))
    threading.Timer(0.05, first.set).start()
    ahead.begin(lambda: order.append("second"))
    ahead.wait()
    assert order == [True, "second"]


def test_what_it_fails_at_is_not_told(recwarn: pytest.WarningsRecorder) -> None:
    ahead = Ahead()
    ahead.begin(lambda: 1 / 0)  # type: ignore[arg-type]
    ahead.wait()
    assert not recwarn.list


# --- what a lab makes ready ------------------------------------------------------------


@pytest.fixture
def cases(classifier: Subject) -> list[Case]:
    """Two variants of a model, both in the cache."""
    spec = classifier.original.spec
    return [Case(spec, VARIANTS[name], Target("host", "litert-xnnpack")) for name in ("float32", "int8")]


@pytest.fixture
def lab(shared_cache: Cache, cases: list[Case]) -> Iterator[Lab]:
    """That has looked at nothing yet."""
    made = Lab(Cache(shared_cache.root), Thresholds(), order=cases)
    yield made
    made.close()


def test_the_next_artifact_is_verified_while_one_is_answered(lab: Lab, cases: list[Case]) -> None:
    path, facts = lab.artifact(cases[0])
    seen = set(lab.cache._verified)
    lab.answers(cases[0], path, facts.sha256)
    lab.settle()
    following, _ = Lab(lab.cache, Thresholds()).artifact(cases[1])
    assert following.parent in lab.cache._verified.keys() - seen


def test_the_next_model_is_prepared_and_handed_over(
    lab: Lab, cases: list[Case], subject: object, shared_cache: Cache
) -> None:
    other: Subject = subject("two_headed.keras")  # type: ignore[operator]
    other.artifact("float32")
    then = Case(other.original.spec, VARIANTS["float32"], Target("host", "litert-xnnpack"))
    lab._next = {cases[0].id: then}
    path, facts = lab.artifact(cases[0])
    lab.answers(cases[0], path, facts.sha256)
    lab.settle()
    made = lab._made_ahead[then.spec.name]
    assert lab.subject(then.spec) is made
    assert not lab._made_ahead
    for name, array in other.feeds.generated().arrays.items():
        np.testing.assert_array_equal(made.feeds.generated().arrays[name], array)  # type: ignore[arg-type]
    again, _ = lab.artifact(then)
    assert again == other.artifact("float32")


def test_a_model_that_was_made_ready_in_vain_leaves_no_files(
    lab: Lab, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.feeds._SMALL_BYTES", 0)
    subject = lab._made_ahead["another"] = lab._examine(cases[0].spec)
    dict(subject.feeds.evaluation().arrays)
    assert list(lab.scratch.iterdir())
    lab.subject(cases[0].spec)
    assert not list(lab.scratch.iterdir())


def test_nothing_is_built_ahead(
    shared_cache: Cache, cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = Lab(Cache(tmp_path), Thresholds(), order=cases)
    monkeypatch.setattr(empty.pool, "worker", lambda *_: pytest.fail("a worker was asked"))
    empty._make_ahead(cases[1], None)  # whose model nobody has looked at
    assert not list(tmp_path.glob("artifact/*"))
    empty.close()

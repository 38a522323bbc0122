"""The lab makes each part once, and keeps none of them for another model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from suite.cache import Cache
from suite.discovery import BUNDLED, load_fixture
from suite.lab import Lab
from suite.matrix import Case
from suite.spec import VARIANTS, Target
from suite.thresholds import Thresholds
from tests.meta.conftest import Subject

ONE, OTHER = (
    Case(load_fixture(BUNDLED / f"{name}.py"), VARIANTS["float32"], Target("host", "litert-xnnpack"))
    for name in ("digits_cnn", "squeezenet")
)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Whose models and samples are not looked into."""
    made = Lab(Cache(tmp_path), Thresholds())
    monkeypatch.setattr(made, "_original", lambda spec: SimpleNamespace(spec=spec))
    monkeypatch.setattr(made, "_feeds", lambda original: SimpleNamespace(discard=lambda: None))
    yield made
    made.close()


def test_answers_are_shared_by_the_checks_of_a_model_and_not_by_another_of_the_same_file(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two fixtures may bring the same weights and other samples."""
    lab.subject(ONE.spec)
    lab._answers = "the file's hash", {str(ONE.target): ({"scores": "of one"}, {})}
    assert lab.answers(ONE, Path("model.tflite"), "the file's hash")[0] == {"scores": "of one"}

    def opened(*_: object, **__: object) -> None:
        raise LookupError("it is asked anew")

    monkeypatch.setattr(lab.sessions, "open", opened)
    with pytest.raises(LookupError):
        lab.answers(OTHER, Path("model.tflite"), "the file's hash")


# --- what a lab makes ready ------------------------------------------------------------


@pytest.fixture
def cases(classifier: Subject) -> list[Case]:
    """Two variants of a model, both in the cache."""
    spec = classifier.original.spec
    return [Case(spec, VARIANTS[name], Target("host", "litert-xnnpack")) for name in ("float32", "int8")]


@pytest.fixture
def unread(shared_cache: Cache, cases: list[Case]) -> Iterator[Lab]:
    """That has looked at nothing yet."""
    made = Lab(Cache(shared_cache.root), Thresholds(), order=cases)
    yield made
    made.close()


def test_the_next_artifact_is_verified_while_one_is_answered(unread: Lab, cases: list[Case]) -> None:
    path, facts = unread.artifact(cases[0])
    seen = set(unread.cache._verified)
    unread.answers(cases[0], path, facts.sha256)
    unread.settle()
    following, _ = Lab(unread.cache, Thresholds()).artifact(cases[1])
    assert following.parent in unread.cache._verified.keys() - seen


def test_the_next_model_is_prepared_and_handed_over(
    unread: Lab, cases: list[Case], subject: object, shared_cache: Cache
) -> None:
    other: Subject = subject("two_headed.keras")  # type: ignore[operator]
    other.artifact("float32")
    then = Case(other.original.spec, VARIANTS["float32"], Target("host", "litert-xnnpack"))
    unread._next = {cases[0].id: then}
    path, facts = unread.artifact(cases[0])
    unread.answers(cases[0], path, facts.sha256)
    unread.settle()
    made = unread._made_ahead[then.spec.name]
    assert unread.subject(then.spec) is made
    assert not unread._made_ahead
    for name, array in other.feeds.generated().arrays.items():
        np.testing.assert_array_equal(made.feeds.generated().arrays[name], array)  # type: ignore[arg-type]
    again, _ = unread.artifact(then)
    assert again == other.artifact("float32")


def test_a_model_that_was_made_ready_in_vain_leaves_no_files(
    unread: Lab, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.feeds._SMALL_BYTES", 0)
    subject = unread._made_ahead["another"] = unread._examine(cases[0].spec)
    dict(subject.feeds.evaluation().arrays)
    assert list(unread.scratch.iterdir())
    unread.subject(cases[0].spec)
    assert not list(unread.scratch.iterdir())


def test_nothing_is_built_ahead(
    shared_cache: Cache, cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = Lab(Cache(tmp_path), Thresholds(), order=cases)
    monkeypatch.setattr(empty.pool, "worker", lambda *_: pytest.fail("a worker was asked"))
    empty._make_ahead(cases[1], None)  # whose model nobody has looked at
    assert not list(tmp_path.glob("artifact/*"))
    empty.close()

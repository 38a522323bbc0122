"""What static checks found is kept by content: asked once of a file that passed, and of no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from suite import checks
from suite.cache import Cache
from suite.faults import FAULTS
from suite.lab import Lab
from suite.matrix import Case
from suite.record import StaticCheck, Status
from suite.spec import VARIANTS, Target
from suite.thresholds import Thresholds
from tests.meta.conftest import Subject

FAULT = next(fault for fault in FAULTS if fault.name == "zero_point_off_by_one")


@pytest.fixture
def asked(classifier: Subject) -> Case:
    return Case(classifier.original.spec, VARIANTS["int8"], Target("host", "litert-xnnpack"))


@pytest.fixture
def lab(shared_cache: Cache) -> Iterator[Lab]:
    made = Lab(shared_cache, Thresholds())
    yield made
    made.close()


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were looked into, in order."""
    seen: list[Path] = []
    look = checks._static

    def static(lab: Lab, case: Case, path: Path, inference: bool) -> dict[str, StaticCheck]:
        seen.append(path)
        return look(lab, case, path, inference)

    monkeypatch.setattr(checks, "_static", static)
    return seen


def test_a_file_that_passed_is_looked_into_once(
    lab: Lab, asked: Case, examined: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_code", lambda: "of this test")  # others have asked in the same cache
    path, _ = lab.artifact(asked)
    found = checks.static(lab, asked, path)
    assert {one.status for one in found.values()} == {Status.PASSED}
    assert checks.static(lab, asked, path) == found
    assert examined == [path]
    monkeypatch.setattr(checks, "_code", lambda: "changed")
    assert checks.static(lab, asked, path) == found
    assert examined == [path, path]


def test_a_file_that_is_not_of_the_cache_is_looked_into_each_time(
    lab: Lab, asked: Case, examined: list[Path], tmp_path: Path
) -> None:
    good, _ = lab.artifact(asked)
    assert FAULT.alter is not None
    bad = tmp_path / good.name
    bad.write_bytes(FAULT.alter(good.read_bytes()))
    for _ in range(2):
        found = checks.static(lab, asked, bad)
        assert Status.FAILED in {one.status for one in found.values()}
    assert examined == [bad, bad]


def test_what_did_not_pass_is_not_kept(lab: Lab, asked: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_code", lambda: "of another test")
    path, _ = lab.artifact(asked)
    wrong = {"weights": StaticCheck(status=Status.FAILED, message="transposed")}
    right = {"weights": StaticCheck(status=Status.PASSED, message="12 weights")}
    for answer in (wrong, right):
        monkeypatch.setattr(checks, "_static", lambda *_, answer=answer: answer)
        assert checks.static(lab, asked, path) == answer


def test_any_change_of_the_suite_is_other_code() -> None:
    assert len(checks._code()) == 64

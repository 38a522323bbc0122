"""What a fixture states: whatever nothing bears, cannot be or has no reason is refused with its place."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from suite import stated
from suite.discovery import BUNDLED, BrokenFixture, discover, load_fixture
from suite.errors import UsageError
from suite.spec import Budget, ExpectedFailure, ModelSpec, Tolerance

WHY = "agreed with the app team"


def failure(**changes: Any) -> ExpectedFailure:
    good = {"variant": "int8", "check": "parity", "reason": WHY, "owner": "vision"}
    return ExpectedFailure(**(good | changes))


def spec(**changes: Any) -> ModelSpec:
    good: dict[str, Any] = {
        "tolerances": {"int8": Tolerance(min_sqnr_db=12, reason=WHY)},
        "budgets": {"int8": Budget(max_p50_ms=40, reason=WHY), "float32": Budget()},
        "expected_failures": (failure(), failure(check="*"), failure(check="par*", status="unsupported")),
    }
    return ModelSpec(name="flowers", **(good | changes))


def test_what_is_stated_rightly_is_taken() -> None:
    stated.check(spec())
    stated.check(ModelSpec())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"budgets": {"in8": Budget(max_p50_ms=40, reason=WHY)}},
            "budgets: unknown variant 'in8'.*int8",
        ),
        (
            {"tolerances": {"flaot16": Tolerance(reason=WHY)}},
            "tolerances: unknown variant 'fl.*float16",
        ),
        ({"budgets": {"int8": Budget(max_p50_ms=40)}}, "flowers, int8: moves a threshold without a reason"),
        ({"tolerances": {"int8": Tolerance(min_cosine=0.9)}}, "flowers, int8: .*without a reason"),
        (
            {"budgets": {"int8": Budget(max_accuracy_drop=3, reason=WHY)}},
            "max_accuracy_drop is 3, expected",
        ),
        ({"budgets": {"int8": Tolerance(min_cosine=0.9, reason=WHY)}}, r"budgets\['int8'\] is Tol.*Budget\("),
        ({"tolerances": [Tolerance(reason=WHY)]}, "tolerances is .*give a dict by variant"),
        ({"expected_failures": (failure(variant="int8io"),)}, "variant 'int8io': did you mean int8_io"),
        ({"expected_failures": (failure(check="acuracy"),)}, "check 'acuracy': did you mean accuracy"),
        ({"expected_failures": (failure(check="parity?"),)}, "check 'parity.'"),
        ({"expected_failures": (failure(status="crashed"),)}, "status 'crashed'"),
        ({"expected_failures": ("int8",)}, "holds 'int8': give an ExpectedFailure"),
    ],
)
def test_what_would_never_hold_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        stated.check(spec(**changes))


def test_both_reasons_of_a_variant_are_told() -> None:
    both = spec(budgets={"int8": Budget(max_p50_ms=40, reason="old phones")})
    expected = {"min_sqnr_db": 12, "max_p50_ms": 40, "reason": f"{WHY}; old phones"}
    assert stated.override(both, "int8") == expected
    assert stated.override(both, "float32") == {}


def test_every_bundled_fixture_is_sound() -> None:
    assert not [str(found) for found in discover(BUNDLED).values() if isinstance(found, BrokenFixture)]


FIXTURE = """
from suite.spec import Budget, ModelSpec
SPEC = ModelSpec(budgets={"VARIANT": Budget(max_p50_ms=40, reason="old phones")})
"""


def test_a_misspelt_variant_breaks_the_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for variant in ("int8", "in8"):
        (tmp_path / f"{variant}.py").write_text(FIXTURE.replace("VARIANT", variant))
    assert load_fixture(tmp_path / "int8.py").budgets["int8"].max_p50_ms == 40
    with pytest.raises(BrokenFixture, match=re.escape("fixture in8.py: budgets: unknown variant 'in8'")):
        load_fixture(tmp_path / "in8.py")

"""Thresholds: the documented defaults are the code's, and every mistake in a file is named."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from suite.errors import UsageError
from suite.spec import VARIANTS
from suite.thresholds import (
    BUDGET_BOUNDS,
    BUDGETS,
    DEFAULTS,
    TOLERANCE_BOUNDS,
    TOLERANCES,
    UNBOUNDED,
    Thresholds,
)

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pyproject.toml"
    path.write_text(text)
    return path


def test_every_variant_has_defaults_with_their_source() -> None:
    assert set(TOLERANCES) == set(BUDGETS) == set(VARIANTS)
    assert all(tolerance.source for tolerance in TOLERANCES.values())


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_pyproject_documents_every_default(variant: str) -> None:
    table = tomllib.loads(PYPROJECT.read_text())["tool"]["pocketproof"]["thresholds"][variant]
    tolerance, budget = DEFAULTS[variant]
    code = {name: getattr(tolerance, name) for name in TOLERANCE_BOUNDS}
    code |= {name: getattr(budget, name) for name in BUDGET_BOUNDS}
    assert {name: None if value == UNBOUNDED else value for name, value in table.items()} == code


def test_pyproject_of_this_repository_changes_no_default() -> None:
    assert Thresholds.load(PYPROJECT).variants == Thresholds.load(None).variants == DEFAULTS


def test_each_source_outranks_the_one_before(tmp_path: Path) -> None:
    variant = "[tool.pocketproof.thresholds.int8]\nmin_sqnr_db = 21\n"
    model = '[tool.pocketproof.models.squeezenet.int8]\nmin_sqnr_db = 23\nreason = "measured"\n'
    override = {"min_sqnr_db": 22.0, "reason": "its own"}

    def sqnr(thresholds: Thresholds, given: dict[str, object] | None = None) -> float | None:
        return thresholds.resolve("squeezenet", "int8", given)[0].min_sqnr_db

    assert sqnr(Thresholds()) == 20
    assert sqnr(Thresholds.load(write(tmp_path, variant))) == 21
    assert sqnr(Thresholds.load(write(tmp_path, variant)), override) == 22
    both = Thresholds.load(write(tmp_path, variant + model))
    assert sqnr(both, override) == 23
    assert both.resolve("resnet50", "int8")[0].min_sqnr_db == 21
    assert both.resolve("squeezenet", "float32") == DEFAULTS["float32"]


def test_words_stay_with_the_bound_they_explain(tmp_path: Path) -> None:
    override = {"max_bytes": 5_000_000, "reason": "the store's limit"}
    tolerance, budget = Thresholds().resolve("squeezenet", "int8", override)
    assert (tolerance, budget.max_bytes, budget.reason) == (
        TOLERANCES["int8"],
        5_000_000,
        "the store's limit",
    )
    path = write(
        tmp_path, '[tool.pocketproof.thresholds.int8]\nmin_cosine = 0.98\nsource = "our own study"\n'
    )
    assert Thresholds.load(path).resolve("squeezenet", "int8")[0].source == "our own study"
    path = write(tmp_path, "[tool.pocketproof.thresholds.int8]\nmin_cosine = 0.98\n")
    assert Thresholds.load(path).resolve("squeezenet", "int8")[0].source == str(path)


def test_a_bound_can_be_switched_off(tmp_path: Path) -> None:
    path = write(tmp_path, '[tool.pocketproof.thresholds.float32]\nmax_scaled_diff = "unbounded"\n')
    assert Thresholds.load(path).resolve("squeezenet", "float32")[0].max_scaled_diff is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.pocketproof.thresholds.int9]\n", "unknown variant 'int9'; did you mean 'int8'"),
        (
            "[tool.pocketproof.thresholds.int8]\nmin_sqnr = 3\n",
            "unknown threshold 'min_sqnr'; did you mean 'min_sqnr_db'",
        ),
        ("[tool.pocketproof.treshold.int8]\n", "unknown table 'treshold'; did you mean 'thresholds'"),
        (
            "[tool.pocketproof.thresholds.int8]\nzzz = 3\n",
            "unknown threshold 'zzz'; expected one of max_scaled",
        ),
        ("[tool.pocketproof.models.a.int8]\nmin_cosine = 0.9\n", "without a reason"),
        ('[tool.pocketproof.models.a.int8]\nmin_cosine = 0.9\nreason = " "\n', "without a reason"),
        ('[tool.pocketproof.models.a.in8]\nreason = "x"\n', "did you mean 'int8'"),
        ("[tool.pocketproof.models.a.int8]\nreason = 3\n", "reason is 3, expected text"),
        ("[tool.pocketproof.thresholds.int8]\nmin_cosine = 98\n", "expected a value from -1 to 1"),
        ("[tool.pocketproof.thresholds.int8]\nmin_top1_agreement = 98\n", "expected a value from 0 to 1"),
        ("[tool.pocketproof.thresholds.int8]\nmax_bytes = -1\n", "expected a value from 0"),
        ("[tool.pocketproof.thresholds.int8]\nmin_cosine = nan\n", "expected a number"),
        ("[tool.pocketproof.thresholds.int8]\nmin_cosine = true\n", "expected a number"),
        ('[tool.pocketproof.thresholds.int8]\nmin_cosine = "0.9"\n', "expected a number"),
        ("[tool.pocketproof]\nthresholds = 3\n", "expected a table"),
        ("[tool.pocketproof.models]\na = 3\n", "expected a table"),
        ("[tool.pocketproof\n", "not valid TOML"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=r"pyproject\.toml") as error:
        Thresholds.load(write(tmp_path, text))
    assert message in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.toml: cannot read"):
        Thresholds.load(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"min_sqnr_db": 15.0}, "without a reason"),
        ({"min_sqnr": 15.0, "reason": "x"}, "did you mean 'min_sqnr_db'"),
        ({"min_sqnr_db": float("nan"), "reason": "x"}, "expected a number"),
    ],
)
def test_a_mistake_in_a_fixture_is_named(override: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Thresholds().resolve("squeezenet", "int8", override)


def test_an_unknown_variant_has_no_thresholds() -> None:
    with pytest.raises(UsageError, match="unknown variant 'int88'; did you mean 'int8'"):
        Thresholds().resolve("squeezenet", "int88")


def test_a_misspelt_model_is_pointed_out(tmp_path: Path) -> None:
    path = write(tmp_path, '[tool.pocketproof.models.squezenet.int8]\nmin_cosine = 0.9\nreason = "x"\n')
    thresholds = Thresholds.load(path)
    assert "was 'squeezenet' meant?" in thresholds.misspelt(["squeezenet", "resnet50"])[0]
    assert thresholds.misspelt(["resnet50"]) == []
    assert thresholds.misspelt(["squezenet", "squeezenet"]) == []

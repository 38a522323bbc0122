"""Options whose values are paths: pytest must not take those for the place of the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from suite.invocation import joined
from tests.meta.product import ROOT

OPTIONS = ("--report-dir", "--model-file")


def test_a_value_that_exists_is_joined_to_its_option(tmp_path: Path) -> None:
    there, absent = str(tmp_path), str(tmp_path / "absent")
    given = ["-q", "--report-dir", there, "tests", "--model-file", absent, "--other", there]
    assert joined(given, OPTIONS) == ["-q", f"--report-dir={there}", "tests", *given[4:]]
    assert joined(joined(given, OPTIONS), OPTIONS) == joined(given, OPTIONS)


def test_what_is_clear_stays_as_it_is(tmp_path: Path) -> None:
    for given in ([], [str(tmp_path)], [f"--report-dir={tmp_path}", str(tmp_path)], ["--report-dir"]):
        assert joined(given, OPTIONS) == given


@pytest.mark.parametrize("separator", [" ", "="])
def test_a_report_folder_that_exists_elsewhere_does_not_lead_pytest_astray(
    tmp_path: Path, separator: str
) -> None:
    option = f"--report-dir{separator}{tmp_path}".split()
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--profile", "smoke", *option]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (
        "tests/validate/test_parity.py::test_parity[digits_cnn/float32/host/litert-xnnpack]" in result.stdout
    )

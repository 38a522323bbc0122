"""Options whose values are paths: pytest must not take those for the place of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from suite.invocation import joined
from tests.meta.product import ROOT

# These tests may run in a worker of xdist themselves; what they start must not take itself for one.
FROM_A_SHELL = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
OPTIONS = ("--report-dir", "--model-file")


def test_a_value_is_joined_to_its_option() -> None:
    given = ["-q", "--report-dir", "/tmp/run", "tests", "--model-file", "m.keras", "--other", "m.keras"]
    clear = ["-q", "--report-dir=/tmp/run", "tests", "--model-file=m.keras", "--other", "m.keras"]
    assert joined(given, OPTIONS) == clear
    assert joined(clear, OPTIONS) == clear


def test_what_is_clear_stays_as_it_is() -> None:
    for given in ([], ["tests"], ["--report-dir=run", "tests"], ["--report-dir"], ["--report-dir", "-q"]):
        assert joined(given, OPTIONS) == given


@pytest.mark.parametrize("separator", [" ", "="])
@pytest.mark.parametrize("program", [("-m", "pytest"), (str(Path(sys.executable).with_name("pytest")),)])
def test_a_report_folder_that_exists_elsewhere_does_not_lead_pytest_astray(
    tmp_path: Path, program: tuple[str, ...], separator: str
) -> None:
    option = f"--report-dir{separator}{tmp_path}".split()
    command = [sys.executable, *program, "--collect-only", "-q", "--profile", "smoke", *option]
    result = subprocess.run(command, cwd=ROOT, env=FROM_A_SHELL, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (
        "tests/validate/test_parity.py::test_parity[digits_cnn/float32/host/litert-xnnpack]" in result.stdout
    )


def test_workers_that_start_when_the_folder_is_there_are_not_led_astray(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-n", "1", "-q", "-m", "conversion", "--variants", "float32"]
    option = ("--models", "digits_cnn", "--report-dir", str(tmp_path / "run"))
    result = subprocess.run(
        [*command, *option], cwd=ROOT, env=FROM_A_SHELL, capture_output=True, text=True, check=False
    )
    assert " passed" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 0

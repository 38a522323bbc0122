"""What the README says can be done as it stands there, and its defaults are the code's."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from suite.discovery import load_fixture
from suite.matrix import PROFILES
from suite.record import Status
from suite.spec import PREPROCESSING, VARIANTS
from suite.thresholds import Thresholds

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands(program):
    lines = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.split()[:1] == [program]]


@pytest.mark.parametrize("command", commands("pytest"))
def test_each_pytest_command_selects_something(command, tmp_path):
    names = {
        "my.keras": "my.keras",
        "my.npz": "my.npz",
        "built-elsewhere.tflite": "",
        "built-elsewhere.mlpackage": "",
    }
    words = shlex.split(command)[1:]
    if any(name in words for name in names):
        pytest.skip("its files are the reader's; test_given runs the same options on files of its own")
    shell = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "--collect-only", "-q"],
        cwd=ROOT,
        env={**shell, "ADBUTILS_ADB_PATH": "/nonexistent/adb", "ANDROID_ADB_SERVER_PORT": "9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"::test_\w+\[", result.stdout)


def test_each_make_target_is_there():
    makefile = (ROOT / "Makefile").read_text()
    targets = {
        line.split()[1]
        for line in TEXT.splitlines()
        if re.match(r"(\$ )?make \w+", line.removeprefix("$ "))
        for line in [line.removeprefix("$ ")]
    }
    assert {"validate", "test", "lint", "bench"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_the_example_fixture_can_be_read(tmp_path):
    source = next(block for block in blocks("python") if "SPEC = ModelSpec" in block)
    path = tmp_path / "flowers.py"
    path.write_text(source)
    assert load_fixture(path).name == "flowers"
    assert len([line for line in source.splitlines() if line.strip()]) <= 12


def test_the_example_thresholds_can_be_read(tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text(blocks("toml")[0])
    _, budget = Thresholds.load(path).resolve("flowers", "int8")
    assert budget.max_p50_ms == 40


def test_names_are_those_of_the_code():
    assert all(f"`{name}`" in TEXT for name in (*VARIANTS, *PREPROCESSING, *Status))
    assert all(f"--profile {name}" in TEXT or name == "default" for name in PROFILES)


def test_the_package_is_described_as_the_readme_does():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "MIT"
    assert "phone" in project["description"]

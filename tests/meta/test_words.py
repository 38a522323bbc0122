"""How numbers and commands are written."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from suite.gates import Finding, Gate
from suite.record import Check
from suite.report import words


@pytest.mark.parametrize(
    ("check", "command"),
    [
        (Check.PARITY, 'pytest "tests/validate/test_parity.py::test_parity[a/int8/host/x]"'),
        (Check.BENCHMARK, 'pytest tests/validate/test_benchmark.py -k "a/int8/host/x"'),
        (None, "pytest --models a --variants int8"),
    ],
)
def test_the_command_that_shows_a_finding_again(check: Check | None, command: str) -> None:
    finding = Finding(gate=Gate.STATUS, message="", case_id="a/int8/host/x", check=check)
    assert words.command(finding) == command
    assert words.command(replace(finding, case_id="")) is None


@pytest.mark.parametrize(
    ("target", "file"),
    [
        ("host/coreml", "coreml"),
        ("host/coreml-cpu", "coreml"),
        ("ios:00008110-0123/coreml", "coreml"),
        ("android:emulator-5554/xnnpack", "android"),
    ],
)
def test_what_holds_a_device_to_this_machine_is_named_by_its_target(target: str, file: str) -> None:
    case_id = f"a/int8/{target}"
    told = words.proof(Check.HOST_PARITY, case_id)
    assert told == f'"tests/validate/test_{file}.py::test_host_parity[{case_id}]"'


@pytest.mark.parametrize("target", ["host/x", "android:0/xnnpack"])
@pytest.mark.parametrize("check", list(Check))
def test_the_tests_that_commands_name_exist(check: Check, target: str) -> None:
    named = re.search(r"tests/validate/\w+\.py", words.proof(check, f"a/int8/{target}"))
    assert named is not None
    file = Path(__file__).parents[2] / named[0]
    assert f"def test_{check}(" in file.read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (words.size(392_000), "392 kB"),
        (words.size(95_700_000), "95.7 MB"),
        (words.size(12), "12 B"),
        (words.ms(0.2104), "0.210 ms"),
        (words.ms(1234.5), "1234 ms"),
        (words.percent(0.98765), "98.8 %"),
        (words.points(-0.0123), "-1.23"),
        (words.plain(0.99999), "0.99999"),
        (words.plain(1e-4), "0.0001"),
        (words.significant(0.0), "0"),
    ],
)
def test_numbers_as_one_reads_them(text: str, expected: str) -> None:
    assert text == expected

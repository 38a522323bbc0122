"""The bench part of `prove` fails where the proof does."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.bench import prove

KILLED = {"name": "x", "model": "m", "variant": "v", "killed_by": "parity", "message": ""}
FOUND: dict[str, Any] = {
    "faults": [KILLED],
    "kill_rate": 1.0,
    "false_alarms": 0,
    "good_runs": 100,
    "alarms": [],
    "errors": [],
}
SURVIVOR = {**KILLED, "killed_by": None, "equivalent": False, "not_exercised": False, "broken": False}


def _held(monkeypatch: pytest.MonkeyPatch, found: dict[str, Any] | None, seconds: float = 300.0) -> bool:
    def run(command: list[str], **_: object) -> None:
        (folder,) = (Path(word.partition("=")[2]) for word in command if word.startswith("--report-dir="))
        assert command[1:4] == ["-m", "suite", "prove"]
        if found is not None:
            (folder / "prove.json").write_text(json.dumps(found))

    monkeypatch.setattr(subprocess, "run", run)
    return prove.measure("", prove.SMOKE_RATE, prove.GOOD_RUNS, seconds)


def test_a_proof_within_its_bars_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _held(monkeypatch, FOUND)


@pytest.mark.parametrize(
    "worse",
    [
        {"kill_rate": 0.995, "faults": [KILLED, SURVIVOR]},
        {"kill_rate": None, "faults": []},
        {"false_alarms": 1, "alarms": ["m/v, seed 3: too far"]},
        {"errors": ["m/v: it did not answer within 900 s"]},
        {"good_runs": 99},
    ],
    ids=lambda one: next(iter(one)),
)
def test_each_bar_is_held(monkeypatch: pytest.MonkeyPatch, worse: dict[str, Any]) -> None:
    assert not _held(monkeypatch, {**FOUND, **worse})


def test_a_command_that_breaks_or_takes_too_long_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _held(monkeypatch, None)
    assert not _held(monkeypatch, FOUND, seconds=0.0)

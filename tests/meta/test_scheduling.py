"""What a run takes in, and in which order it is begun."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from suite import collection
from suite.discovery import BUNDLED, discover
from suite.matrix import Case, Request, cases
from tests.meta.conftest import ROOT


def _collected(*options: str) -> set[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *options]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return set(re.findall(r"test_realtime\[[^/]+/([^/]+)/", done.stdout))


def test_the_default_profile_puts_few_variants_behind_a_camera() -> None:
    assert _collected("-m", "realtime") == {"float32", "int8"}


@pytest.mark.parametrize(
    "options", [("--variants", "float16"), ("--profile", "full", "--models", "squeezenet")]
)
def test_what_is_asked_for_by_name_is_measured(options: tuple[str, ...]) -> None:
    assert "float16" in _collected("-m", "realtime", *options)


def test_workers_begin_with_the_longest_model(monkeypatch: pytest.MonkeyPatch) -> None:
    found = cases(discover(BUNDLED), Request(profile="default"))

    class Config:
        """Of the process that was started by hand."""

    class WorkerConfig:
        """Of a process that xdist started."""

        workerinput: dict[str, str] = {}  # noqa: RUF012

    def models(order: list[Case]) -> list[str]:
        return list(dict.fromkeys(case.spec.name for case in order))

    alone = models(list(collection.in_order(found, Config())))  # type: ignore[arg-type]
    shared = models(list(collection.in_order(found, WorkerConfig())))  # type: ignore[arg-type]
    assert alone == models(found)
    assert shared[:3] == ["inception_v3", "resnet50", "densenet121"]
    assert sorted(shared) == sorted(alone)

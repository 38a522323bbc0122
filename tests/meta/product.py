"""Runs the product as its user does: pytest in a process of its own, on models made for the purpose."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from suite import store
from suite.cache import default_cache
from suite.record import Record

ROOT = Path(__file__).resolve().parents[2]
HOST = "host/litert-xnnpack"
SMALL = ("--models", "digits_cnn", "--profile", "smoke", "-v")
QUICK = ("--variants", "float32", "--profile", "smoke", "-m", "not benchmark")

PHONE_PARTS = ("phone", "program", "qemu", "apt", "c-library", "tflite-library")  # content, not state

# A user's own fixture. It learns nothing, but its weights are random, so its answers carry signal.
FIXTURE = """
from suite.spec import ImageInput, ModelSpec

def build(weights):
    import keras
    keras.utils.set_random_seed(1)
    return keras.Sequential([
        keras.Input((16, 16, 3)), keras.layers.Conv2D(8, 3, activation="relu"),
        keras.layers.GlobalAveragePooling2D(), keras.layers.Dense({classes}),
    ])

SPEC = ModelSpec(build=build, input=ImageInput(height=16, width=16, preprocessing="tf"){more})
"""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: int
    text: str
    report: Path

    @property
    def records(self) -> dict[str, Record]:
        """Records by case id."""
        return {record.case_id: record for record in store.load(self.report).records}


class Product:
    """Runs that share a cache."""

    def __init__(self, cache: Path, folder: Path) -> None:
        self.cache, self.folder = cache, folder
        self._runs = 0

    def environment(self, **more: str) -> dict[str, str]:
        """This process's, without what pytest and xdist put there, or what keeps Python from being quick."""
        left_out = ("PYTEST_", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        return {**kept, "POCKETPROOF_CACHE": str(self.cache), **more}

    def command(self, *arguments: str) -> tuple[list[str], Path]:
        """The command line of a run, and where it reports."""
        self._runs += 1
        given = [Path(one.partition("=")[2]) for one in arguments if one.startswith("--report-dir=")]
        report = given[0] if given else self.folder / f"run{self._runs}"
        tests = [] if any(argument.startswith("tests/") for argument in arguments) else ["tests/validate"]
        line = [sys.executable, "-m", "pytest", *tests, *arguments, f"--report-dir={report}"]
        return [*line, "-p", "no:cacheprovider"], report

    def share_phone_parts(self) -> None:
        """Use what this user's stand-ins are built of, which takes long to fetch."""
        self.cache.mkdir(parents=True, exist_ok=True)
        for kind in PHONE_PARTS:
            with contextlib.suppress(FileExistsError):
                (self.cache / kind).symlink_to(default_cache().root / kind)

    def run(self, *arguments: str, **environment: str) -> Outcome:
        """Run to the end."""
        command, report = self.command(*arguments)
        result = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return Outcome(result.returncode, result.stdout + result.stderr, report)

    def fixtures(self, **sources: str) -> Path:
        """A folder of fixtures, by file stem."""
        folder = self.folder / "fixtures"
        folder.mkdir(exist_ok=True)
        for stem, source in sources.items():
            (folder / f"{stem}.py").write_text(dedent(source))
        return folder


def fixture(classes: int = 4, more: str = "") -> str:
    """The source of a user's fixture."""
    return FIXTURE.format(classes=classes, more=f", {more}" if more else "")


def no_traceback(text: str) -> None:
    """A user's mistake is a message."""
    assert "Traceback (most recent call last)" not in text
    assert "INTERNALERROR" not in text

"""What a machine can run: tried out, with the remedy for what it cannot."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from suite import doctor
from suite.devices import standin, tools
from suite.doctor import Ability, Package
from tests.meta.conftest import ROOT


def test_a_library_that_loads_is_named_with_its_version() -> None:
    (found,) = doctor.imports([Package("compute", "numpy", "numpy")])
    assert found.can
    assert found.detail.startswith("numpy 1.")
    assert not found.remedy


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise ImportError('libfoo.so: cannot open shared object file')", "libfoo.so"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"),
        ("raise SystemExit(3)", "exit status 3"),
    ],
)
def test_a_library_that_does_not_load_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    (tmp_path / "broken_library.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (found,) = doctor.imports([Package("compute", "broken-library", "broken_library", needed=True)])
    assert not found.can
    assert words in found.detail
    assert "make setup" in found.remedy
    assert not doctor.ready([found])


def test_an_import_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hanging_library.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(doctor, "IMPORT_SECONDS", 0.5)
    assert "did not end within 0.5 s" in doctor.imported("hanging_library")


def test_a_cache_with_room_can_be_used_and_one_without_cannot(tmp_path: Path) -> None:
    assert doctor.cache_room(tmp_path / "new", needed_bytes=1).can
    full = doctor.cache_room(tmp_path, needed_bytes=1 << 60)
    assert not full.can
    assert "POCKETPROOF_CACHE" in full.remedy


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = doctor.cache_room(tmp_path / "file" / "cache")
    assert not found.can
    assert os.strerror(errno.ENOTDIR) in found.detail


def test_a_sandbox_that_is_lacking_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.shutil, "which", lambda _: None)
    found = list(doctor.stand_ins())
    assert [one.can for one in found] == [False] * len(standin.ABIS)
    assert all("bubblewrap" in one.detail for one in found)


def test_no_phone_comes_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.devices.fleet.attached", lambda _: [])
    (found,) = doctor.android()
    assert not found.can
    assert "USB debugging" in found.detail


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML is there")
def test_without_core_ml_a_golden_bundle_is_the_way() -> None:
    (found,) = doctor.core_ml()
    assert not found.can
    assert "suite bundle" in found.remedy


def test_only_what_is_needed_decides() -> None:
    good = Ability(name="convert", can=True, detail="", needed=True)
    bad = Ability(name="convert", can=False, detail="gone", needed=True)
    extra = Ability(name="iPhone", can=False, detail="none")
    assert doctor.ready([good, extra])
    assert not doctor.ready([good, bad])
    assert not doctor.ready([extra])
    assert not doctor.ready([])
    *_, last = doctor.lines([good, bad])
    assert last.startswith("not ready")
    assert "convert" in last


def test_the_command_speaks_json(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "suite", "doctor", "--json", "--no-phones"]
    environment = {**os.environ, "POCKETPROOF_CACHE": str(tmp_path)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["ready"] else 1), done.stderr
    assert {one["name"] for one in found["abilities"] if one["needed"]} >= {"run TFLite on LiteRT"}
    assert all(one["can"] or one["remedy"] or one["detail"] for one in found["abilities"])
    assert found["host"]["fingerprint"]

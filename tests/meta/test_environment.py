"""The machine's fingerprint: the same for the same machine, and honest where nothing is known."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pytest

from suite import environment
from suite.cache import digest


def test_a_machine_is_described_and_known_by_its_hardware_alone() -> None:
    host = environment.host()
    hardware = {name: host[name] for name in ("cpu", "machine", "cores", "memory_bytes", "system")}
    assert host["fingerprint"] == digest(hardware)[:12]
    assert host["memory_bytes"] > 100_000_000
    assert host["python"] == platform.python_version()
    assert host["versions"]["numpy"].startswith("1.")
    assert all(host["versions"].values())


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 6}, raising=False)
    assert environment.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert environment.cores() == os.cpu_count()


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=someone", "-c", "user.email=someone@example.com")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_revision_is_that_of_the_checkout_and_says_when_files_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment._git_revision() is None
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-q", "-m", "one")
    clean = environment._git_revision()
    assert clean is not None
    assert len(clean) == 40
    (tmp_path / "a").write_text("2")
    assert environment._git_revision() == f"{clean}-dirty"


def test_without_git_there_is_no_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert environment._git_revision() is None

"""The cache: built once, whole or not at all, and never believed without a look."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.cache import Built, Cache, NotBuilt, default_cache, digest, sha256_file, sha256_tree
from suite.errors import PocketproofError
from tests.meta.conftest import ROOT

KEY = {"model": "abc", "variant": "int8"}

# Builds an entry in a process of its own; says so when it begins, and then takes its time.
BUILDER = """
import sys, time
from pathlib import Path
from suite.cache import Cache

def build(folder):
    (folder / "model.bin").write_bytes(b"half")
    with open(sys.argv[2], "a") as log:
        log.write("built\\n")
    time.sleep(float(sys.argv[3]))
    (folder / "model.bin").write_bytes(b"whole")

print(Cache(Path(sys.argv[1])).get_or_build("artifact", {"model": "abc", "variant": "int8"}, build))
"""


def start_builder(cache: Cache, log: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(cache.root), str(log), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


class Build:
    """Fills an entry, and counts how often it had to."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, folder: Path) -> None:
        self.count += 1
        (folder / "model.bin").write_bytes(b"0123456789" * 100)
        (folder / "below").mkdir()
        (folder / "below" / "facts.json").write_text("{}")


@pytest.fixture
def build() -> Build:
    return Build()


def test_an_intact_entry_knows_the_hashes_of_its_files_and_folders(
    cache: Cache, build: Build, tmp_path: Path
) -> None:
    place = cache.get_or_build("artifact", KEY, build)
    for path in (place / "model.bin", place / "below", place / "below" / "facts.json"):
        assert cache.sha256(path) == sha256_tree(path)
    (place / "model.bin").write_bytes(b"altered")
    assert cache.sha256(place / "model.bin") is None
    assert cache.sha256(place / "no such file") is None
    assert cache.sha256(cache.root / "scratch" / "12" / "model.bin") is None
    assert cache.sha256(tmp_path.parent / "model.bin") is None


def test_an_entry_is_built_once(cache: Cache, build: Build) -> None:
    first = cache.get_or_build("artifact", KEY, build)
    assert cache.get_or_build("artifact", KEY, build) == first
    assert Cache(cache.root).get_or_build("artifact", KEY, build) == first
    assert build.count == 1
    assert (first / "model.bin").read_bytes().startswith(b"0123")
    assert not list(first.parent.glob("*.tmp-*"))


@pytest.mark.parametrize("other", [("reference", KEY), ("artifact", {**KEY, "variant": "float16"})])
def test_another_kind_or_key_is_another_entry(
    cache: Cache, build: Build, other: tuple[str, dict[str, str]]
) -> None:
    assert cache.get_or_build("artifact", KEY, build) != cache.get_or_build(*other, build)
    assert build.count == 2


def test_a_lookup_builds_nothing(cache: Cache, build: Build) -> None:
    assert cache.lookup("artifact", KEY) is None
    assert not cache.root.exists()
    place = cache.get_or_build("artifact", KEY, build)
    assert cache.lookup("artifact", KEY) == place
    cache.discard("artifact", KEY)
    assert cache.lookup("artifact", KEY) is None


@given(st.dictionaries(st.text(), st.integers() | st.dictionaries(st.text(), st.text()), min_size=2))
def test_a_key_does_not_depend_on_its_order(key: dict[str, object]) -> None:
    turned = {
        name: dict(reversed(list(value.items()))) if isinstance(value, dict) else value
        for name, value in reversed(list(key.items()))
    }
    assert digest(turned) == digest(key)
    assert digest({**key, "one more": 1}) != digest(key)


# --- damage -----------------------------------------------------------------


def truncate(place: Path) -> None:
    file = place / "model.bin"
    file.write_bytes(file.read_bytes()[:-1])


def empty(place: Path) -> None:
    (place / "model.bin").write_bytes(b"")


def alter_a_byte(place: Path) -> None:
    file = place / "model.bin"
    content = bytearray(file.read_bytes())
    content[500] ^= 1
    file.write_bytes(content)


def remove(place: Path) -> None:
    (place / "below" / "facts.json").unlink()


def swap_in_a_folder(place: Path) -> None:
    (place / "model.bin").unlink()
    (place / "model.bin").mkdir()


def remove_the_manifest(place: Path) -> None:
    (place / "entry.json").unlink()


def cut_the_manifest(place: Path) -> None:
    manifest = place / "entry.json"
    manifest.write_bytes(manifest.read_bytes()[:-20])


def make_the_manifest_a_list(place: Path) -> None:
    (place / "entry.json").write_text("[1, 2]")


def expect_another_hash(place: Path) -> None:
    manifest = json.loads((place / "entry.json").read_text())
    manifest["files"]["model.bin"] = "0" * 64
    (place / "entry.json").write_text(json.dumps(manifest))


def forget_a_damaged_file(place: Path) -> None:
    """A file that the manifest does not list must not be believed."""
    truncate(place)
    manifest = json.loads((place / "entry.json").read_text())
    del manifest["files"]["model.bin"]
    (place / "entry.json").write_text(json.dumps(manifest))


DAMAGES = [
    truncate,
    empty,
    alter_a_byte,
    remove,
    swap_in_a_folder,
    remove_the_manifest,
    cut_the_manifest,
    make_the_manifest_a_list,
    expect_another_hash,
    forget_a_damaged_file,
]


@pytest.mark.parametrize("same_process", [True, False], ids=["same process", "next run"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_built_again(
    cache: Cache, build: Build, damage: Callable[[Path], None], same_process: bool
) -> None:
    place = cache.get_or_build("artifact", KEY, build)
    damage(place)
    later = cache if same_process else Cache(cache.root)
    assert later.lookup("artifact", KEY) is None
    again = later.get_or_build("artifact", KEY, build)
    assert build.count == 2
    assert again == place
    assert (again / "model.bin").read_bytes() == b"0123456789" * 100
    assert (again / "below" / "facts.json").read_text() == "{}"


# --- builds that do not end well ----------------------------------------------


def test_a_build_that_raises_leaves_nothing(cache: Cache, build: Build) -> None:
    def fail(folder: Path) -> None:
        build(folder)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.get_or_build("artifact", KEY, fail)
    assert cache.lookup("artifact", KEY) is None
    assert [path.suffix for path in (cache.root / "artifact").iterdir()] == [".lock"]
    assert cache.get_or_build("artifact", KEY, build).is_dir()


def test_two_processes_that_want_one_entry_build_it_once(cache: Cache, tmp_path: Path) -> None:
    log = tmp_path / "log"
    builders = [start_builder(cache, log, 0.5) for _ in range(2)]
    places = {builder.communicate(timeout=60)[0].strip() for builder in builders}
    assert log.read_text() == "built\n"
    (place,) = places
    assert (Path(place) / "model.bin").read_bytes() == b"whole"


def test_a_build_that_is_killed_leaves_no_entry_and_no_lock(
    cache: Cache, tmp_path: Path, build: Build
) -> None:
    log = tmp_path / "log"
    with start_builder(cache, log, 600) as builder:
        deadline = time.monotonic() + 60
        while not log.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        builder.send_signal(signal.SIGKILL)
    leftovers = list((cache.root / "artifact").glob("*.tmp-*"))
    assert len(leftovers) == 1  # it was in the middle of it
    assert cache.lookup("artifact", KEY) is None
    place = cache.get_or_build("artifact", KEY, build)
    assert build.count == 1
    assert (place / "model.bin").stat().st_size == 1000
    assert not leftovers[0].exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which is Linux's")
def test_a_full_disk_is_one_message_that_says_where_and_what_to_do(cache: Cache) -> None:
    def fill(folder: Path) -> None:
        (folder / "model.bin").symlink_to("/dev/full")
        (folder / "model.bin").write_bytes(b"0" * 10_000)

    with pytest.raises(PocketproofError) as caught:
        cache.get_or_build("artifact", KEY, fill)
    message = str(caught.value)
    assert str(cache.root) in message
    assert os.strerror(errno.ENOSPC) in message
    assert "POCKETPROOF_CACHE" in message
    assert "Free some space" in message
    assert cache.lookup("artifact", KEY) is None


def test_an_error_that_is_no_full_disk_stays_itself(cache: Cache) -> None:
    def fail(folder: Path) -> None:
        (folder / "absent").read_bytes()

    with pytest.raises(FileNotFoundError):
        cache.get_or_build("artifact", KEY, fail)


# --- hashes and places ----------------------------------------------------------


def test_the_hash_of_a_folder_is_of_its_files_and_their_names(tmp_path: Path) -> None:
    def folder(name: str, **files: str) -> Path:
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
        return tmp_path / name

    one = sha256_tree(folder("one", a="1", b="2"))
    assert sha256_tree(folder("same", b="2", a="1")) == one
    assert sha256_tree(folder("content", a="1", b="3")) != one
    assert sha256_tree(folder("names", a="1", c="2")) != one
    file = tmp_path / "one" / "a"
    assert sha256_tree(file) == sha256_file(file)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"POCKETPROOF_CACHE": "/given/here"}, "/given/here"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/pocketproof"),
        ({"HOME": "/home/someone"}, "/home/someone/.cache/pocketproof"),
    ],
)
def test_where_a_users_cache_is(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name in ("POCKETPROOF_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_cache.__wrapped__().root == Path(expected)


# --- without building ------------------------------------------------------------------


def test_what_is_built_is_found_without_building_and_verified_for_both(cache: Cache) -> None:
    place = cache.get_or_build("artifact", KEY, Build())
    other = Cache(cache.root)
    built = Built(other)
    assert built.get_or_build("artifact", KEY, Build()) == place
    assert place in other._verified


def test_what_is_not_built_or_damaged_is_left_as_it_is(cache: Cache) -> None:
    build = Build()
    with pytest.raises(NotBuilt):
        Built(cache).get_or_build("artifact", KEY, build)
    assert not cache.root.exists()
    place = cache.get_or_build("artifact", KEY, build)
    (place / "model.bin").write_bytes(b"altered")
    with pytest.raises(NotBuilt):
        Built(Cache(cache.root)).get_or_build("artifact", KEY, build)
    assert build.count == 1
    assert (place / "model.bin").read_bytes() == b"altered"

"""Files by content: built once, verified at every use, safe for many processes and for a kill.

An entry is a folder named by the hash of its key. It is built beside its place
and renamed into it, so it is there whole or not at all. Its manifest holds the
SHA-256 of each of its files; an entry that does not match is built again.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from suite.errors import PocketproofError

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
FORMAT = 1  # of the entries; part of every key
_MANIFEST = "entry.json"


class Cache:
    """Entries under `root`, by kind and key."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: dict[Path, tuple[tuple[str, str, int, int], ...]] = {}

    def get_or_build(self, kind: str, key: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
        """Return the folder of the entry; `build(folder)` fills it when it is missing or damaged.

        Other processes that want the same entry wait for the one that builds it.
        """
        if (found := self.lookup(kind, key)) is not None:
            return found
        place = self._place(kind, key)
        with full_disk_explained(self.root), _locked(place):
            if self._intact(place):
                return place
            _remove_leftovers(place)
            _build(place, key, build)
        self._intact(place)
        return place

    def lookup(self, kind: str, key: Mapping[str, Any]) -> Path | None:
        """Return the folder of an intact entry, or None."""
        place = self._place(kind, key)
        return place if self._intact(place) else None

    def sha256(self, path: Path) -> str | None:
        """What `sha256_tree` finds, without reading it again; None for what lies in no intact entry."""
        if not path.is_relative_to(self.root):
            return None
        place = self.root.joinpath(*path.relative_to(self.root).parts[:2])
        if not self._intact(place):
            return None
        own = path.relative_to(place).as_posix()
        files = {name: sha256 for name, sha256, *_ in self._verified[place]}
        below = {
            name.removeprefix(f"{own}/"): sha256
            for name, sha256 in files.items()
            if name.startswith(f"{own}/")
        }
        return files.get(own) or (digest(below) if below else None)

    def discard(self, kind: str, key: Mapping[str, Any]) -> None:
        """Forget an entry that turned out to be stale."""
        place = self._place(kind, key)
        with _locked(place):
            shutil.rmtree(place, ignore_errors=True)

    def _place(self, kind: str, key: Mapping[str, Any]) -> Path:
        return self.root / kind / digest({"format": FORMAT, "kind": kind, **key})[:32]

    def _intact(self, place: Path) -> bool:
        """Whether every file has the manifest's hash; one unchanged since the last look is not read again."""
        try:
            files: dict[str, str] = json.loads((place / _MANIFEST).read_bytes())["files"]
            if sorted(files) != _names(place):
                return False
            seen = tuple(
                (name, files[name], stat.st_size, stat.st_mtime_ns)
                for name in sorted(files)
                for stat in [(place / name).stat()]
            )
            if self._verified.get(place) == seen:
                return True
            intact = all(sha256_file(place / name) == expected for name, expected in files.items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        if intact:
            self._verified[place] = seen
        return intact


class NotBuilt(PocketproofError):
    """An entry is not there, and was not to be built."""


class Built(Cache):
    """The same entries, as far as they are there: NotBuilt where one would have to be made."""

    def __init__(self, cache: Cache) -> None:
        super().__init__(cache.root)
        self._verified = cache._verified  # what is verified by one is known to the other

    def get_or_build(self, kind: str, key: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
        """Return the folder of the entry."""
        if (found := self.lookup(kind, key)) is None:
            raise NotBuilt(f"no {kind} is cached under this key: run once without asking ahead")
        return found


def digest(value: Any) -> str:
    """SHA-256 of a JSON-able value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(path: Path) -> str:
    """SHA-256 of a file, or of every file below a folder with its relative name."""
    if path.is_file():
        return sha256_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return digest({file.relative_to(path).as_posix(): sha256_file(file) for file in files})


@cache
def default_cache() -> Cache:
    """The cache of this user: $POCKETPROOF_CACHE, or `pocketproof` in the XDG cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Cache(Path(os.environ.get("POCKETPROOF_CACHE") or Path(base) / "pocketproof"))


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Hold the entry's lock; the kernel frees it when this process dies."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(place: Path, key: Mapping[str, Any], build: Callable[[Path], None]) -> None:
    folder = Path(tempfile.mkdtemp(prefix=f"{place.name}.tmp-", dir=place.parent))
    try:
        build(folder)
        files = {name: sha256_file(folder / name) for name in _names(folder)}
        (folder / _MANIFEST).write_text(json.dumps({"key": key, "files": files}, indent=1, default=str))
        folder.rename(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _names(folder: Path) -> list[str]:
    """Every file of an entry, the manifest apart."""
    files = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return sorted(name for name in files if name != _MANIFEST)


def _remove_leftovers(place: Path) -> None:
    """What a killed build or a damaged entry left; only called with the entry's lock held."""
    for leftover in (place, *place.parent.glob(f"{place.name}.tmp-*")):
        shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def full_disk_explained(root: Path) -> Iterator[None]:
    """Say of a disk that takes no more what to do about it."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise PocketproofError(
            f"cannot write to the cache {root}: {error.strerror}. Free some space there, "
            "or name another folder in POCKETPROOF_CACHE; what is recorded so far is kept."
        ) from error

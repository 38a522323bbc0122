"""What `device_runner` is on a phone: itself, the TFLite library, and the C library they were made for.

With its own C library the bundle does not depend on what the phone has.
`python -m suite.devices.bundle [ABI ...]` builds it and prints where it is.
"""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from suite.cache import Cache, default_cache, sha256_file
from suite.devices import packages, tools
from suite.devices.compiler import compiled
from suite.errors import PocketproofError, UsageError

SOURCES = sorted((Path(__file__).parent / "runner").glob("*.[ch]"))
RUNNER = "device_runner"
LIBRARY = "liblitert-lm.so"
_FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-pthread", "-ldl", "-lm")
_WHEEL = "litert-lm-api==0.18.1"  # 0.19 no longer exports the C API
_C_LIBRARIES = ("libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Platform:
    """One ABI in the words of compilers, wheels and Debian."""

    machine: str
    debian: str
    loader: str
    wheel_sha256: str


_PLATFORMS: Mapping[str, _Platform] = {
    "x86_64": _Platform(
        machine="x86_64",
        debian="amd64",
        loader="ld-linux-x86-64.so.2",
        wheel_sha256="b2fe9b9a87afe991a7b0d29615b0bfc3d41c7a0ac28e9c54436676482bca2e5b",
    ),
    "arm64-v8a": _Platform(
        machine="aarch64",
        debian="arm64",
        loader="ld-linux-aarch64.so.1",
        wheel_sha256="9c0e02bf7596693d9adbf6bfbb1bf08ae60c61abf9fa22dff19e5afe6af276f2",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Files by their name on the phone, and the words that start the runner among them."""

    files: Mapping[str, Path]
    command: tuple[str, ...]  # in the folder that holds the files; `name=value` words follow


def bundle(abi: str, cache: Cache | None = None) -> Bundle:
    """The runner for phones of this ABI, built or fetched where it is missing.

    UsageError for an ABI that there is no runner for; PocketproofError where
    the compiler, the package index or the Debian mirror cannot be had.
    """
    if abi not in _PLATFORMS:
        raise UsageError(f"there is no runner for the ABI {abi!r}: known are {', '.join(_PLATFORMS)}")
    cache, platform = cache or default_cache(), _PLATFORMS[abi]
    libraries = _c_library(cache, platform)
    files = {
        RUNNER: compiled(cache, SOURCES, RUNNER, platform.machine, _FLAGS),
        LIBRARY: _library(cache, platform),
        **{name: libraries / name for name in (platform.loader, *_C_LIBRARIES)},
    }
    command = (f"./{platform.loader}", "--library-path", ".", f"./{RUNNER}", f"library=./{LIBRARY}")
    return Bundle(files=files, command=command)


def _library(cache: Cache, platform: _Platform) -> Path:
    """The library of the wheel, whose hash is known."""

    def build(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        tags = [f"--platform=manylinux_2_{minor}_{platform.machine}" for minor in (27, 28, 31, 35)]
        tools.checked(
            [
                *pip,
                "download",
                "-q",
                "--no-deps",
                "--only-binary=:all:",
                *tags,
                "--dest",
                str(folder),
                _WHEEL,
            ],
            f"fetching {_WHEEL} from the package index",
            remedy="The TFLite library for phones comes from there: connect to it once",
            kind=tools.Lacking,
        )
        (wheel,) = folder.glob("*.whl")
        if (sha256 := sha256_file(wheel)) != platform.wheel_sha256:
            raise PocketproofError(
                f"{wheel.name} has SHA-256 {sha256}, expected {platform.wheel_sha256}: "
                "it was altered on the way"
            )
        with zipfile.ZipFile(wheel) as archive:
            (folder / LIBRARY).write_bytes(archive.read(f"litert_lm/{LIBRARY}"))
        wheel.unlink()
        origin = {"wheel": wheel.name, "wheel_sha256": sha256, "sha256": sha256_file(folder / LIBRARY)}
        (folder / "origin.json").write_text(json.dumps(origin, indent=1))

    key = {"wheel": _WHEEL, "machine": platform.machine, "sha256": platform.wheel_sha256}
    return cache.get_or_build("tflite-library", key, build) / LIBRARY


def _c_library(cache: Cache, platform: _Platform) -> Path:
    """Debian's C library, its files side by side."""

    def build(folder: Path) -> None:
        apt, unpacked = packages.Apt(cache.root / "apt"), folder / "unpacked"
        (archive,) = apt.download([f"libc6:{platform.debian}"], unpacked, dependencies=False)
        packages.unpack(archive, unpacked)
        source = unpacked / "usr" / "lib" / f"{platform.machine}-linux-gnu"
        for name in (platform.loader, *_C_LIBRARIES):
            (folder / name).write_bytes((source / name).read_bytes())
        shutil.rmtree(unpacked)
        (folder / "packages.json").write_text(json.dumps([archive.name]))

    key = {"suite": packages.SUITE, "machine": platform.machine, "files": _C_LIBRARIES}
    return cache.get_or_build("c-library", key, build)


if __name__ == "__main__":
    try:
        for wanted in sys.argv[1:] or list(_PLATFORMS):
            print(bundle(wanted).files[RUNNER])
    except PocketproofError as error:
        sys.exit(f"error: {error}")

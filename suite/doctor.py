"""What this machine can run, tried out rather than looked up, and for what it cannot, the remedy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from suite.cache import default_cache
from suite.environment import host
from suite.errors import PocketproofError
from suite.runtimes import versions

IMPORT_SECONDS = 180.0
ROOM_BYTES = 5 << 30  # what the default profile leaves in an empty cache, with room to work
_REINSTALL = "install what requirements.lock names: make setup"
_TAIL = 300  # characters of a failed import's last words


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """One thing that the suite can do, and whether it can be done here."""

    name: str
    can: bool
    detail: str  # what was found: a version, a place, or what went wrong
    remedy: str = ""  # where it cannot be done
    needed: bool = False  # without it nothing can be validated on this machine

    def __str__(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{'yes' if self.can else 'no':<4}{self.name}: {self.detail}{remedy}"


@dataclass(frozen=True, slots=True)
class Package:
    """A vendor's package: what it is for, and what has to be imported for it to work."""

    purpose: str
    distribution: str
    module: str
    needed: bool = False


PACKAGES = (
    Package("read Keras models and convert them to TFLite", "tensorflow", "tensorflow", needed=True),
    Package("run TFLite on LiteRT", "ai-edge-litert", "ai_edge_litert.interpreter", needed=True),
    Package("run TFLite as older apps do", "tflite-runtime", "tflite_runtime.interpreter"),
    Package("convert to Core ML", "coremltools", "coremltools"),
    Package("execute Core ML packages in NumPy", "numpy", "suite.coreml.evaluator"),
    Package("reach phones over adb", "adbutils", "adbutils"),
)

Importer = Callable[[str], str]


def examine(phones: bool = True) -> list[Ability]:
    """Try out everything, in the order in which a validation needs it.

    `phones`: whether adb is asked, which starts this user's server where none runs.
    """
    return [
        *imports(PACKAGES),
        cache_room(default_cache().root),
        *stand_ins(),
        *(android() if phones else ()),
        *core_ml(),
    ]


def as_json(abilities: Sequence[Ability]) -> dict[str, Any]:
    """What `doctor --json` prints."""
    return {"host": host(), "ready": ready(abilities), "abilities": [asdict(one) for one in abilities]}


def ready(abilities: Sequence[Ability]) -> bool:
    """Whether `pytest` can validate on this machine; nothing examined is not ready."""
    needed = [one for one in abilities if one.needed]
    return bool(needed) and all(one.can for one in needed)


def imported(module: str) -> str:
    """Import a module in a process of its own, since vendors' libraries clash; what it said if it failed."""
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", f"import {module}"],
            env=quiet,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=IMPORT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"its import did not end within {IMPORT_SECONDS:g} s"
    if done.returncode < 0:
        return f"its import was ended by signal {-done.returncode}"
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return last[-_TAIL:] if done.returncode else ""


def imports(packages: Sequence[Package], importer: Importer = imported) -> Iterator[Ability]:
    """Each package imported; several at once, since TensorFlow takes seconds."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        failures = pool.map(importer, [package.module for package in packages])
        for package, failure in zip(packages, failures, strict=True):
            version = next(iter(versions(package.distribution).values()), "")
            yield Ability(
                name=package.purpose,
                can=not failure,
                detail=failure or f"{package.distribution} {version}".strip(),
                remedy=_REINSTALL if failure else "",
                needed=package.needed,
            )


def cache_room(root: Path, needed_bytes: int = ROOM_BYTES) -> Ability:
    """Whether the cache can be written, and has room for what a cold run leaves in it."""
    name = "keep artifacts in the cache"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            free = shutil.disk_usage(root).free
    except OSError as error:
        return Ability(
            name=name,
            can=False,
            detail=f"{root} cannot be written: {error.strerror}",
            remedy="name another folder in POCKETPROOF_CACHE",
            needed=True,
        )
    enough = free >= needed_bytes
    return Ability(
        name=name,
        can=enough,
        detail=f"{root}, {free / 2**30:.1f} GiB free",
        remedy=""
        if enough
        else f"free {needed_bytes / 2**30:.0f} GiB, or name another folder in POCKETPROOF_CACHE",
        needed=True,
    )


def stand_ins() -> Iterator[Ability]:
    """Stand-in phones of each ABI: the sandbox is tried, a phone is not started."""
    from suite.devices import standin

    for abi in standin.ABIS:
        try:
            standin.check(abi)
        except PocketproofError as error:
            yield Ability(
                name=f"start a stand-in phone ({abi})",
                can=False,
                detail=str(error),
                remedy="or attach a phone, or name a lab's adb server with --adb-host HOST:PORT",
            )
        else:
            yield Ability(
                name=f"start a stand-in phone ({abi})", can=True, detail=f"pytest -m android --stand-in {abi}"
            )


def android() -> Iterator[Ability]:
    """Each phone that this user's adb server lists."""
    from suite.devices import fleet

    try:
        phones = fleet.find((), ())
    except PocketproofError as error:
        yield Ability(name="Android phone", can=False, detail=str(error))
        return
    for phone in phones:
        yield Ability(name="Android phone", can=not phone.problem, detail=str(phone))


def core_ml() -> Iterator[Ability]:
    """Core ML itself, and iPhones: on a Mac alone."""
    mac = sys.platform == "darwin"
    elsewhere = "replay a golden bundle on any Mac: python -m suite bundle MODEL"
    yield Ability(
        name="run Core ML itself",
        can=mac,
        detail="macOS" if mac else f"Core ML is on Apple's systems alone, and this is {sys.platform}",
        remedy="" if mac else elsewhere,
    )
    if mac:
        from suite import iphones

        found, why = iphones.connected()
        yield Ability(name="iPhone", can=bool(found), detail=why or ", ".join(one.name for one in found))


def lines(abilities: Sequence[Ability]) -> Iterator[str]:
    """One line an ability, and a last one that says what follows."""
    yield from map(str, abilities)
    if ready(abilities):
        yield "ready: `pytest` can validate on this machine"
    else:
        lacking = ", ".join(one.name for one in abilities if one.needed and not one.can) or "all of it"
        yield f"not ready: what a validation needs and this machine cannot do: {lacking}"

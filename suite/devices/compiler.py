"""C and C++ sources to programs for this machine or for arm64, kept by content."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from suite.cache import Cache, sha256_file
from suite.devices import tools


def compiled(cache: Cache, source: Path, name: str, machine: str, flags: Sequence[str]) -> Path:
    """Compile `source` for `machine` ("x86_64", "aarch64") into a file `name`; built once for its content.

    PocketproofError where there is no compiler, or where it does not like the source.
    """
    compiler = tools.need(_compiler(source, machine), f"building {name} for {machine}")
    version = tools.checked([compiler, "--version"], "asking the compiler").splitlines()[0]
    key = {
        "source": sha256_file(source),
        "compiler": version,
        "machine": machine,
        "flags": list(flags),
        "name": name,
    }

    def build(folder: Path) -> None:
        tools.checked([compiler, "-o", folder / name, source, *flags], f"compiling {source.name}")

    return cache.get_or_build("program", key, build) / name


def _compiler(source: Path, machine: str) -> str:
    tool = "g++" if source.suffix == ".cc" else "gcc"
    own = "aarch64" if platform.machine() == "arm64" else platform.machine()
    return tool if machine == own else f"{machine}-linux-gnu-{tool}"

"""C and C++ sources to programs for this machine or for arm64, kept by content."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from suite.cache import Cache, sha256_file
from suite.devices import tools
from suite.errors import PocketproofError

_DEBIAN: Mapping[str, str] = {"x86_64": "amd64", "aarch64": "arm64"}  # the compiler's word -> the package's


def compiled(cache: Cache, sources: Sequence[Path], name: str, machine: str, flags: Sequence[str]) -> Path:
    """Compile `sources` for `machine` ("x86_64", "aarch64") into a file `name`; built once for their content.

    Headers among them are looked at, and not handed to the compiler.

    PocketproofError where there is no compiler, or where it does not like them.
    """
    compiler = tools.need(_compiler(sources[0], machine), f"building {name} for {machine}")
    version = tools.checked([compiler, "--version"], "asking the compiler").splitlines()[0]
    key = {
        "sources": {path.name: sha256_file(path) for path in sources},
        "compiler": version,
        "machine": machine,
        "flags": list(flags),
        "name": name,
    }

    files = [path for path in sources if path.suffix != ".h"]

    def build(folder: Path) -> None:
        try:
            tools.checked([compiler, "-o", folder / name, *files, *flags], f"compiling {name}")
        except PocketproofError as error:
            if re.search(r"\.h: No such file", str(error)):
                package = "libc6-dev" if _own() == machine else f"libc6-dev-{_DEBIAN[machine]}-cross"
                raise tools.Lacking(f"{error}. On Debian and Ubuntu: apt-get install {package}") from None
            raise

    return cache.get_or_build("program", key, build) / name


def _compiler(source: Path, machine: str) -> str:
    tool = "g++" if source.suffix == ".cc" else "gcc"
    return tool if machine == _own() else f"{machine}-linux-gnu-{tool}"


def _own() -> str:
    return "aarch64" if platform.machine() == "arm64" else platform.machine()

"""Programs of this machine: found, run, and their absence explained."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from suite.errors import PocketproofError


class Lacking(PocketproofError):
    """This machine lacks something that a package, a network or a setting would give it."""


_PACKAGES: Mapping[str, str] = {
    "bwrap": "bubblewrap",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "tar": "tar",
    "gcc": "gcc",
    "g++": "g++",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "unshare": "util-linux",
}
_LINES = 3  # of a failed program's output that its error shows


def need(program: str, purpose: str) -> str:
    """Path of a program; Lacking says which package has it and what it is for."""
    if (found := shutil.which(program)) is None:
        package = _PACKAGES.get(program, program)
        raise Lacking(
            f"{purpose} needs the program {program}, which is not here. "
            f"On Debian and Ubuntu: apt-get install {package}"
        )
    return found


def checked(
    command: Sequence[str | Path],
    purpose: str,
    *,
    remedy: str = "",
    kind: type[PocketproofError] = PocketproofError,
    timeout: float = 600.0,
) -> str:
    """Run a program to its end, `timeout` seconds at most, and return what it printed.

    Raises an error of `kind` with the program's last words and the remedy.
    """
    try:
        done = subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise kind(f"{purpose} failed: {error}. {remedy}".strip()) from None
    if done.returncode:
        words = " | ".join(filter(None, map(str.strip, (done.stderr or done.stdout).splitlines()[-_LINES:])))
        raise kind(f"{purpose} failed with exit status {done.returncode}: {words}. {remedy}".strip())
    return done.stdout

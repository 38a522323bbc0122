"""Debian packages by a private apt configuration: the machine's own apt stays untouched, no root needed."""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from suite.devices import tools

SUITE = "trixie"  # the first Debian that has adbd
DEFAULT_MIRROR = "http://deb.debian.org/debian"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_OFFLINE = (
    "Stand-in phones are built once from Debian packages: connect to a network with a Debian mirror, "
    "or let the machine's own apt name one"
)
_CONFIGURATION = """\
Dir "{home}/";
Dir::State "{home}/state";
Dir::State::status "{home}/status";
Dir::Cache "{home}/cache";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc "{home}/etc";
Dir::Etc::SourceList "{home}/sources.list";
Dir::Etc::SourceParts "/dev/null";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; "arm64"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Acquire::Retries "3";
"""


@dataclass(frozen=True, slots=True)
class Apt:
    """An apt of our own in the folder `home`."""

    home: Path

    def download(self, names: Sequence[str], folder: Path, *, dependencies: bool) -> list[Path]:
        """Fetch `names` (`name:architecture`) to `folder` as .deb files, with all they depend on where asked.

        Raises Lacking when a package or the index cannot be had.
        """
        tools.need("apt-get", "a stand-in phone")
        (folder / "partial").mkdir(parents=True, exist_ok=True)
        with self._locked():
            self._configure()
            self._run("update", "-q")
            if dependencies:
                archives = f"Dir::Cache::archives={folder}"
                self._run("install", "-y", "--download-only", "-o", archives, *names, folder=folder)
            else:
                self._run("download", *names, folder=folder)
        return sorted(folder.glob("*.deb"))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _configure(self) -> None:
        if not _KEYRING.exists():
            raise tools.Lacking(
                f"a stand-in phone is built from Debian packages, whose keys are not at {_KEYRING}. "
                "On Debian and Ubuntu: apt-get install debian-archive-keyring"
            )
        for folder in (
            "state/lists/partial",
            "cache/archives/partial",
            "etc/apt.conf.d",
            "etc/preferences.d",
        ):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        (self.home / "status").touch()
        (self.home / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {mirror()} {SUITE} main\n")
        (self.home / "apt.conf").write_text(_CONFIGURATION.format(home=self.home))

    def _run(self, *words: str, folder: Path | None = None) -> None:
        configured = [f"APT_CONFIG={self.home / 'apt.conf'}", "apt-get", *words]
        tools.checked(
            ["env", "-C", folder or self.home, *configured],
            "fetching Debian packages",
            remedy=_OFFLINE,
            kind=tools.Lacking,
        )


def mirror() -> str:
    """The Debian mirror that the machine's own apt uses; Debian's own where it uses none."""
    with suppress(OSError, subprocess.TimeoutExpired):
        listed = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for address in listed.stdout.split():
            if address.rstrip("/").endswith("/debian"):
                return address.rstrip("/")
    return DEFAULT_MIRROR


def unpack(archive: Path, folder: Path, *, only: str = "") -> None:
    """Unpack a .deb below `folder`, following the links to folders that are there; `only` one file of it."""
    tools.need("dpkg-deb", "a stand-in phone")
    tools.need("tar", "a stand-in phone")
    tools.checked(
        [
            "sh",
            "-c",
            'dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --keep-directory-symlink --no-same-owner $3',
            "sh",
            archive,
            folder,
            only,
        ],
        f"unpacking {archive.name}",
    )

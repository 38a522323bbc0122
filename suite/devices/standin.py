"""Stand-in phones: a real adbd in a sandbox of this machine, for where no phone is at hand.

A stand-in speaks real adb and runs real programs; it has no GPU, no sensors
and no battery, and an arm64 one on another processor is emulated: its
latencies say nothing about phones. Nothing here needs root, and the user's
own adb server never sees it. The adbd of a stand-in listens on loopback alone
and asks nobody for a key: any user of this machine can reach it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from suite.cache import Cache, default_cache
from suite.devices import processes, rootfs, server, tools
from suite.devices.adb import attached, connect
from suite.devices.processes import Process
from suite.devices.server import Server
from suite.devices.wire import Address
from suite.errors import UsageError

ABIS = tuple(rootfs.ABIS)
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
# An ELF file for arm64, as qemu's own registration has it; O, C: by descriptor, F: opened now.
_ARM64 = (
    r":pocketproof-arm64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:%s:OCF"
)
_REGISTER = 'mount -t binfmt_misc none "$1" && printf %s "$2" > "$1/register" && shift 2 && exec "$@"'


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """One stand-in phone. As a context manager it is unplugged and thrown away at the end."""

    serial: str
    abi: str
    adb: Address  # of the private server that knows it
    process: Process
    folder: Path  # its storage and log

    def alive(self) -> bool:
        """Whether its adbd runs."""
        return self.process.alive()

    def unplug(self) -> None:
        """Kill it as if its cable were pulled; its storage stays. A second call does nothing."""
        self.process.end()

    def plug(self, *, storage_bytes: int | None = None) -> StandIn:
        """Start it again with the storage and the serial that it had; returns the new one."""
        self.unplug()
        port = int(self.serial.rpartition(":")[2])
        return _start(self.abi, self.adb, self.folder, port, stays=False, storage_bytes=storage_bytes)

    def discard(self) -> None:
        """Unplug it, and remove its storage."""
        self.unplug()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()


@contextmanager
def standins(
    count: int = 1, abi: str | None = None, *, storage_bytes: int | None = None
) -> Iterator[list[StandIn]]:
    """Stand-ins that live as long as the block, and never longer than this process.

    `abi` is one of `ABIS`, by default that of this machine; `storage_bytes`
    bounds a storage that is then lost when the phone is unplugged. Raises
    Lacking where this machine cannot, with what it lacks and the remedy.
    """
    abi = abi or rootfs.native_abi()
    check(abi)
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"run-{os.getpid()}-", dir=_home()))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        own = server.start(folder, stays=False)
        stack.callback(own.stop)
        made = []
        for number in range(count):
            place = folder / f"phone-{number}"
            phone = _start(
                abi, own.address, place, server.free_port(), stays=False, storage_bytes=storage_bytes
            )
            stack.callback(_unplug_at, place)
            made.append(phone)
        yield made


def up(count: int = 1, abi: str | None = None) -> list[StandIn]:
    """Start stand-ins that stay until `down`, from any process of this user."""
    abi = abi or rootfs.native_abi()
    check(abi)
    with _locked():
        own = _shared_server()
        made = []
        for _ in range(count):
            folder = Path(tempfile.mkdtemp(prefix="phone-", dir=_home()))
            try:
                phone = _start(abi, own.address, folder, server.free_port(), stays=True)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            made.append(phone)
        return made


def listed() -> list[StandIn]:
    """The stand-ins that `up` started and that still run."""
    return [phone for phone in map(_read, sorted(_home().glob("phone-*"))) if phone and phone.alive()]


def down() -> int:
    """End all that `up` started, and their server; returns how many phones there were."""
    with _locked():
        ended = 0
        for folder in sorted(_home().glob("phone-*")):
            phone = _read(folder)
            ended += phone is not None and phone.alive()
            if phone is not None:
                phone.unplug()
            shutil.rmtree(folder, ignore_errors=True)
        if (own := _read_server()) is not None:
            own.stop()
        shutil.rmtree(_home() / "server", ignore_errors=True)
        return ended


def check(abi: str) -> None:
    """Lacking where this machine cannot have a stand-in of this ABI, with what it lacks."""
    if abi not in ABIS:
        raise UsageError(f"unknown ABI {abi!r}: known are {', '.join(ABIS)}")
    bwrap = tools.need("bwrap", "a stand-in phone")
    tools.checked(
        [bwrap, "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--", "/bin/sh", "-c", "true"],
        "making a sandbox without root",
        remedy="Unprivileged user namespaces are switched off here: as root, "
        "sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0; "
        "a container needs to be allowed them",
        kind=tools.Lacking,
    )
    if abi != rootfs.native_abi() and rootfs.ABIS[abi] != "arm64":
        raise tools.Lacking(
            f"a stand-in for {abi} needs a machine of that kind; here, start {rootfs.native_abi()}"
        )


def _start(
    abi: str, adb: Address, folder: Path, port: int, *, stays: bool, storage_bytes: int | None = None
) -> StandIn:
    """Start adbd in its sandbox, make it known to the server, and leave its description in its folder."""
    cache = default_cache()
    (folder / "data" / "local" / "tmp").mkdir(parents=True, exist_ok=True)
    log = folder / "adbd.log"
    command = [*_emulated(cache, abi, folder), *_sandbox(cache, abi, folder, port, stays, storage_bytes)]
    process = processes.start(command, log, {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"})
    phone = StandIn(serial=f"127.0.0.1:{port}", abi=abi, adb=adb, process=process, folder=folder)
    _write(folder, phone)
    try:
        server.wait_for(lambda: _answers(phone), process, log, f"the stand-in phone {phone.serial}")
    except BaseException:
        phone.unplug()
        raise
    return phone


def _sandbox(
    cache: Cache, abi: str, folder: Path, port: int, stays: bool, storage_bytes: int | None
) -> list[str]:
    """The command line of bwrap: Debian's files read-only, its own storage, and no rights."""
    data = folder / "data"
    storage = ["--bind", str(data), "/data"]
    if storage_bytes is not None:
        storage = ["--size", str(storage_bytes), "--tmpfs", "/data", "--dir", "/data/local/tmp"]
    environment = {
        "ADBD_PORT": str(port),
        "LD_PRELOAD": "/usr/lib/shim.so",
        "PATH": "/data/local/bin:/system/bin:/usr/sbin",  # the first for what a test plants
        "HOME": "/data/local/tmp",
        "TMPDIR": "/data/local/tmp",
        "QEMU_CPU": "cortex-a76",  # what qemu can do beyond this is slower by far
    }
    return [
        tools.need("bwrap", "a stand-in phone"),
        *server.guard(stays=stays),
        *("--uid", "2000", "--gid", "2000", "--hostname", "standin", "--unshare-uts"),
        *("--ro-bind", str(rootfs.root(cache, abi)), "/", "--proc", "/proc", "--dev", "/dev"),
        *(
            "--ro-bind",
            "/sys",
            "/sys",
            "--tmpfs",
            "/tmp",
            *storage,
            "--chdir",
            "/data/local/tmp",
            "--clearenv",
        ),
        *(word for name, value in environment.items() for word in ("--setenv", name, value)),
        *("--", "/usr/sbin/adbd"),
    ]


def _emulated(cache: Cache, abi: str, folder: Path) -> list[str]:
    """What goes before the sandbox so that programs of another processor run in it."""
    if abi == rootfs.native_abi() or _registered():
        return []
    place = folder / "binfmt"
    place.mkdir(exist_ok=True)
    unshare = tools.need("unshare", "an emulated phone")
    script = [unshare, "--user", "--map-root-user", "--mount", "sh", "-c", _REGISTER, "sh", str(place)]
    tools.checked(
        [*script, _ARM64 % rootfs.qemu(cache), "true"],
        "registering the emulator for arm64",
        remedy="This needs Linux 6.7 or newer. On an older one, as root: apt-get install qemu-user-binfmt",
        kind=tools.Lacking,
    )
    return [*script, _ARM64 % rootfs.qemu(cache)]


def _registered() -> bool:
    """Whether this machine runs arm64 programs by itself, in any sandbox."""
    with contextlib.suppress(OSError):
        lines = (_BINFMT / "qemu-aarch64").read_text().splitlines()
        return "enabled" in lines and any(line.startswith("flags:") and "F" in line for line in lines)
    return False


def _answers(phone: StandIn) -> bool:
    """Whether the server sees the phone as ready; asks it to connect."""
    connect(phone.adb, phone.serial)
    return any(other.serial == phone.serial and other.ready for other in attached(phone.adb))


# --- what stays between processes ---------------------------------------------


def _sweep() -> None:
    """Remove the storage of stand-ins whose process was killed."""
    for folder in _home().glob("run-*"):
        owner = folder.name.split("-")[1]
        if not (owner.isdigit() and psutil.pid_exists(int(owner))):
            shutil.rmtree(folder, ignore_errors=True)


def _home() -> Path:
    folder = default_cache().root / "phones"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _locked() -> Iterator[None]:
    with (_home() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _shared_server() -> Server:
    """The server of all that `up` starts; a new one where it has gone."""
    if (own := _read_server()) is not None and own.process.alive():
        return own
    folder = _home() / "server"
    folder.mkdir(exist_ok=True)
    own = server.start(folder, stays=True)
    (folder / "server.json").write_text(json.dumps(asdict(own)))
    return own


def _read_server() -> Server | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        seen = json.loads((_home() / "server" / "server.json").read_text())
        return Server(address=Address(**seen["address"]), process=Process(**seen["process"]))
    return None


def _write(folder: Path, phone: StandIn) -> None:
    seen = {**asdict(phone), "folder": str(folder)}
    temporary = folder / "phone.tmp"
    temporary.write_text(json.dumps(seen))
    temporary.rename(folder / "phone.json")


def _read(folder: Path) -> StandIn | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        seen = json.loads((folder / "phone.json").read_text())
        return StandIn(
            serial=seen["serial"],
            abi=seen["abi"],
            adb=Address(**seen["adb"]),
            process=Process(**seen["process"]),
            folder=folder,
        )
    return None


def _unplug_at(folder: Path) -> None:
    """End whatever phone was started last in a folder: one that was plugged in again is another process."""
    if (phone := _read(folder)) is not None:
        phone.unplug()

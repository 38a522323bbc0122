"""An adb server of our own: it sees neither USB devices nor emulators, and the user's own is left alone."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from suite.devices import processes, tools
from suite.devices.adb import adb_program
from suite.devices.processes import Process
from suite.devices.wire import Address
from suite.errors import PocketproofError

START_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One running adb server."""

    address: Address
    process: Process

    def stop(self) -> None:
        """End it; a second call does nothing."""
        self.process.end()


def start(folder: Path, *, stays: bool) -> Server:
    """Start a server that keeps its files in `folder`; unless it `stays`, it dies with this process."""
    bwrap = tools.need("bwrap", "a private adb server")
    home = folder / "adb"
    home.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "adb.log"
    command = [bwrap, *guard(stays=stays), "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    command += ["--bind", str(home), str(home), "--", adb_program(), "-P", str(port), "server", "nodaemon"]
    environment = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PATH": os.environ.get("PATH", os.defpath),
        "ADB_LOCAL_TRANSPORT_MAX_PORT": "5553",  # below the first emulator's
        "ADB_USB": "0",  # else it looks for some, for three seconds
        "ADB_MDNS_OPENSCREEN": "0",
        "ADB_MDNS_AUTO_CONNECT": "0",
    }
    process = processes.start(command, log, environment)
    server = Server(address=Address("127.0.0.1", port), process=process)
    try:
        wait_for(lambda: _listens(port), process, log, "adb's server")
    except BaseException:
        server.stop()
        raise
    return server


def guard(*, stays: bool) -> list[str]:
    """Arguments of bwrap for what must not outlive its sandbox nor, unless it `stays`, this process."""
    return ["--unshare-user", "--unshare-pid", "--unshare-ipc", *([] if stays else ["--die-with-parent"])]


def wait_for(ready: Callable[[], bool], process: Process, log: Path, name: str) -> None:
    """Wait until something is ready; PocketproofError with the end of its log when it dies or is late."""
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if not process.alive() or time.monotonic() > deadline:
            state = f"is not ready after {START_SECONDS:.0f} s" if process.alive() else "ended at once"
            words = " | ".join(log.read_text(errors="replace").splitlines()[-3:]) if log.exists() else ""
            raise PocketproofError(f"{name} {state}: {words or 'it said nothing'}")
        time.sleep(0.02)


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0

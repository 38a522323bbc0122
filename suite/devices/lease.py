"""One user of a phone at a time: a lock of our own per server and serial."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from suite.cache import digest
from suite.errors import StagedError
from suite.record import Stage


@contextmanager
def leased(serial: str, server: str, *, wait_seconds: float) -> Iterator[None]:
    """Hold the phone that the adb server at HOST:PORT knows by this serial, among this user's processes.

    The kernel frees it when this process dies.

    StagedError, with the number of the process that holds it, after `wait_seconds`.
    """
    # Not in the cache, of which there may be several.
    folder = Path(tempfile.gettempdir()) / f"pocketproof-leases-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / digest([server, serial])[:32]).open("a+") as lock:
        deadline = time.monotonic() + wait_seconds
        while not _taken(lock.fileno()):
            if time.monotonic() >= deadline:
                lock.seek(0)
                raise StagedError(
                    f"{serial} is in use by process {lock.read().strip() or 'unknown'}, for more than "
                    f"{wait_seconds:.0f} s: wait for it to end, or name another phone with --serial",
                    stage=Stage.LOAD,
                )
            time.sleep(0.05)
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

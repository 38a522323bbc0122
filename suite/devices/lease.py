"""One user of a phone at a time: a lock per serial of our own, among all processes of this user."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from suite.cache import default_cache, digest
from suite.errors import StagedError
from suite.record import Stage


@contextmanager
def leased(serial: str, *, wait_seconds: float) -> Iterator[None]:
    """Hold the phone; the kernel frees it when this process dies.

    StagedError, with the number of the process that holds it, after `wait_seconds`.
    """
    folder = default_cache().root / "phones" / "leases"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / digest(serial)[:32]).open("a+") as lock:
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

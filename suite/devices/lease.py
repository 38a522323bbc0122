"""One user of a phone at a time: a lock on this machine, and one on the phone for users of other machines."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from suite.cache import digest
from suite.devices.wire import SILENCE_SECONDS, Talk
from suite.errors import StagedError
from suite.record import Stage

UNHEARD_SECONDS = 1800.0  # after which a user who said nothing, and waits for nothing, has lost the phone
_GRACE_SECONDS = 5.0  # until what a killed user held on a phone is free
_POLL_SECONDS = 0.2
# The folder that every phone has is the lock: nothing is left there, and nobody can remove it. The shell
# that holds it ends, and so lets go, with the connection, with the phone, or when nothing is said to it.
_HOLD = """\
{{
  if ! flock -u 9; then echo none; exit; fi
  if ! flock -n 9; then echo taken; cat {owner}; exit; fi
  echo held
  patience={seconds:.0f}
  while read -r -t "$patience" word patience && [ "$word" = on ]; do :; done
}} 9<{place} 2>/dev/null
"""


@contextmanager
def leased(serial: str, server: str, *, wait_seconds: float) -> Iterator[None]:
    """Hold the phone that the adb server of this identity knows by this serial, among this user's processes.

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
                owner = lock.read().strip()
                raise _in_use(serial, f"process {owner}" if owner else "", wait_seconds, Stage.LOAD)
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


def _in_use(serial: str, owner: str, seconds: float, stage: Stage) -> StagedError:
    return StagedError(
        f"{serial} is in use by {owner or 'somebody else'}, for more than {seconds:.0f} s: "
        "wait for them to end, or name another phone with --serial",
        stage=stage,
    )


def this_process() -> str:
    """How others are told who holds a phone."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number without a name
        user = str(os.getuid())
    return f"process {os.getpid()} of {user} on {socket.gethostname()}"


class PhoneLock:
    """The lock on the phone itself: holds off other machines, other users, and other adb servers.

    It is the phone's kernel's (`flock`), so a user who is killed, or whose
    cable is pulled, holds it no longer. A phone whose shell has no `flock`, which
    Android's has since version 7, is not locked.
    """

    def __init__(self, phone: Any, serial: str, place: str, owner: str) -> None:
        """`phone` as adbutils has it; `place` is a folder there, `owner` a file that says who holds it."""
        self._phone, self._serial = phone, serial
        self._place, self._owner = place, owner
        self._talk: Talk | None = None  # with the shell that holds it
        self._wanted = False  # it was held, and not let go of by us

    def take(self, wait_seconds: float, stage: Stage) -> None:
        """Hold it from now on; StagedError, with who holds it, after `wait_seconds`."""
        self._hang_up()
        wait_seconds = max(wait_seconds, _GRACE_SECONDS)
        deadline = time.monotonic() + wait_seconds
        while (owner := self._try()) is not None:
            if time.monotonic() >= deadline:
                raise _in_use(self._serial, owner, wait_seconds, stage)
            time.sleep(_POLL_SECONDS)

    def _try(self) -> str | None:
        """Take it where it is free; else who has it."""
        command = _HOLD.format(owner=self._owner, place=self._place, seconds=UNHEARD_SECONDS)
        with contextlib.ExitStack() as stack:
            talk = Talk(self._phone, command, SILENCE_SECONDS)
            stack.callback(talk.close)
            said = talk.hear()
            if said.startswith("taken"):
                while more := talk.hear():
                    said += more
                return said.removeprefix("taken").strip()
            self._wanted = said.startswith("held")
            if self._wanted:
                self._talk = talk
                stack.pop_all()
        return None

    @property
    def lost(self) -> bool:
        """Whether it was held, and the phone has let go of it."""
        return self._wanted and (self._talk is None or self._talk.over)

    def refresh(self, seconds: float = 0.0) -> None:
        """Say that its user is alive, and may be silent for so many seconds while the phone works."""
        if self._talk is not None:
            with contextlib.suppress(OSError):
                self._talk.say(f"on {UNHEARD_SECONDS + seconds:.0f}")

    def release(self) -> None:
        """Let go of it, and wait for the phone to have done so; a second call does nothing."""
        self._wanted = False
        self._hang_up()

    def _hang_up(self) -> None:
        talk, self._talk = self._talk, None
        if talk is not None:
            with (
                contextlib.closing(talk),
                contextlib.suppress(Exception),
            ):  # whatever adb says of a phone that went
                talk.say("off")
                talk.hear()

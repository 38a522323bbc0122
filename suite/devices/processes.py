"""Processes that are known by number and start time, so that another that got the number is never ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_children: dict[int, subprocess.Popen[bytes]] = {}  # ours, to be waited for when they end


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process and all in its session."""

    pid: int
    created: float  # seconds since the epoch

    def alive(self) -> bool:
        """Whether this very process still runs."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            return process.create_time() == self.created and process.status() != psutil.STATUS_ZOMBIE
        return False

    def end(self) -> None:
        """Kill it with its session; returns when it is gone. A second call does nothing."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        child = _children.pop(self.pid, None)
        if child is not None:
            child.wait()
        deadline = time.monotonic() + 5
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.01)


def start(command: Sequence[str | Path], log: Path, environment: Mapping[str, str]) -> Process:
    """Start a program in a session of its own, out of Ctrl-C's reach; what it says goes to `log`."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            start_new_session=True,
        )
    _children[child.pid] = child
    return Process(pid=child.pid, created=psutil.Process(child.pid).create_time())

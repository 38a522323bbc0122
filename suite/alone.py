"""The process that adds the timed checks to a parallel run: alone, after all else, called as the run was."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

INTERRUPTED, NO_TESTS = 2, 5  # exit statuses of pytest
_OF_THIS_PROCESS = re.compile("PYTEST_(XDIST_|CURRENT_TEST|VERSION)")  # what pytest and xdist set themselves
_INTERRUPTION = signal.SIGUSR1
_ENDING = 60.0  # seconds that an interrupted process has to end


def command(config: Any, marks: str, directory: Path) -> list[str]:
    """The command line: that of the run, with what it must not share with it said anew at the end."""
    expression, junit = config.option.markexpr, config.option.xmlpath
    line = [
        *(sys.executable, "-m", "pytest"),
        *map(str, config.invocation_params.args),
        *("-m", f"({expression}) and ({marks})" if expression else marks),
        *("-n0", f"--continue-run={directory}"),
    ]
    if junit:
        path = Path(junit)
        line.append(f"--junitxml={path.with_name(path.stem + '.benchmark' + path.suffix)}")
    return line


def environment() -> dict[str, str]:
    """That of the run, PYTEST_ADDOPTS and the like included."""
    return {name: value for name, value in os.environ.items() if not _OF_THIS_PROCESS.match(name)}


def attend(command: Sequence[str], folder: Path) -> int:
    """Exit status of the process. Interrupted, this waits for its end, so that what it measured is there."""
    child = _started(command, folder)
    try:
        status = child.wait()
    except KeyboardInterrupt:
        child.send_signal(_INTERRUPTION)
        with contextlib.suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
            child.wait(_ENDING)
        status = INTERRUPTED
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    return status


def listen() -> None:
    """In that process: be interrupted by the run that waits for it."""
    signal.signal(_INTERRUPTION, signal.default_int_handler)


def _started(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """The process, deaf to a terminal's Ctrl-C: this one hears it too, and passes it on once."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.Popen(command, cwd=folder, env=environment())
    finally:
        signal.signal(signal.SIGINT, before)

"""How pytest was called, put so that it cannot misread it.

pytest looks for its configuration before it knows the options of any plugin.
Of `--report-dir /tmp/run` it takes `/tmp/run`, if it exists, for a folder of
tests, settles on /tmp as its root, and never sees this project. Joined by an
equals sign, option and value are one argument to it. A path that does not
exist yet is joined too: xdist hands the same arguments to its workers, and by
then it may.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

_PROGRAMS = ("pytest", "py.test", "__main__.py")


def joined(arguments: Sequence[str], options: Iterable[str]) -> list[str]:
    """`--option VALUE` as `--option=VALUE`, for each of `options`."""
    known = set(options)
    found: list[str] = []
    for argument in arguments:
        if found and found[-1] in known and not argument.startswith("-"):
            found[-1] += f"={argument}"
        else:
            found.append(argument)
    return found


def restart_unless_clear(options: Iterable[str]) -> None:
    """Start pytest anew with `joined` arguments, where the command line needs it.

    Before anything was captured or collected, in the same process, so that
    signals, output and exit status stay with the caller. Nothing happens where
    pytest was called by a program, or runs as a worker of xdist.
    """
    if Path(sys.argv[0]).name not in _PROGRAMS or "PYTEST_XDIST_WORKER" in os.environ:
        return
    clear = joined(sys.argv[1:], options)
    if clear != sys.argv[1:]:
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *clear])

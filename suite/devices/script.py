"""What happens on a phone around a run, in one command: every round trip would add to what is measured."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from suite.devices import vitals
from suite.devices.adb import DIRECTORY, PID_FILE, Answer
from suite.devices.vitals import Vitals

OUTPUT = "output.bin"
_READINGS = "readings.txt"
_ALTERED = "@@ altered"
_STAMP = re.compile(r"\n@@ stamp\n(.*?)\n(?P<rest>.*)\Z", re.DOTALL)
_AFTER = re.compile(r"\n@@ size\n(.*?)\n@@ readings\n(.*?)\n@@ after\n(.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An artifact as the phone should hold it."""

    name: str
    sha256: str
    stamp: str  # of the file when its hash was last seen to be right; empty where it was not yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one run said; what was not asked for is empty."""

    stdout: str
    stderr: str
    status: int
    altered: bool = False  # it did not run: the phone holds another artifact than was sent
    stamp: str = ""  # of the artifact's file, whose hash is right
    output_bytes: int | None = None
    readings: str = ""  # a line each, the file's name and what it said
    after: Vitals | None = None


def written(
    command: str, seconds: float, *, artifact: Held, sampled: Sequence[str] = (), watched: bool = False
) -> str:
    """The command of a run: `command` in the runner's folder, its number known to whoever must end it.

    Before it, the `artifact` is held to its hash, unless its file is the very
    one that was, untouched: its number, size, and time of the last change,
    which the kernel alone sets. Some phones hash no more than 60 MB a second.
    `watched`: afterwards the output's size, what the files `sampled` said all
    the while, and a look at the phone. A run beside which files are read is no
    timing. `seconds` is the most that the run may take.
    """
    name = shlex.quote(artifact.name)
    lines = [
        f"cd {DIRECTORY}/runner || exit 1",
        f"stamp=$(stat -c '%i %s %z' ../{name} 2>/dev/null)",
        f"""if [ -z "$stamp" ] || [ "$stamp" != {shlex.quote(artifact.stamp)} ]; then""",
        f"""  case "$(sha256sum ../{name})" in {artifact.sha256}*) ;;""",
        f"    *) echo '{_ALTERED}'; exit 1 ;;",
        "  esac",
        "fi",
        f": > ../{OUTPUT} || exit 1",
        f"{command} &",
        f"runner=$!; echo $$ $runner > {PID_FILE}",  # whoever ends one ends both
        "exec 2>/dev/null",  # the shell's own words of how it ended, which the status tells
        *([_sampler(sampled, seconds)] if sampled else []),
        "wait $runner; ended=$?",
        f": > {PID_FILE}",
        "echo; echo '@@ stamp'; echo \"$stamp\"",
    ]
    if watched:
        lines += [
            f"echo; echo '@@ size'; wc -c < ../{OUTPUT}",
            "echo; echo '@@ readings'",
            *([f"cat ../{_READINGS}"] if sampled else []),
            "echo; echo '@@ after'",
            vitals.script(),
        ]
    return "\n".join([*lines, "exit $ended"])


def _sampler(files: Sequence[str], seconds: float) -> str:
    """Reads some files five times a second for as long as the runner lives.

    A program of its own: a mere subshell would keep adb's pipes open, and adb waits for those.
    """
    loop = (
        "left=$1; shift; while kill -0 $0 2>/dev/null && [ $((left-=1)) -ge 0 ]; do "
        'for f; do read -r said < "$f" && echo "$f $said"; done; sleep 0.2; done'
    )
    words = f"sh -c {shlex.quote(loop)} $runner {math.ceil(seconds * 5)} {shlex.join(files)}"
    return f"{words} </dev/null >../{_READINGS} 2>/dev/null &"


def read(answer: Answer) -> Told:
    """What was said by the runner, and by what was asked around it."""
    if answer.stdout.strip() == _ALTERED:
        return Told(stdout="", stderr=answer.stderr, status=answer.status, altered=True)
    stamp = _STAMP.search(answer.stdout)
    if stamp is None:
        return Told(stdout=answer.stdout, stderr=answer.stderr, status=answer.status)
    told = Told(
        stdout=answer.stdout[: stamp.start()], stderr=answer.stderr, status=answer.status, stamp=stamp[1]
    )
    after = _AFTER.search(stamp["rest"])
    if after is None:
        return told
    size, readings, looked = after.groups()
    return replace(
        told,
        output_bytes=int(size) if size.strip().isdigit() else None,
        readings=readings,
        after=vitals.parse(looked),
    )

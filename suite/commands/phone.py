"""Stand-in phones on this machine: a real adbd in a sandbox, for where no phone is at hand.

`up` starts some and says how to validate on them; they stay until `down`.
They are built from Debian packages at first use, need no root, listen on
loopback alone and have an adb server of their own: your own server and
phones are left alone.

Exit status: 0 done; 2 wrong usage, or something that this machine lacks: the
message says what, and how to install it.
"""

from __future__ import annotations

import argparse

from suite.errors import UsageError

HELP = "start, list and end stand-in phones"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and which phones."""
    parser.add_argument("action", choices=("up", "down", "list"))
    parser.add_argument("--abi", choices=("x86_64", "arm64-v8a"), help="processor (default: this machine's)")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="how many (default: 1)")


def run(arguments: argparse.Namespace) -> int:
    """Do it; one line a phone: serial, ABI, adb server."""
    from suite.devices import standin

    if arguments.action == "down":
        ended = standin.down()
        print(f"{ended} stand-in phone{'s' if ended != 1 else ''} ended")
        return 0
    if arguments.action == "up" and arguments.count < 1:
        raise UsageError(f"--count {arguments.count}: one or more is expected")
    phones = standin.up(arguments.count, arguments.abi) if arguments.action == "up" else standin.listed()
    for phone in phones:
        print(f"{phone.serial}  {phone.abi}  adb server {phone.adb}")
    if not phones:
        print("no stand-in phone runs: start one with `python -m suite phone up`")
    elif arguments.action == "up":
        print(f"validate on them: pytest -m android --adb-host {phones[0].adb}")
    return 0

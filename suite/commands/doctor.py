"""What this machine can run, and for what it cannot, the remedy.

Everything is tried out: each library is imported in a process of its own, the
stand-in phones' sandbox is entered, adb is asked for its phones (its server is
started where none runs; not with --no-phones).

Exit status: 0 `pytest` can validate on this machine, whatever else is lacking;
1 it cannot.
"""

from __future__ import annotations

import argparse
import json

HELP = "say what this machine can run, and what to do about the rest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """For a person or for a program."""
    parser.add_argument("--json", action="store_true", help="as JSON: host, ready, abilities")
    parser.add_argument("--no-phones", action="store_true", help="leave adb alone")


def run(arguments: argparse.Namespace) -> int:
    """Print what was found."""
    from suite import doctor

    found = doctor.examine(phones=not arguments.no_phones)
    if arguments.json:
        print(json.dumps(doctor.as_json(found), indent=2))
    else:
        for line in doctor.lines(found):
            print(line)
    return 0 if doctor.ready(found) else 1

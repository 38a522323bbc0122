"""`python -m suite COMMAND`: what can be done with results, without running anything anew."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from suite import commands
from suite.errors import PocketproofError

USAGE_STATUS = 2
INTERRUPTED_STATUS = 130  # 128 + SIGINT, as shells have it


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; a user's mistake is one message on stderr."""
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser([name for name in commands.names() if name in words[:1]]).parse_args(words)
    try:
        status: int = arguments.run_command(arguments)
        sys.stdout.flush()
    except PocketproofError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_STATUS
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED_STATUS
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return USAGE_STATUS
    return status


def _parser(asked: Sequence[str]) -> argparse.ArgumentParser:
    """For the command that is asked for, so that no other is loaded; for all of them where none is."""
    parser = argparse.ArgumentParser(
        prog="python -m suite",
        description="Pocketproof: proves that a deep-learning model survives the trip to a phone.",
        epilog="Run `pytest` to validate models. Exit status: 0 well; 1 a gate fails; 2 wrong usage, or "
        "something cannot be read or written; 130 interrupted.",
    )
    places = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in asked or commands.names():
        command = commands.load(name)
        own = places.add_parser(
            name,
            help=command.HELP,
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(own)
        own.set_defaults(run_command=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())

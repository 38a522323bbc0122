"""The commands of `python -m suite`: each public module here is one, of the same name.

A name that Python keeps for itself has an underscore after it.

A module states `HELP`, one line, and the two functions of `Command`. Its
docstring is the long help. It imports what is slow inside `run`.
"""

from __future__ import annotations

import argparse
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Protocol, cast


class Command(Protocol):
    """What a module of this package offers."""

    HELP: str
    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; returns the exit status. Raises PocketproofError for what a user can mend."""


def discover() -> Iterator[tuple[str, Command]]:
    """Every command by name, in alphabetical order."""
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            yield module.name.rstrip("_"), cast(Command, import_module(f"{__name__}.{module.name}"))

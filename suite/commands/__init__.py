"""The commands of `python -m suite`: each public module here is one, of the same name.

A name that Python keeps for itself has an underscore after it.

A module states `HELP`, one line, and the two functions of `Command`. Its
docstring is the long help. It imports what is slow inside `run`.
"""

from __future__ import annotations

import argparse
import keyword
import pkgutil
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


def names() -> list[str]:
    """Every command, in alphabetical order."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return [name.rstrip("_") for name in modules if not name.startswith("_")]


def load(name: str) -> Command:
    """The command of this name, which is one of `names()`."""
    module = f"{name}_" if keyword.iskeyword(name) else name
    return cast(Command, import_module(f"{__name__}.{module}"))

"""Arguments that every command on results takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from suite.store import LATEST, held_to
from suite.thresholds import Thresholds

DEFAULT_RUN = Path("reports") / LATEST
DEFAULT_CONFIG = Path("pyproject.toml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run to read, and the thresholds to hold it to."""
    parser.add_argument(
        "run",
        nargs="?",
        type=Path,
        default=DEFAULT_RUN,
        metavar="RUN",
        help="a run's directory or its results.jsonl (default: %(default)s)",
    )
    add_config(parser)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Where the thresholds stand."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="pyproject.toml with [tool.pocketproof...] thresholds (default: the one in this "
        "directory; without one, the suite's own)",
    )


def add_baseline(parser: argparse.ArgumentParser) -> None:
    """What an earlier run was like."""
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="hold the run to this earlier one too: a file, or the folder of all, reports/baselines "
        "(default: what it was held to while it ran)",
    )


def baseline(arguments: argparse.Namespace) -> Path | None:
    """The baseline that the arguments ask for, or else that of the run itself."""
    given: Path | None = arguments.baseline
    return held_to(arguments.run) if given is None else given


def thresholds(arguments: argparse.Namespace) -> Thresholds:
    """The thresholds that the arguments ask for."""
    config: Path | None = arguments.config
    if config is None and DEFAULT_CONFIG.is_file():
        config = DEFAULT_CONFIG
    return Thresholds.load(config)

"""What earlier runs measured of a model, oldest first; one line a case and run.

Needs no converter and no runtime. Exit status: 0 shown; 2 there is no history,
or nothing of this model in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from suite import history
from suite.errors import UsageError

HELP = "show what earlier runs measured of a model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, and how far back."""
    parser.add_argument(
        "model", nargs="?", default="*", metavar="MODEL", help="name or pattern (default: all)"
    )
    parser.add_argument(
        "--runs", type=int, default=20, metavar="N", help="newest runs of each case (default: %(default)s)"
    )
    parser.add_argument(
        "--file",
        type=Path,
        default=Path("reports") / history.FILE,
        metavar="FILE",
        help="default: %(default)s",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    entries = history.load(arguments.file, arguments.model, arguments.runs)
    if not entries:
        raise UsageError(f"{arguments.file}: holds nothing of {arguments.model!r}")
    for line in lines(entries):
        print(line)
    return 0


def lines(entries: Sequence[history.Entry]) -> Iterator[str]:
    """Each case with its runs; the machine is named where it changes."""
    by_case: dict[str, list[history.Entry]] = {}
    for entry in entries:
        by_case.setdefault(entry.case_id, []).append(entry)
    for case_id, runs in by_case.items():
        yield case_id
        machine = ""
        for entry in runs:
            if entry.fingerprint != machine:
                machine = entry.fingerprint
                yield f"  on {machine or 'an unknown machine'}:"
            revision = (entry.git_revision or "")[:9]
            yield f"  {entry.run:<22} {revision:<9} {entry.status:<16} {_numbers(entry)}"


def _numbers(entry: history.Entry) -> str:
    """What was measured of it, with units."""
    mb = None if entry.peak_bytes is None else entry.peak_bytes / 1e6
    texts = (
        _text("p50 {:.3f} ms", entry.p50_ms),
        _text("{:.0f} bytes", entry.size_bytes),
        _text("{:.1f} dB", entry.sqnr_db),
        _text("top-1 {:.4f}", entry.top1),
        _text("peak {:.1f} MB", mb),
        _text("{:.1f} fps", entry.processed_fps),
    )
    return "  ".join(filter(None, texts))


def _text(form: str, value: float | None) -> str:
    return "" if value is None else form.format(value)

"""Set the baseline of this machine from a run, or show those there are.

  baseline set [RUN]     keeps a run as what later runs are held to, under
                         reports/baselines/<environment>/, to be committed.
                         A run in doubt (a failed case, an unstable or
                         contaminated latency) is refused.
  baseline show [FILE]   the numbers of one, or of all

Then `pytest --baseline reports/baselines` and `python -m suite gate --baseline
reports/baselines` hold a run to the baseline of its own machine.

Exit status: 0 done; 2 wrong usage, or a run that is no baseline.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from suite import baseline
from suite.commands._results import DEFAULT_RUN
from suite.record import Record
from suite.stats import median_ms
from suite.store import load

HELP = "set or show what runs are held to"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, with which run or file, where."""
    parser.add_argument("action", choices=("set", "show"))
    parser.add_argument("path", nargs="?", type=Path, metavar="RUN|FILE", help="default: reports/latest")
    parser.add_argument(
        "--folder",
        type=Path,
        default=baseline.FOLDER,
        metavar="DIR",
        help="of baselines (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Do it, and say what was done."""
    if arguments.action == "set":
        for path, kept in baseline.save(load(arguments.path or DEFAULT_RUN).records, arguments.folder):
            hold = f"hold runs to it with --baseline {arguments.folder}"
            print(f"{path}: {len(kept)} cases; commit it, and {hold}")
            if lacks := baseline.lacking(kept):
                print(f"  it lacks, and so holds no run to: {lacks}")
        return 0
    for line in _table(baseline.load(arguments.path or arguments.folder)):
        print(line)
    return 0


def _table(found: baseline.Baseline) -> Iterator[str]:
    by_machine: dict[str, list[Record]] = {}
    for known in found.records.values():
        for record in known.values():
            by_machine.setdefault(baseline.environment_name(record), []).append(record)
    for machine, records in by_machine.items():
        yield f"{machine}: {len(records)} cases, {max(record.recorded_at for record in records)}"
        yield from (f"  {record.case_id}: {_numbers(record)}" for record in records)


def _numbers(record: Record) -> str:
    numbers = []
    if record.latency is not None:
        numbers.append(f"p50 {median_ms(record.latency):.3f} ms")
    if record.artifact is not None:
        numbers.append(f"{record.artifact.size_bytes} bytes")
    if record.parity is not None:
        numbers.append(f"SQNR {record.parity.real.sqnr_db:.1f} dB")
    if record.accuracy is not None:
        numbers.append(f"top-1 {record.accuracy.top1:.4f}")
    return ", ".join(numbers) or str(record.status)

"""Compare two runs' results, or measure A against B.

  compare OLD NEW               two runs' results: what changed in status, size,
                                operators, parity, accuracy, latency and memory,
                                case by case; missing and new cases by name.
                                Needs no converter and no runtime.
  compare --models GLOB A B     measures both sides here, in turn (A B B A), and
                                says whether B is faster, slower, no different,
                                or that it cannot be told. A side is an artifact's
                                path, an engine, a run (RUN, or RUN@CACHE where its
                                artifacts lie in another cache), or a cache folder.
  compare A.tflite B.tflite     measures two artifacts by themselves; Core ML's
                                (.mlpackage, .mlmodel) on a Mac.

Better and worse are what is further apart than [tool.pocketproof.baseline] in
pyproject.toml lets a run fall behind; finished runs do not tell less apart.

Exit status: 0 nothing got worse; 1 something did (or a case is missing, or B
is slower); 2 wrong usage, or something cannot be read or run; 3 a latency
cannot be told (unstable or contaminated, or its interval is too wide), and
nothing is worse.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.commands import _results
from suite.errors import PocketproofError, UsageError

if TYPE_CHECKING:
    from suite.ab import Outcome, Plan

HELP = "compare two runs, or measure A against B"
INCONCLUSIVE_STATUS = 3
_ARTIFACTS = {".tflite", ".mlpackage", ".mlmodel"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two sides, and how to measure them."""
    parser.add_argument("a", metavar="OLD|A", help="a run's results, or a side to measure")
    parser.add_argument("b", metavar="NEW|B", help="what it is compared with")
    parser.add_argument("--models", metavar="GLOB[,GLOB]", help="measure these models")
    parser.add_argument(
        "--variants", default="float32", metavar="LIST", help="of them (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="of each side (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="of A B B A at first; more follow while it cannot be told"
    )
    parser.add_argument("--fixtures-dir", type=Path, metavar="DIR", help="model fixtures from this folder")
    _results.add_config(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found here too")


def run(arguments: argparse.Namespace) -> int:
    """Print what was found."""
    if arguments.models or {Path(side).suffix for side in (arguments.a, arguments.b)} & _ARTIFACTS:
        return _measured(arguments)
    from suite import compare, store

    limits = _results.thresholds(arguments).baseline
    found = compare.compare(store.load(arguments.a).records, store.load(arguments.b).records, limits)
    if found.compared == 0:
        raise UsageError(f"{arguments.a} and {arguments.b} have no case in common: nothing can be compared")
    for line in compare.lines(found):
        print(line)
    _write(arguments.json, asdict(found))
    if found.worse or found.missing:
        return 1
    return INCONCLUSIVE_STATUS if found.of(compare.Change.INCONCLUSIVE) else 0


def _measured(arguments: argparse.Namespace) -> int:
    from suite.ratio import Verdict

    outcomes = []
    for name, outcome in _outcomes(arguments):
        _progress(0, 0)
        print(f"{name}: {outcome.b} is {_words(outcome)}", flush=True)
        outcomes.append({"case": name, **asdict(outcome)})
    verdicts = {outcome["verdict"] for outcome in outcomes}
    _write(arguments.json, outcomes)
    if Verdict.SLOWER in verdicts:
        return 1
    return INCONCLUSIVE_STATUS if Verdict.INCONCLUSIVE in verdicts else 0


def _words(outcome: Outcome) -> str:
    from suite.ratio import Verdict

    word = {
        Verdict.FASTER: f"faster than {outcome.a}",
        Verdict.SLOWER: f"slower than {outcome.a}",
        Verdict.SAME: f"no different from {outcome.a}",
        Verdict.INCONCLUSIVE: f"not told apart from {outcome.a}: inconclusive; quieten this machine, "
        "or give more --rounds",
    }[outcome.verdict]
    threads = f"{outcome.threads} thread{'s' if outcome.threads > 1 else ''}"
    return (
        f"{word}. Ratio of medians {outcome.ratio}; p50 {outcome.a_p50_ms:.3f} and "
        f"{outcome.b_p50_ms:.3f} ms, {outcome.rounds} rounds of 4 x {outcome.block}, {threads}"
    )


def _outcomes(arguments: argparse.Namespace) -> Iterator[tuple[str, Outcome]]:
    from suite import ab, sides

    plan = _plan(arguments)
    if not arguments.models:
        a, b = (sides.artifact_side(Path(text)) for text in (arguments.a, arguments.b))
        sample = sides.noise(a, b)
        yield "artifacts", ab.compare(a, b, sample, threads=arguments.threads, plan=plan, progress=_progress)
        return
    for case, lab in _cases(arguments):
        a, b = (sides.resolve(text, case, lab) for text in (arguments.a, arguments.b))
        sample = sides.samples(a, b, case, lab)
        outcome = ab.compare(a, b, sample, threads=arguments.threads, plan=plan, progress=_progress)
        yield f"{case.spec.name}/{case.variant.name}", outcome


def _plan(arguments: argparse.Namespace) -> Plan:
    from suite import ab, ratio

    if arguments.threads < 1:
        raise UsageError(f"--threads {arguments.threads}: one or more is expected")
    if arguments.rounds is None:
        return ab.Plan()
    if arguments.rounds < ratio.FEWEST_ROUNDS:
        raise UsageError(f"--rounds {arguments.rounds}: {ratio.FEWEST_ROUNDS} or more are expected")
    return ab.Plan(rounds=arguments.rounds)


def _cases(arguments: argparse.Namespace) -> Iterator[tuple[Any, Any]]:
    """Each model and variant once, with the lab that makes their parts."""
    from suite.cache import default_cache
    from suite.discovery import BUNDLED, discover
    from suite.lab import Lab
    from suite.matrix import Request, cases
    from suite.thresholds import Thresholds

    request = Request(
        models=tuple(arguments.models.split(",")), variants=tuple(arguments.variants.split(","))
    )
    found = cases(discover(arguments.fixtures_dir or BUNDLED), request)
    once = {(case.spec.name, case.variant.name): case for case in reversed(found)}
    lab = Lab(default_cache(), Thresholds())
    try:
        yield from ((case, lab) for case in reversed(once.values()))
    finally:
        lab.close()


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{f'round {done} of {of}' if done else ''}", end="", file=sys.stderr, flush=True)


def _write(path: Path | None, value: object) -> None:
    if path is not None:
        try:
            path.write_text(json.dumps(value, indent=1) + "\n")
        except OSError as error:
            raise PocketproofError(f"{path}: cannot be written: {error.strerror}") from error

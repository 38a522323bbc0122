"""Plant faults that really happened in good conversions, and see that the gate catches each.

One fault at a time goes into the weights, the graph, the quantisation or the
bytes of an artifact from the cache, or into the app around it (preprocessing,
labels), and the checks of a run judge it. Beside them, for false alarms, good
conversions are judged under many seeds: other checkpoints of the models, other
samples to calibrate with and to compare on, other generated inputs.

A fault is `equivalent` when it provably changes no answer, whatever the input;
`not exercised` when no answer to the real and generated inputs of the run
changes by a bit, which proves nothing about other inputs. Neither is in the
kill rate.

Exit status: 0 every fault is caught and no good conversion is; 1 a fault
survives, there is a false alarm, or a time-out or the like kept one from a
verdict; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from suite import folder
from suite.commands import _results

if TYPE_CHECKING:
    from suite.prove import Proof

HELP = "plant faults in good conversions: does the gate catch each?"
FILE = "prove.json"
VARIANTS = "float32,int8,mlprogram_float32,mlprogram_float16"
ON_THE_SMALLEST = "float16,dynamic_int8,int8_io,mlprogram_int8_weights,mlprogram_palettized_6bit"
SMALLEST = "digits_cnn"
SOFTMAX = "_digits_softmax.py"  # a bundled net beside the models: it answers probabilities


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to plant, where, and how many good runs."""
    parser.add_argument("--models", default="", metavar="GLOB[,GLOB]", help="default: the smoke models")
    parser.add_argument(
        "--variants",
        default="",
        metavar="LIST",
        help=f"default: {VARIANTS}, and of {SMALLEST} {ON_THE_SMALLEST} besides",
    )
    parser.add_argument("--faults", default="", metavar="LIST", help="names of faults (default: all)")
    parser.add_argument(
        "--good-runs",
        type=int,
        default=100,
        metavar="N",
        help="seeded good conversions in all, of every model and variant in turns (default: %(default)s)",
    )
    parser.add_argument(
        "--one-in",
        type=int,
        default=1,
        metavar="N",
        help="plant each fault in one of N cases, in turns: a sample, of many models (default: in each)",
    )
    parser.add_argument("--fixtures-dir", type=Path, metavar="DIR", help="model fixtures (default: bundled)")
    parser.add_argument("--report-dir", type=Path, metavar="DIR", help="default: reports/<time>-prove")
    parser.add_argument("--config", type=Path, metavar="FILE", help="pyproject.toml with thresholds")


def run(arguments: argparse.Namespace) -> int:
    """Plant, judge, write prove.json; returns 0 or 1."""
    from suite.cache import default_cache
    from suite.discovery import BUNDLED, discover, load_fixture
    from suite.environment import cores
    from suite.errors import UsageError, unknown
    from suite.faults import FAULTS, select
    from suite.faulty import FaultyLab
    from suite.matrix import Request, cases
    from suite.prove import prove

    for name in _names(arguments.faults):
        if name not in {fault.name for fault in FAULTS}:
            raise UsageError(unknown("fault", name, [fault.name for fault in FAULTS]))
    models = discover(arguments.fixtures_dir or BUNDLED)
    if arguments.fixtures_dir is None:
        softmax = load_fixture(BUNDLED / SOFTMAX)
        models[softmax.name] = softmax
    request = Request(
        profile="smoke", models=_names(arguments.models), variants=_names(arguments.variants or VARIANTS)
    )
    planned = cases(models, request)
    if not arguments.variants and any(case.spec.name == SMALLEST for case in planned):
        more = replace(request, models=(SMALLEST,), variants=_names(ON_THE_SMALLEST))
        planned = sorted([*planned, *cases(models, more)], key=lambda case: case.spec.name)
    place = _made(arguments.report_dir)
    labs = [FaultyLab(default_cache(), _results.thresholds(arguments)) for _ in range(cores())]
    try:
        with tempfile.TemporaryDirectory(prefix="pocketproof-prove-") as scratch:
            proof = prove(
                labs,
                planned,
                select(_names(arguments.faults)),
                scratch=Path(scratch),
                good_runs=arguments.good_runs,
                one_in=arguments.one_in,
                say=partial(print, flush=True),  # one line in seconds, also into a file
            )
    finally:
        for lab in labs:
            lab.close()
        with suppress(OSError):  # nothing was proven, and nothing else is there
            place.parent.rmdir()
    with folder.explained():
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps(proof.as_json(), indent=1))
    _conclude(proof, place)
    return 0 if proof.holds else 1


def _made(given: Path | None) -> Path:
    """The file to write, its folder there already: whether it can be is known before the work."""
    made = folder.make(given, Path("reports"))
    if given is None:
        made = made.rename(made.with_name(f"{made.name}-prove"))
    return made / FILE


def _conclude(proof: Proof, place: Path) -> None:
    rate = "nothing was planted" if proof.kill_rate is None else f"kill rate {proof.kill_rate:.1%}"
    said = proof.as_json()
    sample = f" (a sample: each fault in one of {proof.one_in} cases)" if proof.one_in > 1 else ""
    print(
        f"{rate}{sample}, {said['equivalent']} equivalent, "
        f"{said['not_exercised']} not exercised by these inputs; "
        f"{len(proof.alarms)} false alarms in {proof.good_runs} good runs; {place}"
    )
    for one in proof.outcomes:
        if one.survived:
            print(f"SURVIVED: {one.name} in {one.model}/{one.variant}: {one.message}")
    for alarm in proof.alarms:
        print(f"FALSE ALARM: {alarm}. The tolerance is too tight, or the conversion is not good")
    for error in said["errors"]:
        print(f"ERROR: {error} Nothing is known of it: run it again")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())

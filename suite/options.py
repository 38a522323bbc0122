"""The command line's options; README documents them."""

from __future__ import annotations

from collections.abc import Callable

from suite import phones
from suite.matrix import PROFILES


def add_options(add: Callable[..., None]) -> None:
    """What is asked for, where results go, and what is done besides."""
    add("--models", metavar="GLOB[,GLOB]", help="models by name; default: those of the profile")
    add(
        "--variants",
        metavar="LIST",
        help="variants by name, separated by commas; default: those of the profile",
    )
    add("--profile", default="default", help=f"how much to do: {', '.join(PROFILES)} (default: %(default)s)")
    add(
        "--model-file",
        metavar="PATH",
        help="validate a .keras or .h5 file or a SavedModel folder, without a fixture",
    )
    add(
        "--artifact",
        metavar="PATH",
        action="append",
        default=[],
        help="hold this .tflite or .mlpackage to its model instead of converting; repeatable",
    )
    add(
        "--deployment-target",
        default="",
        metavar="iOS15|iOS16|...",
        help="the oldest iOS that Core ML artifacts must run on (default: what each variant needs)",
    )
    add("--dataset", metavar="FILE.npz|imagenet:DIR", help="samples in place of the fixture's own")
    add("--input-range", metavar="LO,HI", help="value range of a model without a fixture")
    add("--fixtures-dir", metavar="DIR", help="model fixtures from this folder instead of the bundled ones")
    add(
        "--weights",
        default="offline",
        metavar="offline|imagenet[:DIR]",
        help="weights of the bundled models: made here, or the published ones (default: %(default)s)",
    )
    add(
        "--report-dir",
        metavar="DIR",
        help="write this run's results here (default: a new folder in reports/)",
    )
    add(
        "--baseline",
        metavar="FILE",
        help="hold this run to an earlier one of the same machine: a file or folder of reports/baselines",
    )
    phones.add_options(add)
    add(
        "--localise",
        action="store_true",
        help="say of each parity check where its difference comes in, by cause and by layer; "
        "of failed ones that is said anyway",
    )
    add(
        "--seek",
        metavar="N",
        type=int,
        default=0,
        help="look for the inputs that a quantised artifact disagrees on most, "
        "among N real photos with small changes (default: only count disagreements)",
    )
    add(
        "--sustained",
        metavar="MINUTES",
        type=float,
        default=0.0,
        help="also run each artifact back to back for so long: throughput over time, and temperatures",
    )
    add("--continue-run", metavar="DIR", help="add to the results of a run that has begun in this folder")

"""Write a golden bundle: a Core ML artifact, inputs, reference answers, and a script that replays them.

Copy the folder to any Mac with coremltools, run `python replay.py` there, bring
result.json back into the folder, and `python -m suite import FOLDER/result.json`.

Exit status: 0 the bundle is written; 2 wrong usage, or the model does not convert.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write a Core ML artifact with inputs and answers, to be replayed on a Mac elsewhere"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, its variants, and where to."""
    parser.add_argument("model", metavar="MODEL", help="a bundled model's name, or a saved model's path")
    parser.add_argument(
        "--variant",
        action="append",
        metavar="NAME",
        help="repeatable (default: mlprogram_float32 and mlprogram_float16)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: bundles/MODEL-VARIANT")
    parser.add_argument(
        "--samples", type=int, default=16, metavar="N", help="real ones (default: %(default)s)"
    )
    parser.add_argument("--weights", default="offline", help="as of pytest (default: %(default)s)")
    parser.add_argument("--deployment-target", default="", metavar="iOS15|iOS16|...", help="as of pytest")


def run(arguments: argparse.Namespace) -> int:
    """Write one bundle a variant, and say where."""
    from suite import golden

    variants = arguments.variant or ["mlprogram_float32", "mlprogram_float16"]
    for folder in golden.write(
        arguments.model,
        variants,
        out=arguments.out,
        samples=arguments.samples,
        weights=arguments.weights,
        deployment_target=arguments.deployment_target,
    ):
        print(f"{folder}: copy it to a Mac, and run `python replay.py` in it")
    return 0

"""`python -m tests.bench [PART ...]`: prints the figures that the suite promises of itself.

collect  wall time of `pytest --collect-only`, and that it imports no vendor library
latency  the reported p50 against LiteRT's own litert-benchmark, interleaved
ab       A against A, and against A slowed by 5 %, on real models
camera   the camera-paced scheduler's own jitter, and a model slower than a frame behind it
weights  how often the bundled models are right, and what float16 and int8 cost them
results  the gate over 10,000 recorded cases; the report of 1,000: built, opened, its size
coreml   how near the Core ML artifacts of the ten models come to Keras, by the evaluator
evaluator  the Core ML evaluator's time for one picture against LiteRT's, one thread each
localise  whether faults planted in weights and graphs are placed in the right layer
prove    the smoke models' faults and good runs: all killed, none alarmed, in five minutes
cold     the default profile from an empty cache and again with nothing changed,
         against the converter calls, timed loops and data-set passes it consists of
warm     the second half of `cold` alone, in the cache that is there; not among the default parts
device   what a measurement on a phone adds to its runner and the transfer, and two phones at
         once against one after the other; on stand-ins
"""

from __future__ import annotations

import argparse
import sys

from tests.bench import (
    ab,
    camera,
    cold,
    collect,
    coreml,
    device,
    evaluator,
    latency,
    localise,
    prove,
    results,
    weights,
)

PARTS = {
    part.__name__.rpartition(".")[2]: part.main
    for part in (
        collect,
        latency,
        ab,
        camera,
        results,
        weights,
        coreml,
        evaluator,
        localise,
        prove,
        cold,
        device,
    )
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="|".join(PARTS), help="default: all of them")
    parser.add_argument(
        "--profile", default="default", help="of the cold and warm runs (default: %(default)s)"
    )
    options = parser.parse_args()
    known = {**PARTS, "warm": cold.warm}
    unknown = set(options.parts) - set(known)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    held = [known[name](options.profile) for name in options.parts or PARTS]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())

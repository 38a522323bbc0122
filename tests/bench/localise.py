"""Whether planted faults are placed in the right layer: `python -m tests.bench.localise [MODEL[/VARIANT]]`.

Plants every fault of weights and graph that `prove` knows in the smoke models,
float32 and int8, and asks `localise` for the layer. Right is a layer whose
operator was altered, or one that takes its answer. Good conversions beside
must have no suspect.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from suite.cache import default_cache, sha256_file
from suite.converters.flatbuffer import Flatbuffer
from suite.discovery import BUNDLED, discover
from suite.errors import StagedError
from suite.faults import FAULTS, Fault, Inapplicable
from suite.lab import Lab
from suite.localise import Apart, localise
from suite.matrix import Case, Request, cases
from suite.record.localisation import Localisation
from suite.thresholds import Thresholds

RATE = 0.95
FAMILIES = ("weights", "graph")


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of one planted fault."""

    fault: str
    right: frozenset[str]
    near: frozenset[str]  # layers that take the answer of a right one
    found: Localisation

    @property
    def exact(self) -> bool:
        """Whether the very layer was named."""
        return self.found.suspect in self.right

    @property
    def held(self) -> bool:
        """Whether it or its immediate consumer was."""
        return self.exact or self.found.suspect in self.near


def main(_profile: str = "") -> bool:
    """The rate over the smoke models; whether it holds."""
    return measure(())


def measure(wanted: Sequence[str]) -> bool:
    """Plant, localise, print a line each; whether the rate holds and no good conversion is suspected."""
    chosen = [case for name in wanted or ("",) for case in _cases(*name.split("/"))]
    placed: list[Placed] = []
    alarms = 0
    lab = Lab(default_cache(), Thresholds(), threads=2)
    start = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(prefix="pocketproof-localise-") as scratch:
            for case in chosen:
                good, facts = lab.artifact(case)
                found = localise(lab, case, good, facts.sha256)
                alarms += found.suspect is not None
                _say(
                    case, "(a good conversion)", found, "SUSPECTED" if found.suspect else "none, as it should"
                )
                for fault in FAULTS:
                    if fault.family in FAMILIES and (one := plant(lab, case, fault, good, Path(scratch))):
                        placed.append(one)
                        _say(case, fault.name, one.found, _ending(one))
    finally:
        lab.close()
    rate = sum(one.held for one in placed) / len(placed) if placed else 0.0
    exact = sum(one.exact for one in placed) / len(placed) if placed else 0.0
    holds = rate >= RATE and not alarms
    print(
        f"{'holds' if holds else 'FAILS'}  named the right layer or its consumer: {rate:.1%} of "
        f"{len(placed)} planted faults (the very layer: {exact:.1%}), at least {RATE:.0%}; "
        f"{alarms} of {len(chosen)} good conversions suspected; {time.perf_counter() - start:.0f} s",
        flush=True,
    )
    return holds


def _cases(model: str, *variants: str) -> list[Case]:
    request = Request(
        profile="smoke", models=(model,) if model else (), variants=variants or ("float32", "int8")
    )
    return [case for case in cases(discover(BUNDLED), request) if str(case.target) == "host/litert-xnnpack"]


def plant(lab: Lab, case: Case, fault: Fault, good: Path, scratch: Path) -> Placed | None:
    """One fault, localised; None where it cannot be planted or changes no answer."""
    if fault.alter is None and fault.refold is None:
        return None
    path = scratch / f"{case.spec.name}-{case.variant.name}-{fault.name}.tflite"
    try:
        path.write_bytes(altered(lab, case, fault, good.read_bytes()))
    except Inapplicable:
        return None
    faulty = replace(case, artifact=path)
    if _equal(lab, case, good, path):
        return None
    right, near = truth(lab, case, good, path, scratch)
    return Placed(fault.name, right, near, localise(lab, faulty, path, sha256_file(path)))


def altered(lab: Lab, case: Case, fault: Fault, data: bytes) -> bytes:
    """The file with a fault in it; raises Inapplicable."""
    if fault.refold is not None:
        return fault.refold(data, lab.subject(case.spec).original.batch_norms())
    assert fault.alter is not None
    return fault.alter(data)


def truth(
    lab: Lab, case: Case, good: Path, faulty: Path, scratch: Path
) -> tuple[frozenset[str], frozenset[str]]:
    """The layers that altered operators stand for, and those that take their answers."""
    apart = Apart(lab, case, good, scratch)
    before, after = Flatbuffer(good.read_bytes()), Flatbuffer(faulty.read_bytes())
    layer_of = {one.shown.key: one.layer for one in apart.held}
    now = {int(one.outputs[0]): one for one in after.graph.operators}  # new tensors have new numbers
    right = set()
    for old in before.graph.operators:
        new = now.get(int(old.outputs[0]))
        if new is None or _described(before, old) != _described(after, new):
            right |= {layer_of.get(f"t{index}", f"operator of t{index}") for index in old.outputs}
    if list(before.graph.outputs) != list(after.graph.outputs):
        right |= {apart.held[-1].layer, *(layer_of.get(f"t{index}", "") for index in after.graph.outputs)}
    near = {consumer for layer in right & set(layer_of.values()) for consumer in apart.consumers(layer)}
    return frozenset(right), frozenset(near - right)


def _described(file: Flatbuffer, operator: object) -> object:
    """All that an operator computes with, in a form that can be compared."""
    options = operator.builtinOptions  # type: ignore[attr-defined]
    inputs = []
    for index in operator.inputs:  # type: ignore[attr-defined]
        values = file.values(int(index)) if index >= 0 else None
        inputs.append(
            (int(index), b"" if values is None else values.tobytes(), file.scales(int(index)).tobytes())
        )
    return file.name(operator), sorted(vars(options).items()) if options else None, inputs


def _equal(lab: Lab, case: Case, good: Path, faulty: Path) -> bool:
    """Whether every answer is the same, bit by bit."""
    try:
        found = lab.answers(case, faulty, sha256_file(faulty))
    except StagedError:
        return False
    expected = lab.answers(case, good, sha256_file(good))
    return all(
        ours.keys() == theirs.keys() and all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)
        for ours, theirs in zip(found, expected, strict=True)
    )


def _ending(one: Placed) -> str:
    if one.exact:
        return "right"
    return "its consumer" if one.held else f"WRONG, expected {', '.join(sorted(one.right)[:3])}"


def _say(case: Case, fault: str, found: Localisation, ending: str) -> None:
    where = f"{case.spec.name}/{case.variant.name}"
    print(f"{where:<22} {fault:<24} {found.cause:<11} {found.suspect or '-':<28} {ending}", flush=True)


if __name__ == "__main__":
    sys.exit(0 if measure(sys.argv[1:]) else 1)

"""Whether planted faults are placed in the right layer: `python -m tests.bench.localise [MODEL[/VARIANT]]`.

Plants every fault of weights and graph that `prove` knows in the smoke models,
TFLite in float32 and int8, ML programs in float32 and float16, and asks
`localise` for the layer. Right is the layer of the first operator that was
altered, or one that takes its answer. Good conversions beside must have no suspect.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from suite.cache import default_cache, sha256_file, sha256_tree
from suite.converters.flatbuffer import Flatbuffer
from suite.discovery import BUNDLED, discover
from suite.errors import StagedError
from suite.faults import FAULTS, Fault, Inapplicable
from suite.faults.coreml.package import Package
from suite.lab import Lab
from suite.localise import Apart, localise
from suite.localise.views import LAST
from suite.matrix import Case, Request, cases
from suite.record.localisation import Localisation
from suite.thresholds import Thresholds

RATE = 0.95
FAMILIES = ("weights", "graph")
VARIANTS = ("float32", "int8", "mlprogram_float32", "mlprogram_float16")
TARGETS = ("host/litert-xnnpack", "host/coreml-evaluator")


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
    request = Request(profile="smoke", models=(model,) if model else (), variants=variants or VARIANTS)
    return [case for case in cases(discover(BUNDLED), request) if str(case.target) in TARGETS]


def plant(lab: Lab, case: Case, fault: Fault, good: Path, scratch: Path) -> Placed | None:
    """One fault, localised; None where it cannot be planted or changes no answer."""
    try:
        path = planted(lab, case, fault, good, scratch)
    except Inapplicable:
        return None
    if path is None or _equal(lab, case, good, path):
        return None
    right, near = truth(lab, case, good, path, scratch)
    return Placed(fault.name, right, near, localise(lab, replace(case, artifact=path), path, _sha256(path)))


def planted(lab: Lab, case: Case, fault: Fault, good: Path, scratch: Path) -> Path | None:
    """A copy of the artifact with a fault in it; None where the fault is not of this format."""
    path = scratch / f"{case.spec.name}-{case.variant.name}-{fault.name}{good.suffix}"
    if case.variant.format == "coreml":
        if fault.plant is None and fault.replant is None:
            return None
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(good, path)
        if fault.replant is not None:
            fault.replant(path, lab.subject(case.spec).original.batch_norms())
        elif fault.plant is not None:
            fault.plant(path)
    elif fault.alter is None and fault.refold is None:
        return None
    else:
        path.write_bytes(altered(lab, case, fault, good.read_bytes()))
    return path


def altered(lab: Lab, case: Case, fault: Fault, data: bytes) -> bytes:
    """The file with a fault in it; raises Inapplicable."""
    if fault.refold is not None:
        return fault.refold(data, lab.subject(case.spec).original.batch_norms())
    assert fault.alter is not None
    return fault.alter(data)


def truth(
    lab: Lab, case: Case, good: Path, faulty: Path, scratch: Path
) -> tuple[frozenset[str], frozenset[str]]:
    """The layer that the first altered operator stands for, and those that take its answer.

    Where no operator but the answer was altered, the layers that it was and is taken from.
    """
    apart = Apart(lab, case, good, scratch)
    layer_of = {one.shown.key.removesuffix(LAST): one.layer for one in apart.held}
    find = _altered_in_package if case.variant.format == "coreml" else _altered_in_tflite
    operators, answers = find(good, faulty)
    places = [layer for keys in operators if (layer := next(filter(None, map(layer_of.get, keys)), None))]
    right = {places[0]} if places else {apart.held[-1].layer, *(layer_of.get(key, "") for key in answers)}
    near = {consumer for layer in right & set(layer_of.values()) for consumer in apart.consumers(layer)}
    return frozenset(right), frozenset(near - right)


def _altered_in_tflite(good: Path, faulty: Path) -> tuple[list[list[str]], list[str]]:
    """Operators that differ, each as the keys of what it answers; and the keys of the graph's answers."""
    before, after = Flatbuffer(good.read_bytes()), Flatbuffer(faulty.read_bytes())
    now = {int(one.outputs[0]): one for one in after.graph.operators}  # new tensors have new numbers
    found = []
    for old in before.graph.operators:
        new = now.get(int(old.outputs[0]))
        if new is None or _described(before, old) != _described(after, new):
            found.append([f"t{index}" for index in old.outputs])
    return found, [f"t{index}" for index in after.graph.outputs]


def _altered_in_package(good: Path, faulty: Path) -> tuple[list[list[str]], list[str]]:
    """Likewise, each with the values that follow from it: some are no layer's answer."""
    before, after = Package(good), Package(faulty)
    now = {one.outputs[0].name: one for one in after.block.operations}
    found = []
    for old in before.block.operations:
        if old.type.startswith("const"):
            continue
        new = now.get(old.outputs[0].name)
        if new is None or _described_in_package(before, old) != _described_in_package(after, new):
            found.append(list(_downstream(before, old.outputs[0].name)))
    return found, [after.answer()]


def _downstream(package: Package, name: str) -> Iterator[str]:
    """A value, then the first that is computed from it, and so on."""
    yield name
    for one in package.block.operations:
        taken = [binding.name for value in one.inputs.values() for binding in value.arguments]
        if name in taken:
            yield from _downstream(package, one.outputs[0].name)
            return


def _described_in_package(package: Package, operation: Any) -> object:
    """All that an operation computes with."""
    given = [
        (name, package.source(operation, name), _constant(package, operation, name))
        for name in sorted(operation.inputs)
    ]
    return operation.type, operation.outputs[0].type.SerializeToString(), given


def _constant(package: Package, operation: Any, name: str) -> bytes:
    message = package.value(operation, name)
    if message is None:
        return b""
    if message.WhichOneof("value") != "blobFileValue":
        return bytes(message.immediateValue.SerializeToString())
    values = package.values(operation, name)
    assert values is not None
    return values.tobytes()


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
        found = lab.answers(case, faulty, _sha256(faulty))
    except StagedError:
        return False
    expected = lab.answers(case, good, _sha256(good))
    return all(
        ours.keys() == theirs.keys() and all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)
        for ours, theirs in zip(found, expected, strict=True)
    )


def _sha256(path: Path) -> str:
    return sha256_tree(path) if path.is_dir() else sha256_file(path)


def _ending(one: Placed) -> str:
    if one.exact:
        return "right"
    return "its consumer" if one.held else f"WRONG, expected {', '.join(sorted(one.right)[:3])}"


def _say(case: Case, fault: str, found: Localisation, ending: str) -> None:
    where = f"{case.spec.name}/{case.variant.name}"
    print(f"{where:<22} {fault:<24} {found.cause:<11} {found.suspect or '-':<28} {ending}", flush=True)


if __name__ == "__main__":
    sys.exit(0 if measure(sys.argv[1:]) else 1)

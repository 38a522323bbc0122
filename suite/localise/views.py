"""What an artifact computes on the way to its answers, format by format."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from suite.errors import CaseError
from suite.feeds import Feed
from suite.lab import Lab
from suite.localise import noise
from suite.localise.anatomy import Anatomy, Operator
from suite.localise.chain import BUILTIN
from suite.matrix import Case
from suite.record import Stage
from suite.spec import VARIANTS, Array, Target

_NODE = re.compile(r"[Nn]ode number (\d+)")
_OPERATION = re.compile(r"operation (\w+) \(([^,)]+).*?\) cannot be executed")
_PRECISION = re.compile(r"(_cast_fp(16|32))+(_\d+)?$")  # what Core ML's converter adds where it casts
LAST = " channels last"
_COUNTER = re.compile(r"(?<=\D)\d+$|_int16$")  # what TFLite's adds to names that would be there twice
_PASSES_ON = ("QUANTIZE", "DEQUANTIZE")  # the same reals in another type


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One tensor that can be looked at; `key` names it in `View.run`."""

    key: str
    name: str  # as the converter wrote it, in every precision alike
    operator: str
    low: float | None = None
    high: float | None = None


class View(Protocol):
    """An artifact in one place, opened up."""

    shown: tuple[Shown, ...]  # in the order of execution
    outputs: tuple[str, ...]  # keys of the answers
    inputs: tuple[str, ...]  # keys of the inputs
    stopped: str  # where it cannot be run to its end: why
    stops_at: str  # the name of the tensor that cannot be made then; empty: of the answer
    sample_bytes: int

    def run(self, feed: Feed) -> Mapping[str, Array]:
        """(n, ...) reals by key."""
        ...

    def same(self, key: str) -> str | None:
        """The key of the tensor whose reals this one passes on in another type."""
        ...

    def noise(self, key: str, ends: Sequence[str], values: Mapping[str, Array]) -> float:
        """Mean square that rounding alone adds on the way to a tensor from those at `ends`."""
        ...


class TfliteView:
    """A .tflite file whose every tensor is an answer, in the place of a case."""

    def __init__(self, lab: Lab, case: Case, path: Path, folder: Path) -> None:
        self._lab, self._case = lab, case
        try:
            self.anatomy = Anatomy(path)
        except Exception as error:  # the generated reader raises whatever its offsets lead to
            raise CaseError(
                f"{path.name} cannot be read: {type(error).__name__}", stage=Stage.LOAD
            ) from error
        self._file = Path(tempfile.mkstemp(suffix=".tflite", dir=folder)[1])
        self.stopped = self.stops_at = ""
        shown = self.anatomy.exposed(self._file)
        try:
            self._once()
        except CaseError as error:
            found, operators = _NODE.search(str(error)), self.anatomy.file.graph.operators
            if found is None or not 0 < int(found[1]) < len(operators):  # behind the last is a delegate
                raise
            self.stopped = str(error).splitlines()[0]
            self.stops_at = self._name(int(operators[int(found[1])].outputs[0]))
            shown = self.anatomy.exposed(self._file, last=int(found[1]))
        self.shown = tuple(self._shown(index) for index in shown)
        self.inputs = tuple(f"t{index}" for index in self.anatomy.inputs)
        self.outputs = tuple(f"t{index}" for index in self.anatomy.outputs)
        shapes = (self.anatomy.file.tensor(index).shape for index in shown)
        self.sample_bytes = sum(4 * abs(int(np.prod(shape))) for shape in shapes if shape is not None)
        self._passes = {
            f"t{one.outputs[0]}": f"t{one.inputs[0]}"
            for one in self.anatomy.operators
            if one.name in _PASSES_ON
        }

    def _once(self) -> None:
        feeds = self._lab.subject(self._case.spec).feeds
        self.run(Feed.of(feeds.calibration().sample(0)))

    def _shown(self, index: int) -> Shown:
        tensor, maker = self.anatomy.tensors[index], self.anatomy.maker[index]
        held = self.anatomy.tensors[maker.inputs[0]] if maker.name == "DEQUANTIZE" else tensor
        return Shown(
            key=f"t{index}", name=self._name(index), operator=maker.name, low=held.low, high=held.high
        )

    def _name(self, index: int) -> str:
        name = self.anatomy.tensors[index].name
        return _COUNTER.sub("", name) if ";" in name else name

    def run(self, feed: Feed) -> Mapping[str, Array]:
        """(n, ...) reals by key."""
        return self._lab.answer(self._case, self._file, feed)

    def same(self, key: str) -> str | None:
        """The key of the tensor whose reals this one passes on in another type."""
        return self._passes.get(key)

    def noise(self, key: str, ends: Sequence[str], values: Mapping[str, Array]) -> float:
        """By the operators in between: their steps and their weights."""
        known = {int(name[1:]): array for name, array in values.items()}
        return noise.power(self.anatomy, self._between(int(key[1:]), {int(end[1:]) for end in ends}), known)

    def _between(self, index: int, ends: set[int]) -> list[Operator]:
        found: dict[int, Operator] = {}
        waiting = [index]
        while waiting:
            maker = self.anatomy.maker.get(waiting.pop())
            if maker is not None and maker.number not in found:
                found[maker.number] = maker
                waiting += [one for one in maker.inputs if one not in ends]
        return list(found.values())


class CoreMlView:
    """A Core ML artifact in the evaluator. Of four axes the channels come last, as Keras has them."""

    def __init__(self, lab: Lab, case: Case, path: Path) -> None:
        self._lab, self._case, self._path = lab, case, path
        self._floor = 10 ** (-noise.CORE_ML_DB.get(case.variant.name, 0.0) / 10)
        self.stopped = self.stops_at = ""
        feed = Feed.of(lab.subject(case.spec).feeds.calibration().sample(0))
        try:
            values = self.run(feed)
        except CaseError as error:
            found = _OPERATION.search(str(error))
            if found is None:
                raise
            self.stopped = str(error).splitlines()[0]
            # What names the classes makes no value of the model's: the answer itself is what it cannot take.
            self.stops_at = "" if found[1] == "classify" else _PRECISION.sub("", found[2])
            values = self.run(feed)
        self.inputs: tuple[str, ...] = ()
        self.shown = tuple(
            Shown(key=key, name=_PRECISION.sub("", key.removesuffix(LAST)), operator="") for key in values
        )
        self.outputs: tuple[str, ...] = (self.shown[-1].key,) if self.shown else ()
        self.sample_bytes = sum(value.nbytes for value in values.values())

    def run(self, feed: Feed) -> Mapping[str, Array]:
        """(n, ...) by key; both ways to order four axes, since a value does not tell its own."""
        found = {}
        seen = self._lab.intermediates(self._case, self._path, feed, partly=bool(self.stopped))
        for name, value in seen.items():
            if value.dtype.kind == "f" and value.ndim > 1:
                found[name] = value
                if value.ndim == 4:
                    found[f"{name}{LAST}"] = np.moveaxis(value, 1, 3)
        return found

    def same(self, key: str) -> str | None:
        """Nothing: casts are operations like others here."""
        return None

    def noise(self, key: str, ends: Sequence[str], values: Mapping[str, Array]) -> float:
        """A published share of the tensor's own power."""
        return self._floor * float(np.var(values[key], dtype=np.float64))


def view(lab: Lab, case: Case, path: Path, folder: Path) -> View:
    """Open an artifact up, in the place of the case; scratch files go to `folder`."""
    if case.variant.format == "coreml":
        return CoreMlView(lab, case, path)
    return TfliteView(lab, case, path, folder)


def plain(case: Case) -> Case:
    """The case of the conversion that is nearest to the original, of the same format, on this machine."""
    if case.variant.format == "coreml":
        return replace(case, variant=VARIANTS["mlprogram_float32"], artifact=None)
    return replace(case, variant=VARIANTS["float32"], artifact=None, target=Target("host", BUILTIN))

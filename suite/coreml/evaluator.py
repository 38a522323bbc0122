"""A saved Core ML model, executed in NumPy with the precisions that it declares.

    from suite.coreml.evaluator import Evaluator

    model = Evaluator.open("model.mlpackage")
    model.run({"image": photo})           # uint8 (height, width, 3) RGB for an image input
    model.run_tensors({"image": planes})  # float (1, channels, height, width): what the first operation sees

It proves the file: graph, weights, preprocessing, precision. It says nothing
of Apple's kernels, nor of any speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from suite.coreml import flexible
from suite.coreml.halves import to_half
from suite.coreml.images import Picture, picture, planes
from suite.coreml.ops.elementwise import HELD
from suite.coreml.plan import execute, outputs, widened
from suite.coreml.program import Program, shape_fits
from suite.coreml.saved import Declared, Saved, open_saved, reading
from suite.errors import CaseError, PocketproofError, Unsupported, UsageError
from suite.record import Stage
from suite.runtimes.base import TensorInfo
from suite.spec import Array

if TYPE_CHECKING:
    from suite.coreml.network import Network

NEWEST = 10  # specification version; iOS 26


class Evaluator:
    """An opened model.

    `inputs`: as an app hands them over. An image input is (height, width,
    channels) uint8 with -1 for a free size; a tensor is as declared. `outputs`:
    tensors as declared; of a classifier, the scores in the order of `labels`,
    and the label itself is not among them. `pictures`: the image inputs.
    `label_name` and `scores_name`: what a classifier calls its two answers.
    """

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        description = saved.spec.description
        _check_version(saved)
        if saved.program:
            self._plan: Program | Network = Program(saved)
        else:
            from suite.coreml.network import Network  # all its layers; an ML program does without

            self._plan = Network(saved)
        self.pictures: dict[str, Picture] = {
            one.name: picture(one) for one in description.input if one.type.HasField("imageType")
        }
        self.labels: tuple[Any, ...] = self._plan.labels
        self.label_name: str = description.predictedFeatureName
        self.scores_name: str = description.predictedProbabilitiesName
        self._check_names([one.name for one in description.input], self._plan.inputs, "takes")
        self._features = {one.name: one for one in description.input}
        self._names = [one.name for one in description.output]
        self._check_names(self._names, self._plan.outputs, "answers")
        self.inputs = tuple(self._input(one) for one in description.input)
        self.outputs = tuple(
            self._output(one) for one in description.output if one.name != self.label_name or not self.labels
        )

    @classmethod
    def open(cls, path: str | Path) -> Evaluator:
        """Read a .mlpackage folder or a .mlmodel file, and check all of it before anything is executed.

        Raises CaseError for a file that is damaged or not what it says,
        Unsupported for operations that are not known.
        """
        saved = open_saved(Path(path))
        with reading(saved.path):
            return cls(saved)

    def run(self, feed: Mapping[str, Any]) -> dict[str, Array]:
        """One inference, as an app would do it; outputs by name, the label of a classifier among them.

        An image input takes a PIL image or an array (height, width, 3) in RGB
        of pixels 0..255, whole or not; a tensor input an array of the declared shape.
        """
        return self._run(self._fed(feed, self._picture))

    def run_tensors(self, feed: Mapping[str, Any]) -> dict[str, Array]:
        """One inference on tensors: an image input takes the planes that the first operation sees.

        They are (1, channels, height, width), pixel values in the declared
        order of colours. The scale and bias of an ML program are operations of
        it, those of a neural network its preprocessing: both are applied.
        """
        return self._run(self._fed(feed, lambda name, value: np.asarray(value)))

    def intermediates(
        self, feed: Mapping[str, Any], names: Iterable[str] | None = None, *, partly: bool = False
    ) -> dict[str, Array]:
        """The value of every operation by its name, in the order of execution; or of some of them.

        Takes what `run` takes. Within a loop the last value stays. `partly`: up to the first operation that
        cannot be executed, in place of its error.
        """
        wanted = None if names is None else set(names)
        found: dict[str, Array] = {}

        def see(name: str, value: Any) -> None:
            if (wanted is None or name in wanted) and isinstance(value, np.ndarray):
                found[name] = value

        values = {**self._plan.constants, **self._fed(feed, self._picture)}
        with np.errstate(all="ignore"), suppress(*(PocketproofError,) if partly else ()):
            execute(self._plan.block, values, keep_all=True, seen=see)
        if wanted is not None and (missing := wanted - found.keys()):
            raise UsageError(f"the model has no value {sorted(missing)[0]!r}: leave names out to see all")
        return found

    def usual_shape(self, name: str) -> tuple[int, ...]:
        """Of an input as `inputs` has it; where its size is free, the one that the file names."""
        kind = self._features[name].type
        if name in self.pictures:
            return int(kind.imageType.height), int(kind.imageType.width), self.pictures[name].channels
        declared, stated = self._plan.inputs[name].shape, tuple(map(int, kind.multiArrayType.shape))
        return stated if len(stated) == len(declared) else declared

    @property
    def halves(self) -> frozenset[str]:
        """The values that a device computes in float16: those declared so; of a neural network, all."""
        network = not self._saved.program
        return frozenset(
            name
            for name, declared in outputs(self._plan.block)
            if network or (declared is not None and declared.dtype == "float16")
        )

    def largest(self, feed: Mapping[str, Any]) -> dict[str, float]:
        """The largest finite magnitude of each of `halves` in one inference in float32, without rounding.

        Takes what `run` takes. Within a loop that of all its turns.
        """
        wanted, found = self.halves, dict[str, float]()

        def see(name: str, value: Any) -> None:
            if name in wanted and isinstance(value, np.ndarray) and value.dtype.kind == "f":
                found[name] = max(found.get(name, 0.0), _magnitude(value))

        values = {**self._plan.constants, **self._fed(feed, self._picture)}
        with np.errstate(all="ignore"):
            execute(widened(self._plan.block), values, seen=see)
        return found

    def _run(self, fed: dict[str, Array]) -> dict[str, Array]:
        values = {**self._plan.constants, **fed}
        with np.errstate(all="ignore"):  # infinities are answers like others here
            answers = execute(self._plan.block, values)
        found = dict(zip(self._plan.block.outputs, answers, strict=True))
        return {name: self._answer(name, found[name]) for name in self._names}

    def _fed(self, feed: Mapping[str, Any], image: Callable[[str, Any], Array]) -> dict[str, Array]:
        """The feed as the program's first values."""
        wanted = self._plan.inputs
        if feed.keys() != wanted.keys():
            raise UsageError(f"found inputs {', '.join(feed) or 'none'}, expected {', '.join(wanted)}")
        found: dict[str, Array] = {}
        for name, declared in wanted.items():
            value = image(name, feed[name]) if name in self.pictures else np.asarray(feed[name])
            if value.dtype.kind not in "biuf":
                raise UsageError(f"the input {name} takes numbers, found {value.dtype}")
            shape_fits(value.shape, declared, name)
            sizes = value.shape[2:] if name in self.pictures else value.shape
            flexible.check(self._features[name], sizes)
            held = np.array(value, HELD[declared.dtype], copy=True, order="K")
            found[name] = to_half(held) if declared.dtype == "float16" else held
        return found

    def _picture(self, name: str, value: Any) -> Array:
        return planes(value, self.pictures[name], name)

    def _answer(self, name: str, value: Any) -> Array:
        declared = self._plan.outputs.get(name)
        array = np.asarray(value)
        if declared is not None and declared.dtype == "float16":
            with np.errstate(over="ignore"):
                return array.astype(np.float16)
        return np.ascontiguousarray(array) if array.ndim else array

    def _input(self, feature: Any) -> TensorInfo:
        name = feature.name
        if name in self.pictures:
            kind = self.pictures[name]
            return TensorInfo(name=name, shape=kind.shape, dtype=kind.dtype)
        declared = self._plan.inputs[name]
        return TensorInfo(name=name, shape=declared.shape, dtype=declared.dtype)

    def _output(self, feature: Any) -> TensorInfo:
        declared = self._plan.outputs.get(feature.name)
        if feature.type.WhichOneof("Type") == "dictionaryType" or declared is None:
            return TensorInfo(name=feature.name, shape=(len(self.labels) or -1,), dtype="float32")
        return TensorInfo(name=feature.name, shape=declared.shape, dtype=declared.dtype)

    def _check_names(self, described: list[str], defined: Mapping[str, Declared | None], verb: str) -> None:
        missing = [name for name in described if name not in defined]
        if missing or len(set(described)) != len(described) or not described:
            raise CaseError(
                f"{self._saved.path.name} is damaged: its description says that it {verb} "
                f"{', '.join(described) or 'nothing'}, its operations say {', '.join(defined) or 'nothing'}. "
                "Convert it again",
                stage=Stage.LOAD,
            )


def _magnitude(values: Array) -> float:
    """Of what is finite; an operation such as the logarithm of 0 is infinite in every precision."""
    if values.size == 0:
        return 0.0
    size = max(abs(float(values.max())), abs(float(values.min())))
    return size if np.isfinite(size) else float(np.abs(values[np.isfinite(values)]).max(initial=0))


def _check_version(saved: Saved) -> None:
    version = saved.spec.specificationVersion
    if not 0 < version <= NEWEST:
        raise Unsupported(
            f"{saved.path.name} has specification version {version}, the newest that is known is {NEWEST}. "
            "Convert it for an older deployment target, or run it on a Mac",
            stage=Stage.LOAD,
        )

"""The original model, in the process that holds TensorFlow: built, hashed, run, exported, converted.

Everything here runs in a worker; the rest of the suite sees `Card`s, arrays
and files.
"""

from __future__ import annotations

import gc
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from suite.cache import digest, sha256_file
from suite.card import Card, ModelRef, Norm
from suite.converters import coreml, tflite
from suite.converters.interface import Interface
from suite.discovery import load_fixture
from suite.errors import CaseError, OtherModel
from suite.record import Stage
from suite.runtimes import keras_layers, reads
from suite.runtimes.base import Feed, load_feed, match
from suite.runtimes.keras import KerasOriginal
from suite.runtimes.original import Original, brief
from suite.runtimes.saved_model import SavedOriginal
from suite.spec import Array, ImageInput


class Workshop:
    """Holds the last model that was asked for; the next one replaces it."""

    def __init__(self) -> None:
        self._ref: ModelRef | None = None
        self._original: Original | None = None
        self._content = ""
        self._export: tempfile.TemporaryDirectory[str] | None = None
        self._dependencies: tuple[tuple[str, str], ...] = ()

    def card(self, ref: ModelRef) -> Card:
        """Build the model and say what it is."""
        original = self._open(ref)
        return Card(
            content=self._content,
            inputs=original.inputs,
            outputs=original.outputs,
            parameters=original.parameters,
            rescales=original.rescales,
            dependencies=self._dependencies,
            packages=tuple(reads.packages().items()),
        )

    def run_many(self, ref: ModelRef, content: str, feed: Feed) -> dict[str, Array]:
        """The answers, by output name, of the model whose card has this `content`."""
        original = self._open(ref, content)
        return original.predict(match(load_feed(feed), original.inputs))

    def run_in_float64(self, ref: ModelRef, content: str, feed: Feed) -> dict[str, Array]:
        """Likewise, the same weights and samples in float64 arithmetic."""
        original = self._open(ref, content)
        if not isinstance(original, KerasOriginal):
            raise CaseError("a SavedModel computes in the types of its graph", stage=Stage.COMPARE)
        wide = original.in_float64()
        arrays = match(load_feed(feed), original.inputs)
        return wide.predict({info.name: arrays[info.name].astype(info.dtype) for info in wide.inputs})

    def layers(self, ref: ModelRef, content: str) -> tuple[keras_layers.Layer, ...]:
        """The model's layers in the order of execution, its inputs first."""
        return self._apart(ref, content).all

    def ends(self, ref: ModelRef, content: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The layers that are the model's inputs, and those that are its outputs."""
        apart = self._apart(ref, content)
        return tuple(apart.inputs), tuple(apart.outputs)

    def match_layers(
        self, ref: ModelRef, content: str, feed: Feed, tensors: Mapping[int, Array]
    ) -> dict[int, str]:
        """Which layer's answer each of an artifact's tensors is, by value."""
        return self._apart(ref, content).match(self._ordered(feed), tensors)

    def compare_layers(
        self, ref: ModelRef, content: str, feed: Feed, given: Sequence[keras_layers.Given]
    ) -> list[keras_layers.Difference]:
        """Hold an artifact's tensors to the layers that they stand for, on the same samples."""
        return self._apart(ref, content).compare(self._ordered(feed), given)

    def _apart(self, ref: ModelRef, content: str) -> keras_layers.Layers:
        original = self._open(ref, content)
        if not isinstance(original, KerasOriginal):
            raise CaseError("the original is a SavedModel: it has no layers of Keras", stage=Stage.COMPARE)
        return original.layers

    def _ordered(self, feed: Feed) -> list[Array]:
        assert self._original is not None
        arrays = match(load_feed(feed), self._original.inputs)
        return [np.asarray(arrays[info.name]) for info in self._original.inputs]

    def batch_norms(self, ref: ModelRef, content: str) -> list[Norm]:
        """The batch normalisations, in the model's order; none where it is no keras.Model."""
        original = self._open(ref, content)
        return original.batch_norms() if isinstance(original, KerasOriginal) else []

    def convert(
        self, ref: ModelRef, content: str, variant: str, calibration: Feed | None, destination: Path
    ) -> float:
        """Write the artifact of the model whose card has this `content`; answers the converter's seconds."""
        folder = self._exported(ref, content)
        samples = match(load_feed(calibration), self._open(ref).inputs) if calibration else None
        return tflite.convert(folder, variant, samples, destination)

    def convert_coreml(
        self, ref: ModelRef, content: str, variant: str, interface: Interface, destination: Path
    ) -> float:
        """Write the Core ML artifact; answers the converter's seconds."""
        return coreml.convert(self._exported(ref, content), variant, interface, destination)

    def _open(self, ref: ModelRef, content: str | None = None) -> Original:
        if self._original is None or self._ref != ref or self._outdated():
            self._forget()
            with reads.watched() as files:
                self._original = _open_saved(ref.path) if ref.saved else _build(ref)
            if ref.seed:
                self._original.move(ref.seed)
            self._dependencies = tuple(
                sorted((str(path), sha256_file(path)) for path in files if path.is_file())
            )
            self._ref, self._content = ref, _content(self._original, self._dependencies)
        if content not in (None, self._content):
            raise OtherModel(
                f"{ref.name} was built twice and has other weights the second time, expected the same: "
                "seed its build, and name in the fixture's `files` what it reads in ways Python cannot see. "
                "Then run again",
                stage=Stage.BUILD,
            )
        return self._original

    def _outdated(self) -> bool:
        """Whether a file that the build read is another now."""
        return any(
            not Path(path).is_file() or sha256_file(Path(path)) != sha256
            for path, sha256 in self._dependencies
        )

    def _exported(self, ref: ModelRef, content: str) -> Path:
        """One frozen SavedModel, from which every variant is converted.

        Freezing the weights into the graph first makes the converter several
        times faster than handing it a Keras model, and gives a stable
        signature at batch one.
        """
        original = self._open(ref, content)
        if self._export is None:
            self._export = tempfile.TemporaryDirectory(prefix="pocketproof-export-")
            try:
                tflite.export(original.signature(), Path(self._export.name))
            except BaseException:
                self._export.cleanup()
                self._export = None
                raise
        return Path(self._export.name)

    def _forget(self) -> None:
        self._original = self._ref = None
        if self._export is not None:
            self._export.cleanup()
            self._export = None
        if "keras" in sys.modules:
            import keras

            keras.backend.clear_session()  # names in the next model start anew: its hash is stable
        gc.collect()


def _content(original: Original, files: tuple[tuple[str, str], ...]) -> str:
    """Hash of architecture and weights, and of the code of custom layers, which stand there by name."""
    code = reads.code(original.modules(), files)
    return digest({"model": original.content(), "code": code}) if code else original.content()


def _build(ref: ModelRef) -> Original:
    spec = load_fixture(ref.path)
    if spec.file is not None:
        return _open_saved(spec.file)
    if spec.build is None:
        raise CaseError(
            f"fixture {ref.path.name} has neither build nor file: give one of them", stage=Stage.BUILD
        )
    try:
        model = spec.build(ref.weights)
    except CaseError:
        raise
    except (Exception, SystemExit) as error:
        raise CaseError(
            f"building {ref.name} raised {type(error).__name__}: {brief(error)}. "
            f"See build() in {ref.path.name}",
            stage=Stage.BUILD,
        ) from error
    return KerasOriginal(model, spec.input if isinstance(spec.input, ImageInput) else None)


def _open_saved(path: Path) -> Original:
    if path.is_dir():
        return SavedOriginal(path)
    import keras

    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:
        raise CaseError(
            f"cannot load {path.name}: {brief(error)}. "
            "It is damaged, of another Keras, or has layers of your own: "
            "for those write a fixture that builds it",
            stage=Stage.BUILD,
        ) from error
    return KerasOriginal(model, None, file=path)

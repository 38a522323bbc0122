"""The original model, in the process that holds TensorFlow: built, hashed, run, exported, converted.

Everything here runs in a worker; the rest of the suite sees `Card`s, arrays
and files.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from suite.cache import sha256_file, sha256_tree
from suite.card import Card, ModelRef, Norm
from suite.converters import coreml, tflite
from suite.converters.interface import Interface
from suite.discovery import load_fixture
from suite.errors import CaseError, OtherModel
from suite.record import Stage, Status
from suite.runtimes import keras_layers, reads
from suite.runtimes.base import Feed, TensorInfo, load_feed, match
from suite.spec import Array, ImageInput

_MOVED = 0.02  # of a weight's deviation, in another checkpoint
_BATCH = 32  # samples a step, where the model takes any number


class Original(Protocol):
    """A model that can be a reference."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    parameters: int
    rescales: bool

    def content(self) -> str:
        """Hash of architecture and weights."""
        ...

    def predict(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """(n, ...) samples by input name to (n, ...) answers by output name."""
        ...

    def signature(self) -> Any:
        """A tf.function of keyword tensors at batch one, answering a dict."""
        ...

    def move(self, seed: int) -> None:
        """Become another checkpoint: every weight a little elsewhere."""
        ...


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
        )

    def run_many(self, ref: ModelRef, content: str, feed: Feed) -> dict[str, Array]:
        """The answers, by output name, of the model whose card has this `content`."""
        original = self._open(ref, content)
        return original.predict(match(load_feed(feed), original.inputs))

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
            self._ref, self._content = ref, self._original.content()
            self._dependencies = tuple(
                sorted((str(path), sha256_file(path)) for path in files if path.is_file())
            )
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
            f"building {ref.name} raised {type(error).__name__}: {_brief(error)}. "
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
            f"cannot load {path.name}: {_brief(error)}. "
            "It is damaged, of another Keras, or has layers of your own: "
            "for those write a fixture that builds it",
            stage=Stage.BUILD,
        ) from error
    return KerasOriginal(model, None, file=path)


class KerasOriginal:
    """A keras.Model."""

    def __init__(self, model: Any, image: ImageInput | None, file: Path | None = None) -> None:
        self._model, self._file = model, file
        _check_weights(model)
        names = _input_names(model, image)
        self.inputs = tuple(
            TensorInfo(name=name, shape=_shape(name, tensor.shape, image), dtype=str(tensor.dtype))
            for name, tensor in zip(names, model.inputs, strict=True)
        )
        outputs = (
            ["output"] if len(model.outputs) == 1 else [_identifier(name) for name in model.output_names]
        )
        self.outputs = tuple(
            TensorInfo(
                name=name,
                shape=tuple(-1 if s is None else int(s) for s in tensor.shape),
                dtype=str(tensor.dtype),
            )
            for name, tensor in zip(outputs, model.outputs, strict=True)
        )
        self.parameters = int(model.count_params())
        self.rescales = any(
            type(layer).__name__ in ("Rescaling", "Normalization") for layer in model.layers[:3]
        )

    def move(self, seed: int) -> None:
        """Add noise of a fiftieth of its own deviation to each weight that is trained."""
        random = np.random.default_rng(seed)
        for weight in self._model.trainable_weights:
            values = weight.numpy()
            weight.assign(values + random.normal(0, _MOVED * float(values.std()), values.shape))
        self._file = None  # it is no longer what the file holds

    def content(self) -> str:
        """Hash of the file, or of the configuration and every weight."""
        if self._file is not None:
            return sha256_tree(self._file)
        hasher = hashlib.sha256(self._model.to_json().encode())
        for weight in self._model.weights:
            hasher.update(f"{weight.shape}{weight.dtype}".encode())
            hasher.update(np.ascontiguousarray(weight.numpy()).tobytes())
        return hasher.hexdigest()

    def predict(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Answers in batches, in inference mode."""
        ordered = [arrays[info.name] for info in self.inputs]
        parts = [
            self._step([np.ascontiguousarray(array[start : start + _BATCH]) for array in ordered])
            for start in range(0, len(ordered[0]), _BATCH)
        ]
        return {info.name: np.concatenate([part[i] for part in parts]) for i, info in enumerate(self.outputs)}

    def batch_norms(self) -> list[Norm]:
        """Of every layer, those within layers too."""
        return [
            _norm(layer) for layer in _layers(self._model) if type(layer).__name__ == "BatchNormalization"
        ]

    @functools.cached_property
    def layers(self) -> keras_layers.Layers:
        """The model taken apart."""
        return keras_layers.Layers(self._model)

    @functools.cached_property
    def _step(self) -> Any:
        import tensorflow as tf

        signature = [
            tf.TensorSpec((None, *info.shape[1:]), info.dtype, name=info.name) for info in self.inputs
        ]

        step = tf.function(lambda tensors: _flat(self._call(tensors)), input_signature=[signature])
        return lambda arrays: [tensor.numpy() for tensor in step([tf.constant(array) for array in arrays])]

    def _call(self, tensors: Any) -> Any:
        return self._model(tensors if len(tensors) > 1 else tensors[0], training=False)

    def signature(self) -> Any:
        """The model at batch one, keyword tensors to a dict."""
        import tensorflow as tf

        specs = [tf.TensorSpec((1, *info.shape[1:]), info.dtype, name=info.name) for info in self.inputs]

        def serve(*tensors: Any) -> Any:
            answers = _flat(self._call(list(tensors)))
            return {info.name: answer for info, answer in zip(self.outputs, answers, strict=True)}

        return tf.function(serve, input_signature=specs)


class SavedOriginal:
    """A TensorFlow SavedModel folder, by its serving signature."""

    def __init__(self, path: Path) -> None:
        import tensorflow as tf

        self._path = path
        try:
            self._loaded = tf.saved_model.load(str(path))
        except Exception as error:
            raise CaseError(
                f"cannot load the SavedModel {path.name}: {_brief(error)}. Export it again", stage=Stage.BUILD
            ) from error
        signatures = self._loaded.signatures
        name = "serving_default" if "serving_default" in signatures else next(iter(signatures), None)
        if name is None:
            raise CaseError(
                f"the SavedModel {path.name} has no signature: export it with model.export(folder)",
                stage=Stage.BUILD,
            )
        self._function = signatures[name]
        self.inputs = tuple(
            TensorInfo(name=key, shape=_shape(key, tensor.shape, None), dtype=tensor.dtype.name)
            for key, tensor in self._function.structured_input_signature[1].items()
        )
        self.outputs = tuple(
            TensorInfo(
                name=key,
                shape=tuple(-1 if s is None else int(s) for s in tensor.shape),
                dtype=tensor.dtype.name,
            )
            for key, tensor in self._function.structured_outputs.items()
        )
        self._any_batch = all(
            tensor.shape[0] is None for tensor in self._function.structured_input_signature[1].values()
        )
        variables = {id(variable): variable for variable in self._function.variables}
        self.parameters = sum(int(np.prod(variable.shape)) for variable in variables.values())
        self.rescales = False
        for variable in variables.values():
            _check_finite(variable.name, variable.numpy())

    def move(self, seed: int) -> None:
        """Its weights are part of a graph."""
        raise CaseError(
            f"the SavedModel {self._path.name} cannot be given other weights: write a fixture that builds it",
            stage=Stage.BUILD,
            status=Status.SKIPPED,
        )

    def content(self) -> str:
        """Hash of the folder's files."""
        return sha256_tree(self._path)

    def predict(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Answers in batches, or one by one where the signature's batch is fixed."""
        import tensorflow as tf

        count, step = len(next(iter(arrays.values()))), _BATCH if self._any_batch else 1
        parts = [
            self._function(
                **{name: tf.constant(array[start : start + step]) for name, array in arrays.items()}
            )
            for start in range(0, count, step)
        ]
        return {
            info.name: np.concatenate([part[info.name].numpy() for part in parts]) for info in self.outputs
        }

    def signature(self) -> Any:
        """The signature at batch one."""
        import tensorflow as tf

        names = [info.name for info in self.inputs]
        specs = [tf.TensorSpec((1, *info.shape[1:]), info.dtype, name=info.name) for info in self.inputs]

        def serve(*tensors: Any) -> Any:
            return dict(self._function(**dict(zip(names, tensors, strict=True))))

        return tf.function(serve, input_signature=specs)


def _layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)


def _norm(layer: Any) -> Norm:
    mean = layer.moving_mean.numpy().astype(np.float64)
    return Norm(
        gamma=np.ones_like(mean) if layer.gamma is None else layer.gamma.numpy().astype(np.float64),
        beta=np.zeros_like(mean) if layer.beta is None else layer.beta.numpy().astype(np.float64),
        mean=mean,
        variance=layer.moving_variance.numpy().astype(np.float64),
        epsilon=float(layer.epsilon),
    )


def _flat(answers: Any) -> list[Any]:
    import tensorflow as tf

    return list(tf.nest.flatten(answers))


def _check_weights(model: Any) -> None:
    for weight in model.weights:
        _check_finite(weight.path, weight.numpy())


def _check_finite(name: str, values: Array) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise CaseError(
            f"the weight {name} holds {bad} of {values.size} values that are NaN or infinite: "
            "no format can be held to such a model. Load another checkpoint",
            stage=Stage.BUILD,
        )


def _shape(name: str, shape: Any, image: ImageInput | None) -> tuple[int, ...]:
    """The input's shape at any batch; a free size is the image contract's, or an error."""
    sizes = [None if size is None else int(size) for size in shape[1:]]
    if image is not None:
        if len(sizes) != 3 or any(
            size not in (None, want) for size, want in zip(sizes, image.shape, strict=True)
        ):
            raise CaseError(
                f"the model's input {name} takes {tuple(sizes)}, "
                f"the fixture's ImageInput says {image.shape}: make them agree",
                stage=Stage.BUILD,
            )
        return (-1, *image.shape)
    if None in sizes:
        raise CaseError(
            f"the model's input {name} leaves a size free: {tuple(sizes)}. Phones need it fixed: "
            "write a fixture with an ImageInput, or save the model with a fixed input shape",
            stage=Stage.BUILD,
        )
    return (-1, *(size for size in sizes if size is not None))


def _input_names(model: Any, image: ImageInput | None) -> list[str]:
    """Names that stay: Keras' own are counters."""
    if len(model.inputs) == 1:
        return ["image" if image is not None else "input"]
    return [_identifier(tensor.name) for tensor in model.inputs]


def _identifier(name: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in name)


def _brief(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]

"""A keras.Model as a reference."""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from suite.cache import sha256_tree
from suite.card import Norm
from suite.errors import CaseError
from suite.record import Stage
from suite.runtimes import keras_layers
from suite.runtimes.base import TensorInfo
from suite.runtimes.original import BATCH, brief, check_finite, fixed_shape
from suite.spec import Array, ImageInput

_MOVED = 0.02  # of a weight's deviation, in another checkpoint
_SHALLOW = 15  # kernels; noise adds up over more of them, until nothing is recognised any more


class KerasOriginal:
    """A keras.Model."""

    def __init__(self, model: Any, image: ImageInput | None, file: Path | None = None) -> None:
        self._model, self._image, self._file = model, image, file
        _check_weights(model)
        names = _input_names(model, image)
        self.inputs = tuple(
            TensorInfo(name=name, shape=fixed_shape(name, tensor.shape, image), dtype=str(tensor.dtype))
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
        """Add noise of a fiftieth of its own deviation to each weight that is trained; less in a deep net."""
        random = np.random.default_rng(seed)
        weights = self._model.trainable_weights
        kernels = sum(len(weight.shape) > 1 for weight in weights)
        moved = _MOVED * min(1.0, math.sqrt(_SHALLOW / max(1, kernels)))
        for weight in weights:
            values = weight.numpy()
            weight.assign(values + random.normal(0, moved * float(values.std()), values.shape))
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

    def modules(self) -> set[str]:
        """Those of custom layers and functions, which its configuration tells by name alone."""
        try:
            configuration = self._model.to_json()
        except (NotImplementedError, TypeError, ValueError):
            if self._file is None:
                raise
            return set()  # an old file's: nothing but Keras' own layers can be read from it
        return set(re.findall(r'"module": "(?!keras[."]|builtins")([^"]+)"', configuration))

    def predict(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Answers in batches, in inference mode."""
        ordered = [arrays[info.name] for info in self.inputs]
        parts = [
            self._step([np.ascontiguousarray(array[start : start + BATCH]) for array in ordered])
            for start in range(0, len(ordered[0]), BATCH)
        ]
        return {info.name: np.concatenate([part[i] for part in parts]) for i, info in enumerate(self.outputs)}

    def in_float64(self) -> KerasOriginal:
        """A copy that computes in float64 throughout; CaseError where there can be none."""
        import keras

        try:
            wide = keras.models.model_from_json(self._model.to_json().replace('"float32"', '"float64"'))
            wide.set_weights(self._model.get_weights())
        except Exception as error:  # of layers of a user's own, too
            raise CaseError(
                f"the model cannot be made anew in float64: {brief(error)}", stage=Stage.COMPARE
            ) from error
        return KerasOriginal(wide, self._image)

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
        check_finite(weight.path, weight.numpy())


def _input_names(model: Any, image: ImageInput | None) -> list[str]:
    """Names that stay: Keras' own are counters."""
    if len(model.inputs) == 1:
        return ["image" if image is not None else "input"]
    return [_identifier(tensor.name) for tensor in model.inputs]


def _identifier(name: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in name)

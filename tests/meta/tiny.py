"""Models small enough to be converted in a second; built where TensorFlow is, in a worker."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np


def classifier(batch: int | None = None) -> Any:
    """One 16x16 image to ten scores."""
    import keras

    keras.utils.set_random_seed(7)
    image = keras.Input((16, 16, 3), batch_size=batch, name="image")
    x = keras.layers.Conv2D(16, 3, strides=2, activation="relu", name="conv")(image)
    x = keras.layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(x)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(image, keras.layers.Dense(10, name="scores")(x), name="classifier")


def two_headed() -> Any:
    """An image and four numbers to five scores and a box, none of them of another's shape."""
    import keras

    keras.utils.set_random_seed(8)
    image = keras.Input((8, 8, 3), name="image")
    numbers = keras.Input((4,), name="numbers")
    x = keras.layers.Flatten(name="flat")(keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image))
    x = keras.layers.Concatenate(name="both")([x, numbers])
    scores = keras.layers.Dense(5, name="scores")(x)
    box = keras.layers.Dense(3, name="box")(x)
    return keras.Model([image, numbers], {"scores": scores, "box": box}, name="two_headed")


def pooled(size: int | None) -> Any:
    """An image of any size, or of one, to ten scores."""
    import keras

    keras.utils.set_random_seed(9)
    image = keras.Input((size, size, 3), name="image")
    x = keras.layers.Conv2D(8, 3, activation="relu", name="conv")(image)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(10, name="scores")(x), name="pooled")


def endless() -> Any:
    """A function of one image that counts for ever."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 16, 16, 3), tf.float32, "image")])
    def count(image: Any) -> Any:
        start = tf.reduce_sum(tf.abs(image)), tf.zeros([1, 10])
        return tf.while_loop(lambda sum, _: sum >= 0.0, lambda sum, last: (sum + 1.0, last + 1.0), start)[1]

    return count


def frozen(folder: Path) -> None:
    """The classifier as a SavedModel without variables."""
    import tensorflow as tf

    from suite.converters import tflite

    model = classifier()
    image = tf.TensorSpec((None, 16, 16, 3), tf.float32, "image")
    tflite.export(tf.function(lambda image: {"scores": model(image)}, input_signature=[image]), folder)


def beside(folder: Path) -> None:
    """A SavedModel whose numbers are neither variables nor nodes of its graph."""
    import tensorflow as tf

    numbers = tf.fill([768, 10], 0.5)

    @tf.function(input_signature=[tf.TensorSpec((None, 768), tf.float32, "values")])
    def scores(values: Any) -> Any:
        return {"scores": values @ numbers}

    tf.saved_model.save(tf.Module(), folder, signatures=scores)


def broken(value: float) -> Any:
    """The classifier with one weight that is no number."""
    model = classifier()
    layer = model.get_layer("conv")
    kernel, bias = layer.get_weights()
    kernel[0, 0, 0, 0] = value
    layer.set_weights([kernel, bias])
    return model


def save(folder: Path) -> None:
    """Every kind of file that a user may have, of the same models."""
    import tensorflow as tf

    model = classifier()
    model.save(folder / "classifier.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(folder / "classifier.h5")
    model.export(folder / "classifier_saved", verbose=False)
    frozen(folder / "classifier_frozen")
    beside(folder / "beside_saved")
    # As the documentation of TensorFlow does it, to hold our own way of converting against.
    plain = tf.lite.TFLiteConverter.from_keras_model(classifier(batch=1))
    (folder / "plain.tflite").write_bytes(plain.convert())
    pooled(16).save(folder / "pooled.keras")
    for name, size in (("pooled", 16), ("free", None)):
        of_size = tf.lite.TFLiteConverter.from_keras_model(pooled(size))
        (folder / f"{name}.tflite").write_bytes(of_size.convert())
    counting = tf.lite.TFLiteConverter.from_concrete_functions([endless().get_concrete_function()])
    (folder / "endless.tflite").write_bytes(counting.convert())
    two_headed().save(folder / "two_headed.keras")
    broken(float("nan")).save(folder / "nan.keras")
    empty = folder / "no_signature"
    tf.saved_model.save(tf.Module(), str(empty))
    damaged = folder / "damaged.keras"
    shutil.copy(folder / "classifier.keras", damaged)
    damaged.write_bytes(damaged.read_bytes()[:2000])


class Fake:
    """As much of a keras.Model as a card is made of, without Keras: one weight, which is its answer."""

    def __init__(self, value: float, name: str = "fake") -> None:
        self.weights = [_Weight(value)]
        self.inputs = [_Tensor((None, 4, 4, 3))]
        self.outputs = [_Tensor((None, 2))]
        self.layers: list[Any] = []
        self._name = name

    def count_params(self) -> int:
        return 1

    def to_json(self) -> str:
        return self._name


class _Tensor:
    dtype = "float32"

    def __init__(self, shape: tuple[int | None, ...]) -> None:
        self.shape = shape


class _Weight:
    path, shape, dtype = "fake/weight", (1,), "float32"

    def __init__(self, value: float) -> None:
        self._value = np.array([value], np.float32)

    def numpy(self) -> Any:
        return self._value

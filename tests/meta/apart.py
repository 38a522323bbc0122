"""A model with another one inside, taken apart; runs where TensorFlow is."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.runtimes.keras_layers import Difference, Given, Layer, Layers


def _model() -> Any:
    import keras

    keras.utils.set_random_seed(3)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.Add(name="twice")([x, keras.layers.ReLU(name="relu")(x)])
    backbone = keras.Model(image, x, name="backbone")
    pool = keras.layers.GlobalAveragePooling2D(name="pool")
    return keras.Sequential([keras.Input((8, 8, 3)), backbone, pool, keras.layers.Dense(3, name="scores")])


def _images() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (4, 8, 8, 3)).astype(np.float32)


def outline() -> tuple[tuple[Layer, ...], list[str], bool]:
    """Its layers, its outputs, and whether they compute what the model does."""
    model, images = _model(), _images()
    apart = Layers(model)
    values = dict(apart._values([images]))
    answer = model(images, training=False)
    return apart.all, apart.outputs, bool(np.allclose(values[apart.outputs[0]], answer, atol=1e-6))


def spoiled(layer: str) -> dict[str, Difference]:
    """Every answer as an artifact would give it in which one layer is wrong by a tenth."""
    apart, images = Layers(_model()), _images()
    given: list[Given] = []
    values = dict(zip(apart.inputs, [images], strict=True))
    from suite.runtimes import keras_layers

    for step in apart._steps:
        tensors = {name: keras_layers._tensor(value) for name, value in values.items()}
        for name, value in zip(step.outputs, keras_layers._run(step, tensors), strict=True):
            values[name] = np.asarray(value) * (1.1 if name == layer else 1.0)
            given.append(Given(layer=name, values=values[name].astype(np.float32)))
    found = apart.compare([images], given)
    return {one.layer: difference for one, difference in zip(given, found, strict=True)}


def matched() -> dict[int, str]:
    """What tensors are recognised as: two of its own, one that is none, one with noise of -20 dB."""
    apart, images = Layers(_model()), _images()
    values = {name: np.asarray(value) for name, value in apart._values([images])}
    noise = np.random.default_rng(1).normal(0, 1, values["backbone/bn"].shape)
    own = values["backbone/bn"]
    tensors = {
        0: values["backbone/twice"],
        1: values["scores"] * 1.0001,
        2: own[..., ::-1],
        3: own + 0.1 * own.std() * noise,
    }
    return apart.match([images], tensors)

"""Small nets in Core ML, converted once a session from fixtures as a user would write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from suite.cache import Cache
from suite.converters import artifact as artifacts
from suite.discovery import load_fixture
from suite.feeds import Feeds
from suite.floor import Floors
from suite.original import Original
from suite.record import Artifact, Stage
from suite.runtimes import Pool
from suite.spec import VARIANTS
from tests.meta.coreml.ops.asking import Ask

# A photo in, ten scores out; every kind of layer that the ten bundled models start with.
PHOTO = """
from suite.spec import ImageInput, ModelSpec
from suite.data import digits

def build(weights):
    import keras
    from keras import layers
    keras.utils.set_random_seed(3)
    image = keras.Input((20, 24, 3))
    x = layers.ZeroPadding2D(1)(image)
    x = layers.Conv2D(16, 3, strides=2, use_bias=False)(x)
    x = layers.BatchNormalization(
        beta_initializer=keras.initializers.RandomNormal(3.0, 3.0)  # so that some values pass six
    )(x)
    x = layers.ReLU(6.0)(x)
    x = layers.Conv2D(32, 3, strides=2, padding="same", bias_initializer="random_normal")(x)
    x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, bias_initializer="random_normal")(x))

SPEC = ModelSpec(
    build=build, input=ImageInput(height=20, width=24, preprocessing="{mode}"), dataset=digits.load
)
"""

# What keeps ConvNeXt from converting: a grouped convolution that Keras compiles by XLA, and exact GELU.
CONVNEXT = """
from suite.spec import ImageInput, ModelSpec

def build(weights):
    import keras
    from keras import layers
    keras.utils.set_random_seed(4)
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 4, strides=4)(image)
    y = layers.Conv2D(16, 7, padding="same", groups=16, kernel_initializer="he_normal")(x)
    y = layers.LayerNormalization(epsilon=1e-6)(y)
    y = layers.Dense(64, activation="gelu", kernel_initializer="he_normal")(y)
    x = layers.Add()([x, layers.Dense(16)(y)])
    x = layers.LayerNormalization(epsilon=1e-6)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(7)(x))

SPEC = ModelSpec(build=build, input=ImageInput(height=32, width=32, preprocessing="tf"))
"""


@dataclass(frozen=True)
class Fixture:
    """A model from the text of a fixture, with its Core ML artifacts."""

    original: Original
    feeds: Feeds
    cache: Cache
    floors: Floors

    def convert(self, variant: str, **options: str) -> tuple[Path, Artifact]:
        return artifacts.artifact(self.original, VARIANTS[variant], self.feeds, self.cache, **options)


@pytest.fixture(scope="session")
def fixture_model(
    shared_cache: Cache, tensorflow: Pool, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Fixture]:
    def make(name: str, text: str) -> Fixture:
        path = tmp_path_factory.mktemp("fixtures") / f"{name}.py"
        path.write_text(text)
        original = Original(load_fixture(path), "offline", shared_cache, tensorflow)
        scratch = tmp_path_factory.mktemp("scratch")
        feeds = Feeds(original.spec, original.card.inputs, scratch=scratch)
        floors = Floors(original, feeds, shared_cache, tensorflow, scratch, 1)
        return Fixture(original, feeds, shared_cache, floors)

    return make


@pytest.fixture(scope="session")
def photo(fixture_model: Callable[[str, str], Fixture]) -> Callable[[str], Fixture]:
    """The photo model by the name of its preprocessing."""
    made: dict[str, Fixture] = {}

    def get(mode: str) -> Fixture:
        if mode not in made:
            made[mode] = fixture_model(f"photo_{mode}", PHOTO.replace("{mode}", mode))
        return made[mode]

    return get


@pytest.fixture(scope="session")
def tf(tensorflow: Pool) -> Ask:
    """`tf("nn.relu", [array], {option: value})`."""

    def ask(function: str, arrays: list[Any], options: dict[str, Any] | None = None) -> Any:
        worker = tensorflow.worker("operators")  # not the one that holds models
        return worker.call(
            "tests.meta.coreml.reference:tf_call",
            function,
            arrays,
            options or {},
            stage=Stage.RUN,
            timeout=120,
        )

    return ask


@pytest.fixture(scope="session")
def keras(tensorflow: Pool) -> Ask:
    """`keras("LSTM", {option: value}, array)` -> answer, weights."""

    def ask(name: str, options: dict[str, Any], x: Any, weights: list[Any] | None = None) -> Any:
        worker = tensorflow.worker("operators")  # not the one that holds models
        return worker.call(
            "tests.meta.coreml.reference:keras_layer", name, options, x, weights, stage=Stage.RUN, timeout=120
        )

    return ask

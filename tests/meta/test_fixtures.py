"""The shipped models: cheap to read, well-formed, and with weights that carry signal."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fixtures
from fixtures.recipes import WEIGHTS, conditioning, solved, storage
from fixtures.recipes.models import application, build
from fixtures.recipes.networks import squeezenet
from fixtures.recipes.train import RECIPES
from suite.cache import Cache
from suite.data import digits
from suite.errors import CaseError, UsageError
from suite.gates import check_accuracy
from suite.preprocess import preprocess
from suite.record import Check, Status
from suite.spec import PREPROCESSING, VARIANTS, ImageInput, ModelSpec
from tests.meta import records

FOLDER = Path(fixtures.__file__).parent
NAMES = sorted(file.stem for file in FOLDER.glob("*.py") if not file.stem.startswith("_"))
TRAINED = ("digits_cnn", "mobilenet_v2", "squeezenet")
SIX = ("densenet121", "digits_cnn", "inception_v3", "mobilenet_v1", "resnet50", "squeezenet")


def spec_of(name: str) -> ModelSpec:
    spec = importlib.import_module(f"fixtures.{name}").SPEC
    assert isinstance(spec, ModelSpec)
    return spec


# --- reading them ---------------------------------------------------------------

_READ_ALL = """
import importlib, json, sys, time
import numpy, suite.spec
start = time.process_time()
for name in sys.argv[1:]:
    importlib.import_module("fixtures." + name)
print(json.dumps({"seconds": time.process_time() - start, "modules": sorted(sys.modules)}))
"""


def test_reading_all_fixtures_is_cheap_and_loads_no_heavy_library() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _READ_ALL, *NAMES],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    seen = json.loads(done.stdout)
    assert not {"tensorflow", "keras", "sklearn", "PIL"} & set(seen["modules"])
    assert seen["seconds"] < 0.3


def test_there_are_ten_in_their_profiles() -> None:
    specs = {name: spec_of(name) for name in NAMES}
    assert len(specs) == 10
    assert tuple(name for name in NAMES if "default" in specs[name].profiles) == SIX
    assert tuple(name for name in NAMES if "smoke" in specs[name].profiles) == TRAINED
    assert all("full" in spec.profiles for spec in specs.values())


@pytest.mark.parametrize("name", NAMES)
def test_spec_is_well_formed(name: str) -> None:
    spec = spec_of(name)
    assert callable(spec.build)
    assert isinstance(spec.input, ImageInput)
    assert spec.input.preprocessing in PREPROCESSING
    assert spec.dataset is not None
    assert spec.dataset() in (digits.load(), digits.half())
    assert spec.weights == ("trained" if name in TRAINED else "conditioned")
    assert all(file.is_file() for file in spec.files)
    assert set(spec.tolerances) <= set(VARIANTS)
    assert all(len(tolerance.reason) > 20 for tolerance in spec.tolerances.values())
    for failure in spec.expected_failures:
        assert failure.variant in VARIANTS
        assert failure.check in {*Check, "*"}
        assert len(failure.reason) > 20


@pytest.mark.parametrize("name", NAMES)
def test_what_a_bundled_net_loses_by_design_has_an_end(name: str) -> None:
    """A stated loss of accuracy is a budget: labels out of order exceed it, and would be one more failure."""
    spec = spec_of(name)
    assert not [known for known in spec.expected_failures if known.check in (Check.ACCURACY, Check.PARITY)]
    for budget in spec.budgets.values():
        assert len(budget.reason) > 20
        count = len(spec.dataset().evaluation())  # type: ignore[misc]
        limit = budget.max_accuracy_drop
        assert limit is not None
        assert check_accuracy(records.accuracy(0.97, int(limit * count), n=count), budget) == []
        assert check_accuracy(records.accuracy(0.97, int(0.8 * count), n=count), budget)
        assert limit < 0.07


@pytest.mark.parametrize(
    ("name", "mode", "size"),
    [
        ("mobilenet_v1", "tf", 224),
        ("inception_v3", "tf", 299),
        ("resnet50", "caffe", 224),
        ("densenet121", "torch", 224),
        ("squeezenet", "caffe", 224),
        ("nasnet_mobile", "tf", 224),
        ("mobilenet_v3_small", "none", 224),
        ("efficientnet_v2_b0", "none", 224),
    ],
)
def test_input_contract_is_that_of_the_published_model(name: str, mode: str, size: int) -> None:
    contract = spec_of(name).input
    assert isinstance(contract, ImageInput)
    assert contract.mode.name == mode
    assert contract.shape == (size, size, 3)


# --- weights that ship ----------------------------------------------------------


def test_weights_that_ship_are_small_and_all_in_use() -> None:
    files = [file for file in WEIGHTS.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 3_000_000
    assert set(files) == {file for name in NAMES for file in spec_of(name).files}
    assert sorted(RECIPES) == sorted(TRAINED)


class _Weights:
    """What storage needs of a keras.Model."""

    def __init__(self, *weights: np.ndarray) -> None:
        self.weights = list(weights)

    def get_weights(self) -> list[np.ndarray]:
        return self.weights

    def set_weights(self, weights: list[np.ndarray]) -> None:
        self.weights = weights


def test_stored_weights_come_back_close_and_not_as_float16(tmp_path: Path) -> None:
    generator = np.random.RandomState(0)
    kernel = (generator.standard_normal((3, 3, 8, 16)) * np.logspace(-6, 3, 16)).astype(np.float32)
    kernel[..., 3] = 0
    bias = generator.standard_normal(16).astype(np.float32)
    storage.save(_Weights(kernel, bias), tmp_path / "weights.npz")
    read = _Weights()
    storage.load(read, tmp_path / "weights.npz")
    step = np.abs(kernel).max((0, 1, 2)) / 32767
    assert (np.abs(read.weights[0] - kernel) <= step * 0.51).all()
    np.testing.assert_array_equal(read.weights[1], bias)
    halved = read.weights[0].astype(np.float16).astype(np.float32)
    assert (halved != read.weights[0]).mean() > 0.7


@pytest.mark.parametrize("name", TRAINED)
def test_trained_weights_are_not_float16(name: str) -> None:
    """Otherwise the float16 variant would be equal to the original by construction."""
    (file,) = spec_of(name).files
    with np.load(file) as content:
        count = sum(not key.endswith("_scale") for key in content.files)
        kernels = [storage.weight(content, f"{index}") for index in range(count)]
    values = np.concatenate([kernel.ravel() for kernel in kernels if kernel.ndim > 1])
    assert (values.astype(np.float16).astype(np.float32) != values).mean() > 0.7


def test_digits_cnn_offline_reads_digits() -> None:
    spec = spec_of("digits_cnn")
    assert spec.build is not None
    assert isinstance(spec.input, ImageInput)
    samples = digits.load().evaluation()
    scores = spec.build("offline").predict(preprocess(samples.images, spec.input), verbose=0)
    assert (scores.argmax(-1) == samples.labels).mean() >= 0.95
    assert scores.min() < 0  # logits, not probabilities


# --- what --weights means -------------------------------------------------------


def _never(*_: object, **__: object) -> None:
    raise AssertionError("built nevertheless")


INPUT = ImageInput(height=8, width=8)


def test_unknown_weights_are_refused() -> None:
    with pytest.raises(
        UsageError, match="'imagnet' is not understood: give offline, imagenet or imagenet:DIR"
    ):
        build(_never, INPUT, "imagnet")


def test_network_without_published_weights_is_skipped_with_a_remedy() -> None:
    for name in ("digits_cnn", "squeezenet"):
        build_it = spec_of(name).build
        assert build_it is not None
        with pytest.raises(
            CaseError, match=r"no ImageNet weights are published .* --weights offline"
        ) as error:
            build_it("imagenet")
        assert error.value.status is Status.SKIPPED


def test_missing_file_of_published_weights_is_named(tmp_path: Path) -> None:
    build_it = spec_of("mobilenet_v1").build
    assert build_it is not None
    with pytest.raises(
        CaseError, match=r"mobilenet_1_0_224_tf\.h5: put the weights .* --weights imagenet"
    ) as error:
        build_it(f"imagenet:{tmp_path}")
    assert error.value.status is Status.ERROR


def test_failed_download_is_explained() -> None:
    def network(*_: object, **__: object) -> None:
        raise Exception("URL fetch failure")

    with pytest.raises(CaseError, match=r"x\.h5 could not be had \(URL fetch failure\): .* imagenet:DIR"):
        build(network, INPUT, "imagenet", published="x.h5")


def test_published_weights_are_read_from_a_folder(tmp_path: Path) -> None:
    """With a file that this test writes under the name that Keras publishes."""
    network = partial(application, "MobileNetV2", alpha=0.35)
    contract = ImageInput(height=32, width=32, preprocessing="tf")
    original = network(contract.shape, 1000)
    original.save_weights(tmp_path / "published.weights.h5")
    model = build(network, contract, f"imagenet:{tmp_path}", published="published.weights.h5")
    assert model.output_shape == (None, 1000)
    for ours, theirs in zip(model.get_weights(), original.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_squeezenet_is_version_1_1() -> None:
    """1 235 496 parameters with 1000 classes, and 13 x 13 features at 224 px, as published."""
    model = squeezenet((224, 224, 3), 1000)
    assert model.count_params() == 1_235_496
    assert model.get_layer("fire9_concat").output.shape == (None, 13, 13, 512)


# --- conditioning -----------------------------------------------------------------


def _tiny(shape: tuple[int, int, int], classes: int) -> Any:
    """Every kind of layer that conditioning treats in its own way, some without a name."""
    from keras import Input, Model, layers

    image = Input(shape)
    x = layers.Conv2D(12, 3, strides=2, use_bias=False)(image)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.ReLU()(x)
    x = layers.SeparableConv2D(24, 3, strides=2)(x)
    x = layers.BatchNormalization(center=False)(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Flatten()(x)
    return Model(image, layers.Dense(classes)(x))


TINY = ImageInput(height=24, width=24, preprocessing="tf")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Cache]:
    def cache() -> Cache:
        return Cache(tmp_path)

    monkeypatch.setattr(conditioning, "default_cache", cache)
    return cache


@pytest.mark.usefixtures("own_cache")
def test_conditioned_weights_carry_signal_and_come_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(_tiny, TINY, "offline")
    samples = digits.load().evaluation()
    scores = model.predict(preprocess(samples.images, TINY), verbose=0)
    assert (scores.argmax(-1) == samples.labels).mean() > 0.7
    assert 0.3 < scores.std() < 3

    monkeypatch.setattr(conditioning, "condition", _never)
    again = build(_tiny, TINY, "offline")  # its layers have other names
    assert [layer.name for layer in again.layers] != [layer.name for layer in model.layers]
    for ours, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_conditioning_does_not_depend_on_names() -> None:
    first, second = _tiny(TINY.shape, 10), _tiny(TINY.shape, 10)
    for model in (first, second):
        conditioning.condition(model, TINY, digits.load(), conditioning.Conditions())
    for ours, theirs in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_what_photos_decided_comes_back_from_its_file(tmp_path: Path) -> None:
    model, again = _tiny(TINY.shape, 10), _tiny(TINY.shape, 10)
    conditions = conditioning.Conditions(centred=True)
    conditioning.condition(model, TINY, digits.load(), conditions)
    solved.save(model, tmp_path / "solved.npz")
    solved.load(again, conditions, tmp_path / "solved.npz")
    for ours, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())
    samples = digits.load().evaluation()
    scores = again.predict(preprocess(samples.images, TINY), verbose=0)
    assert (scores.argmax(-1) == samples.labels).mean() > 0.7


def _variances(model: Any) -> list[Any]:
    return [layer.moving_variance.numpy() for layer in conditioning.normalisations_of(model)]


def test_the_file_that_ships_is_what_the_recipe_gives() -> None:
    """Where it begins, of the lightest net: a change of the recipe has to solve all files anew."""
    from keras import Model

    fixture = importlib.import_module("fixtures.mobilenet_v1")
    shipped, measured = (fixture.NETWORK(fixture.INPUT.shape, 10) for _ in range(2))
    solved.load(shipped, fixture.CONDITIONS, fixture.WEIGHTS_FILE)
    conditioning.initialise(measured, fixture.CONDITIONS)
    start = Model(measured.input, conditioning.normalisations_of(measured)[4].output)
    photos = digits.load().train().images[: conditioning.STATISTICS_PHOTOS]
    conditioning.set_statistics(start, preprocess(photos, fixture.INPUT))
    found = _variances(start)
    assert len(found) == 5
    for ours, theirs in zip(_variances(shipped)[:5], found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0.1)
        assert not np.allclose(ours[::-1], theirs, rtol=0.1)  # not so for any values


def test_another_architecture_is_another_cache_key() -> None:
    keys = [conditioning._architecture(_tiny(shape, 10)) for shape in (TINY.shape, TINY.shape, (28, 28, 3))]
    assert keys[0] == keys[1] != keys[2]

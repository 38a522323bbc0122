"""What a user brings along, from end to end: artifacts, saved models, published weights, photos."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fixtures import digits_cnn
from suite.data import digits
from suite.preprocess import preprocess
from suite.record import Check, Status
from tests.meta import impatient
from tests.meta.product import QUICK, ROOT, SMALL, Product, fixture, no_traceback


@pytest.fixture(scope="session")
def artifact(product_cache, tmp_path_factory):
    """A good artifact of the bundled small model; its reference answers are cached on the way."""
    product = Product(product_cache, tmp_path_factory.mktemp("artifact"))
    (record,) = product.run(*SMALL, "-m", "parity", "--variants", "float32").records.values()
    return product.cache / record.artifact.path


def test_an_artifact_made_elsewhere_is_held_to_its_model(product, artifact):
    path = product.folder / "theirs.tflite"
    path.write_bytes(artifact.read_bytes())
    run = product.run("--models", "digits_cnn", f"--artifact={path}", "-m", "not benchmark")
    assert run.status == 0, run.text
    (record,) = run.records.values()
    assert record.variant == "float32"
    assert record.artifact.origin == "given"


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: b"not a model at all", "is no TFLite file"),
        (lambda data: b"", "is no TFLite file"),
        (lambda data: data[:20_000] + bytes(len(data) - 40_000) + data[-20_000:], ""),
    ],
    ids=["truncated", "other bytes", "empty", "zeroed"],
)
def test_a_damaged_artifact_fails_with_its_reason(product, artifact, damage, expected):
    path = product.folder / "damaged.tflite"
    path.write_bytes(damage(artifact.read_bytes()))
    run = product.run(
        "--models", "digits_cnn", f"--artifact={path}", "--variants", "float32", "-m", "not benchmark"
    )
    assert run.status == 1
    no_traceback(run.text)
    (record,) = run.records.values()
    assert record.status in (Status.FAILED, Status.CRASHED)
    assert expected in record.message


def test_an_artifact_of_another_model_fails(product, artifact):
    folder = product.fixtures(other=fixture(classes=7))
    run = product.run(
        f"--fixtures-dir={folder}", "--models", "other", f"--artifact={artifact}", "-m", "parity"
    )
    assert run.status == 1
    (record,) = run.records.values()
    assert record.status is Status.FAILED
    assert record.message
    no_traceback(run.text)


def test_an_artifact_that_leaves_height_and_width_free_runs_at_the_models(product, saved):
    run = product.run(
        f"--model-file={saved / 'pooled.keras'}", f"--artifact={saved / 'free.tflite'}", "--input-range=0,1"
    )
    assert run.status == 0, run.text
    (record,) = run.records.values()
    assert record.parity.real.sqnr_db > 80
    assert record.latency.load_ns > 0
    assert record.realtime is not None


def test_a_hang_is_waited_for_once(product, saved):
    log = product.folder / "opened.txt"
    given = f"--model-file={saved / 'classifier.keras'}", "--input-range=0,1", "-m", "parity or benchmark"
    patience = "-p", "tests.meta.impatient"
    run = product.run(
        *given, f"--artifact={saved / 'endless.tflite'}", *patience, **{impatient.OPENED: str(log)}
    )
    assert run.status == 1
    no_traceback(run.text)
    (record,) = run.records.values()
    assert record.checks.keys() == {Check.PARITY, Check.BENCHMARK}
    assert {result.status for result in record.checks.values()} == {Status.CRASHED}
    (message,) = {result.message for result in record.checks.values()}
    assert "did not answer within 8 s" in message
    assert log.read_text().splitlines() == ["endless.tflite"], "benchmarks do not wait again"


MAKE_MODEL = """
import sys, keras, numpy as np

keras.utils.set_random_seed(0)
layers = [keras.Input((12, 12, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(5)]
model = keras.Sequential(layers)
model.save(sys.argv[1])
images = np.random.default_rng(0).uniform(0, 1, (96, 12, 12, 3)).astype(np.float32)
np.savez(sys.argv[2], images=images, labels=model.predict(images, verbose=0).argmax(axis=1))
"""


def test_a_model_file_needs_no_fixture(product):
    path, labelled = product.folder / "mine.keras", product.folder / "mine.npz"
    script = [sys.executable, "-c", MAKE_MODEL, str(path), str(labelled)]
    environment = product.environment(TF_CPP_MIN_LOG_LEVEL="3")
    subprocess.run(script, env=environment, check=True, capture_output=True)
    run = product.run(f"--model-file={path}", *QUICK)
    assert run.status == 0, run.text
    (record,) = run.records.values()
    assert record.model == "mine"
    assert record.checks[Check.ACCURACY].status is Status.SKIPPED
    assert "--dataset" in record.checks[Check.ACCURACY].message
    assert any("input range is assumed" in note for note in record.notes)
    again = product.run(f"--model-file={path}", f"--dataset={labelled}", *QUICK)
    assert again.status == 0, again.text
    assert next(iter(again.records.values())).accuracy.reference_top1 == 1.0

    path.write_bytes(path.read_bytes()[:1000])
    damaged = product.run(f"--model-file={path}", *QUICK)
    assert damaged.status == 1
    assert "cannot load mine.keras" in damaged.text
    no_traceback(damaged.text)


# The bundled small model with a data set of one's own.
LABELLED = """
from dataclasses import replace
from fixtures.digits_cnn import SPEC as DIGITS
from suite.data import open_dataset

SPEC = replace(DIGITS, dataset=lambda: open_dataset({dataset!r}))
"""


def _digits(folder, name, shift=0, **more):
    """Held-out digits as the model takes them, without names unless `more` gives some."""
    samples = digits.load().evaluation()
    images = preprocess(samples.images, digits_cnn.INPUT)
    np.savez(folder / f"{name}.npz", images=images, labels=samples.labels + shift, **more)
    return LABELLED.format(dataset=str(folder / f"{name}.npz"))


def _listed(folder):
    """Photos of them in a folder, with a file of labels."""
    samples, photos = digits.load().evaluation(), folder / "listed"
    photos.mkdir()
    for number, photo in enumerate(samples.images[:120]):
        Image.fromarray(photo).save(photos / f"{number}.png")
    lines = [f"{number}.png {label}" for number, label in enumerate(samples.labels[:120])]
    (photos / "labels.txt").write_text("\n".join(lines))
    return LABELLED.format(dataset=f"imagenet:{photos}")


def test_labels_of_a_fixtures_own_data_set_reach_the_gate_or_fail(product):
    folder = product.fixtures(
        unnamed=_digits(product.folder, "unnamed"),
        listed=_listed(product.folder),
        shifted=_digits(product.folder, "shifted", shift=1),
        background=_digits(product.folder, "background", classes=["background", *digits.CLASSES]),
    )
    run = product.run(
        f"--fixtures-dir={folder}", "--models=*", "--variants=float32", "--profile=smoke", "-m", "accuracy"
    )
    assert run.status == 1, run.text
    no_traceback(run.text)
    found = {record.model: record for record in run.records.values()}
    for name, most in (("unnamed", 180), ("listed", 96)):
        assert found[name].status is Status.PASSED
        assert found[name].accuracy.n == most
        assert found[name].accuracy.reference_top1 >= 0.9
    assert found["shifted"].status is found["background"].status is Status.FAILED
    assert "run from 1 to 10, the model answers 10 classes" in found["shifted"].message
    assert "names 11 classes, the model answers 10 scores" in found["background"].message


PUBLISH = """
import sys, h5py, numpy as np
from pathlib import Path
from keras import applications
from keras.src.legacy.saving import legacy_h5_format
from PIL import Image
from fixtures.recipes import conditioning

weights, photos = map(Path, sys.argv[1:])
model = applications.MobileNetV2(
    input_shape=(96, 96, 3), alpha=0.35, weights=None, classifier_activation=None
)
conditioning.initialise(model, conditioning.Conditions())
conditioning.set_statistics(model, np.random.default_rng(0).uniform(-1, 1, (8, 96, 96, 3)).astype(np.float32))
with h5py.File(weights, "w") as file:
    legacy_h5_format.save_weights_to_hdf5_group(file, model)

# Photos labelled with the model's own answers, prepared here as its authors say.
random, names, images = np.random.default_rng(1), [], []
for number in range(80):
    photo = Image.fromarray(random.integers(0, 256, (96, 96, 3), dtype=np.uint8))
    photo.save(photos / f"{number}.png")
    names.append(f"{number}.png")
    images.append(np.asarray(photo, np.float32) / 127.5 - 1)
answers = model.predict(np.stack(images), verbose=0).argmax(axis=1)
lines = [f"{name} {answer}" for name, answer in zip(names, answers)]
(photos / "labels.txt").write_text(chr(10).join(lines))
"""


def test_published_weights_and_a_folder_of_photos(product):
    """The weights are made here, in the published form and under the published name."""
    weights, photos = product.folder / "weights", product.folder / "photos"
    weights.mkdir()
    photos.mkdir()
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96.h5"
    environment = product.environment(TF_CPP_MIN_LOG_LEVEL="3", PYTHONPATH=str(ROOT))
    script = [sys.executable, "-c", PUBLISH, str(weights / name), str(photos)]
    subprocess.run(script, env=environment, check=True, capture_output=True)
    chosen = ("--models=mobilenet_v2", f"--weights=imagenet:{weights}", *QUICK)
    run = product.run(*chosen, f"--dataset=imagenet:{photos}")
    assert run.status == 0, run.text
    (record,) = run.records.values()
    assert record.accuracy.dataset == "photos"
    assert record.accuracy.n >= 60
    assert record.accuracy.reference_top1 == 1.0, "photos reach the model as its authors prepare them"
    assert record.parity.real.n == record.accuracy.n

    lines = (photos / "labels.txt").read_text().splitlines()
    shifted = [f"{file} {(int(label) + 1) % 1000}" for file, label in map(str.split, lines)]
    (photos / "labels.txt").write_text("\n".join(shifted))
    off_by_one = product.run(*chosen, f"--dataset=imagenet:{photos}", "-m", "accuracy")
    assert off_by_one.status == 1
    assert "off by one?" in off_by_one.text

    (record,) = product.run(*chosen, "-m", "accuracy").records.values()
    assert record.checks[Check.ACCURACY].status is Status.SKIPPED, "digits are no classes of ImageNet"

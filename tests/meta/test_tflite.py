"""Conversion: each variant is what it says it is, near its original, and a refusal gives the reason."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from suite import metrics
from suite.cache import Cache
from suite.converters.artifact import artifact
from suite.errors import CaseError
from suite.feeds import Feeds
from suite.original import Original
from suite.record import Stage, Status
from suite.runtimes import Pool, open_session
from suite.spec import TFLITE, VARIANTS, ModelSpec
from tests.meta.conftest import Subject


def answers(tensorflow: Pool, path: Path, images: np.ndarray) -> np.ndarray:
    worker = tensorflow.worker("LiteRT")
    with open_session("litert-xnnpack", path, threads=1, worker=worker) as session:
        (found,) = session.run_many({"input": images}).values()
    return found


# Variant: the least and the most SQNR, so that no variant is another under a wrong name.
NEAR_DB = {
    "float32": (100, 201),
    "float16": (50, 90),
    "dynamic_int8": (25, 70),
    "int8": (20, 60),
    "int8_io": (20, 60),
    "int16x8": (25, 70),
}


@pytest.mark.parametrize("variant", TFLITE)
def test_each_variant_is_near_the_original_and_no_nearer_than_its_precision(
    classifier: Subject, tensorflow: Pool, images: np.ndarray, expected: np.ndarray, variant: str
) -> None:
    low, high = NEAR_DB[variant]
    signal = metrics.sqnr_db(expected, answers(tensorflow, classifier.artifact(variant), images))
    assert low <= signal <= high


def test_a_smaller_type_is_a_smaller_file(classifier: Subject) -> None:
    size = {variant: classifier.artifact(variant).stat().st_size for variant in TFLITE}
    parameters = classifier.original.card.parameters
    assert 4 * parameters < size["float32"] < 4 * parameters + 10_000
    assert size["float16"] < 0.75 * size["float32"]
    assert max(size[name] for name in ("dynamic_int8", "int8", "int8_io", "int16x8")) < size["float16"]


def test_the_frozen_export_gives_what_the_documented_way_gives(
    classifier: Subject, tensorflow: Pool, saved: Path, images: np.ndarray
) -> None:
    from suite.converters.inspection import inspect

    ours, theirs = classifier.artifact("float32"), saved / "plain.tflite"
    assert inspect(ours).ops == inspect(theirs).ops
    np.testing.assert_allclose(
        answers(tensorflow, ours, images), answers(tensorflow, theirs, images), atol=1e-6
    )


# --- what cannot be converted -----------------------------------------------------------------

UNCONVERTIBLE = """
from suite.spec import ModelSpec

def build(weights):
    import keras
    import tensorflow as tf

    class Singular(keras.layers.Layer):
        def call(self, x):
            return {call}

    image = keras.Input((4, 4), name="image")
    return keras.Model(image, keras.layers.Dense(3)(Singular()(image)))

SPEC = ModelSpec(build=build)
"""


@pytest.fixture
def fixture_model(tmp_path: Path, tensorflow: Pool, cache: Cache) -> Callable[[str, str], Subject]:
    """A model from the text of a fixture."""

    def make(name: str, text: str) -> Subject:
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        spec = ModelSpec(name=name, path=path)
        original = Original(spec, "offline", cache, tensorflow)
        return Subject(original, Feeds(spec, original.card.inputs, scratch=tmp_path), cache)

    return make


def test_an_op_that_the_format_lacks_is_a_failed_case_with_the_converters_reason(
    fixture_model: Callable[[str, str], Subject],
) -> None:
    subject = fixture_model("with_svd", UNCONVERTIBLE.replace("{call}", "tf.linalg.svd(x, compute_uv=False)"))
    with pytest.raises(CaseError, match=r"the TFLite converter refused float32: .*Svd") as caught:
        subject.artifact("float32")
    assert (caught.value.stage, caught.value.status) == (Stage.CONVERT, Status.FAILED)
    assert not list((subject.cache.root / "artifact").glob("*/"))
    # The same model without that op converts.
    plain = fixture_model("without", UNCONVERTIBLE.replace("{call}", "tf.nn.relu(x[:, 0])"))
    assert plain.artifact("float32").exists()


WITH_A_GRADIENT_OF_ITS_OWN = """
from suite.spec import ModelSpec

def build(weights):
    import keras
    image = keras.Input((4, 4), name="image")
    return keras.Model(image, keras.layers.Dense(3, activation="swish")(image))

SPEC = ModelSpec(build=build)
"""


def test_swish_whose_gradient_holds_on_to_the_graph_is_exported(
    fixture_model: Callable[[str, str], Subject],
) -> None:
    subject = fixture_model("swish", WITH_A_GRADIENT_OF_ITS_OWN)
    feed = subject.feeds.evaluation()
    (reference,) = subject.original.answers(feed).values()
    with open_session("litert-xnnpack", subject.artifact("float32"), threads=1) as session:
        (actual,) = session.run_many(feed.arrays).values()
    np.testing.assert_allclose(actual, reference, atol=1e-5)


def test_calibrating_on_nothing_is_refused(tensorflow: Pool, tmp_path: Path) -> None:
    worker = tensorflow.worker("TensorFlow", "suite.runtimes.workshop:Workshop")
    with pytest.raises(CaseError, match="int8 needs calibration samples, found none"):
        worker.call(
            "suite.converters.tflite:convert",
            tmp_path,
            "int8",
            None,
            tmp_path / "m.tflite",
            stage=Stage.CONVERT,
            timeout=60,
        )


# --- the artifact and its cache ------------------------------------------------------------------


def test_the_second_time_nothing_is_converted_and_no_worker_started(classifier: Subject, pool: Pool) -> None:
    path, facts = artifact(classifier.original, VARIANTS["int8"], classifier.feeds, classifier.cache)
    cold = Original(classifier.original.spec, "offline", classifier.cache, pool)
    again, same = artifact(cold, VARIANTS["int8"], classifier.feeds, classifier.cache)
    assert (again, same) == (path, facts)
    assert pool._workers == {}


def test_an_artifact_says_what_it_is(classifier: Subject) -> None:
    path, facts = artifact(classifier.original, VARIANTS["float16"], classifier.feeds, classifier.cache)
    assert path == classifier.cache.root / facts.path
    assert facts.size_bytes == path.stat().st_size
    assert len(facts.sha256) == 64
    assert facts.versions.keys() == {"tensorflow", "keras"}
    assert facts.minimum_runtime is not None
    assert facts.convert_seconds is not None
    assert facts.convert_seconds > 0
    assert facts.parameters == classifier.original.card.parameters


def test_another_calibration_is_another_artifact(
    classifier: Subject, tmp_path: Path, images: np.ndarray
) -> None:
    from suite.feeds import Feed

    feeds = Feeds(classifier.original.spec, classifier.original.card.inputs, scratch=tmp_path)
    feeds.calibrate_with(Feed.of({"input": images * 0.01}))
    one = classifier.artifact("int8")
    other, _ = artifact(classifier.original, VARIANTS["int8"], feeds, classifier.cache)
    assert other != one
    assert other.read_bytes() != one.read_bytes()
    floats, _ = artifact(classifier.original, VARIANTS["float32"], feeds, classifier.cache)
    assert floats == classifier.artifact("float32")  # which needs no calibration


# --- several inputs and outputs --------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_several_inputs_and_outputs_keep_their_names_and_answers(
    two_headed: Subject, tensorflow: Pool, variant: str
) -> None:
    from suite import parity
    from suite.gates import check_parity
    from suite.thresholds import TOLERANCES

    card = two_headed.original.card
    assert {info.name: info.shape for info in card.inputs} == {"image": (-1, 8, 8, 3), "numbers": (-1, 4)}
    assert {info.name: info.shape for info in card.outputs} == {"scores": (-1, 5), "box": (-1, 3)}
    feeds = (two_headed.feeds.evaluation(), two_headed.feeds.generated())
    reference = tuple(two_headed.original.answers(feed) for feed in feeds)
    worker = tensorflow.worker("LiteRT")
    with open_session("litert-xnnpack", two_headed.artifact(variant), threads=1, worker=worker) as session:
        actual = tuple(session.run_many(feed.arrays) for feed in feeds)
    tolerance = TOLERANCES[variant]

    def findings(found: tuple[dict[str, np.ndarray], ...]) -> list[str]:
        quantised = VARIANTS[variant].quantised
        seen = parity.measure(reference, found, feeds[1].names, tolerance, quantised=quantised)
        return [finding.message for finding in check_parity(seen, tolerance)]

    assert [message for message in findings(actual) if "top-1" not in message] == []
    crossed = tuple({"scores": found["scores"], "box": found["box"][:, ::-1]} for found in actual)
    assert [message for message in findings(crossed) if "top-1" not in message]


# --- inspection -------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", TFLITE)
def test_a_variant_is_recognised_by_its_tensors(classifier: Subject, variant: str) -> None:
    from suite.converters.inspection import inspect

    seen = inspect(classifier.artifact(variant))
    assert seen.variant == variant
    assert seen.input_dtypes == (("int8",) if variant == "int8_io" else ("float32",))
    computed = {
        "float32": {"float32"},
        "float16": {"float32"},
        "dynamic_int8": {"float32 with int8 weights", "float32"},  # a small kernel is left as it is
        "int8": {"int8"},
        "int8_io": {"int8"},
        "int16x8": {"int16 with int8 weights"},
    }[variant]
    at = {
        precision
        for precision, counts in seen.ops.items()
        if counts.keys() & {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
    }
    assert at == computed


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no TFLite file"),
        (b"<html>not found</html>", "is no TFLite file"),
        (b"\x1c\0\0\0TFL3", "damaged TFLite file"),
        (b"\xff\xff\xff\x7fTFL3" + bytes(64), "damaged TFLite file"),
    ],
)
def test_what_is_no_tflite_file_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    from suite.converters.inspection import inspect

    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(CaseError, match=f"model.tflite .*{words}|model.tflite is a {words}"):
        inspect(path)


def test_a_damaged_file_is_read_or_refused(classifier: Subject, tmp_path: Path) -> None:
    from suite.converters.inspection import inspect

    good, path = classifier.artifact("int8").read_bytes(), tmp_path / "model.tflite"
    chance = random.Random(1)
    outcomes = []
    for _ in range(60):
        content = bytearray(good)
        content[chance.choice([chance.randrange(64), chance.randrange(len(good) - 4000, len(good))])] ^= 0xFF
        path.write_bytes(content)
        try:
            outcomes.append(inspect(path).variant in VARIANTS)
        except CaseError as error:
            outcomes.append("again" in str(error))
    assert all(outcomes)
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(CaseError, match="damaged"):
        inspect(path)

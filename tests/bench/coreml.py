"""How near the Core ML artifacts of the bundled models come: `python -m tests.bench.coreml [MODEL ...]`.

ML programs in float32 and neural networks against Keras: the largest
difference on scores scaled to unit deviation, and the cosine. ML programs in
float16: the SQNR, beside that of Keras' own float16 policy on the same samples.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from suite.cache import default_cache
from suite.discovery import BUNDLED, load_fixture
from suite.errors import PocketproofError
from suite.feeds import Feed
from suite.lab import Lab
from suite.matrix import Case
from suite.metrics import error_stats
from suite.record import ErrorStats, Stage
from suite.runtimes import open_session
from suite.spec import VARIANTS, Array, ModelSpec, Target
from suite.thresholds import Thresholds

SAMPLES = 32
MOST_SCALED_DIFF, FEWEST_COSINE, MOST_DB = 1e-4, 0.99999, 6.0
ENGINE = "coreml-evaluator"
COLUMNS = (
    *("model", "float32: scaled diff", "cosine", "network: scaled diff", "cosine"),
    *("float16: SQNR dB", "Keras' float16: SQNR dB", "difference"),
)


def main(_profile: str = "") -> bool:
    """Measure all ten; whether the bars hold."""
    return measure(())


def measure(arguments: Sequence[str]) -> bool:
    """Measure the models that are named, or all ten, and say whether the bars hold."""
    models = list(arguments) or sorted(
        file.stem for file in BUNDLED.glob("*.py") if not file.stem.startswith("_")
    )
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    lab, holds = Lab(default_cache(), Thresholds(), threads=1), True
    try:
        for model in models:
            words, good = _row(lab, load_fixture(BUNDLED / f"{model}.py"))
            holds &= good
            print(f"| {model} | {words} |", flush=True)
    finally:
        lab.close()
    bounds = f"{MOST_SCALED_DIFF:g}, cosine {FEWEST_COSINE}, {MOST_DB:g} dB below Keras' float16"
    print(f"{'holds' if holds else 'FAILS'}  bounds: {bounds}", flush=True)
    return holds


def _row(lab: Lab, spec: ModelSpec) -> tuple[str, bool]:
    try:
        wide = [_stats(lab, spec, variant) for variant in ("mlprogram_float32", "neuralnetwork")]
        narrow = _stats(lab, spec, "mlprogram_float16").sqnr_db
        keras = _keras_half(lab, spec).sqnr_db
    except PocketproofError as error:
        return f"{error} |" + " |" * 5, False
    words = [f"{one.max_scaled_diff:.1e} | {one.cosine_similarity:.8f}" for one in wide]
    holds = narrow >= keras - MOST_DB and all(
        one.max_scaled_diff <= MOST_SCALED_DIFF and one.cosine_similarity >= FEWEST_COSINE for one in wide
    )
    return f"{' | '.join(words)} | {narrow:.1f} | {keras:.1f} | {narrow - keras:+.1f}", holds


def _stats(lab: Lab, spec: ModelSpec, variant: str) -> ErrorStats:
    path, _ = lab.artifact(Case(spec, VARIANTS[variant], Target("host", ENGINE)))
    subject = lab.subject(spec)
    feed = subject.feeds.evaluation().first(SAMPLES)
    with open_session(ENGINE, path, threads=1, worker=lab.pool.worker("Core ML evaluator")) as session:
        found = session.run_many(subject.feeds.photos(feed).arrays)
    return _compared(subject.original.answers(feed), found)


def _keras_half(lab: Lab, spec: ModelSpec) -> ErrorStats:
    subject = lab.subject(spec)
    feed = subject.feeds.evaluation().first(SAMPLES)
    reference = subject.original.answers(feed)
    worker = lab.pool.worker("TensorFlow", "suite.runtimes.keras:Workshop")
    found = worker.call(
        "tests.bench.coreml:half", spec.path, dict(feed.arrays), stage=Stage.BUILD, timeout=900
    )
    return _compared(reference, {"output": found})


def _compared(reference: Mapping[str, Array], found: Mapping[str, Array]) -> ErrorStats:
    (expected,), (actual,) = reference.values(), found.values()
    return error_stats(expected, actual, scores=True)


def half(path: Path, arrays: Feed) -> Array:
    """Answers of a fixture's model under Keras' float16 policy; runs where TensorFlow is."""
    import keras

    from suite.runtimes.base import load_feed

    spec = load_fixture(path)
    assert spec.build is not None
    model = spec.build("offline")
    description = model.to_json().replace('"name": "float32"', '"name": "float16"')
    narrow = keras.models.model_from_json(description.replace('"dtype": "float32"', '"dtype": "float16"'))
    narrow.set_weights(model.get_weights())
    assert {str(weight.dtype) for weight in narrow.weights} == {"float16"}
    (images,) = load_feed(arrays).values()  # type: ignore[arg-type]
    answers = [
        narrow(np.asarray(images[i : i + 8], np.float16), training=False) for i in range(0, len(images), 8)
    ]
    return np.concatenate([np.asarray(one, np.float32) for one in answers])


if __name__ == "__main__":
    sys.exit(0 if measure(sys.argv[1:]) else 1)

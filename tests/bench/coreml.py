"""How near the Core ML artifacts of the bundled models come, by the evaluator.

ML programs in float32 and neural networks: the largest difference to Keras on
scores scaled to unit deviation, and the cosine. ML programs in float16: the
SQNR, beside that of Keras' own float16 policy on the same samples. Compressed
weights: whether the answers are those of what coremltools itself unpacks, to
the bit. Each figure is printed when it is known.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from suite.cache import default_cache
from suite.discovery import BUNDLED, load_fixture
from suite.errors import PocketproofError
from suite.feeds import Feed
from suite.lab import Lab
from suite.matrix import Case
from suite.metrics import error_stats
from suite.record import Stage
from suite.record.answers import ErrorStats
from suite.runtimes import open_session
from suite.spec import COREML, VARIANTS, Array, ModelSpec, Target
from suite.thresholds import Thresholds

SAMPLES = 16
HALF_SAMPLES, HALF_SAMPLES_OF_LARGE, LARGE_GMACS = 8, 2, 2.0  # TensorFlow's float16 takes seconds a picture
COMPRESSED_SAMPLES = 2
MOST_SCALED_DIFF, FEWEST_COSINE, MOST_DB = 1e-4, 0.99999, 6.0
ENGINE = "coreml-evaluator"
SECONDS = 1800.0


def main(_profile: str = "") -> bool:
    """Measure all ten in all variants; whether the bars hold."""
    return measure([], COREML)


def measure(names: list[str], variants: tuple[str, ...]) -> bool:
    """Measure the models that are named, or all, and say whether the bars hold."""
    models = names or sorted(file.stem for file in BUNDLED.glob("*.py") if not file.stem.startswith("_"))
    lab = Lab(default_cache(), Thresholds(), threads=1)
    try:
        held = [
            _line(lab, load_fixture(BUNDLED / f"{model}.py"), variant)
            for model in models
            for variant in variants
        ]
    finally:
        lab.close()
    print(f"{'holds' if all(held) else 'FAILS'}  {sum(held)} of {len(held)} Core ML artifacts", flush=True)
    return all(held)


def _line(lab: Lab, spec: ModelSpec, variant: str) -> bool:
    start = time.perf_counter()
    try:
        path, facts = lab.artifact(Case(spec, VARIANTS[variant], Target("host", ENGINE)))
        made = time.perf_counter()
        words, holds = _MEASURES[variant](lab, spec, path)
    except PocketproofError as error:
        print(f"FAILS  {spec.name} {variant}: {error}", flush=True)
        return False
    costs = f"{facts.size_bytes / 1e6:.1f} MB, {made - start:.0f} s + {time.perf_counter() - made:.0f} s"
    print(f"{'holds' if holds else 'FAILS'}  {spec.name} {variant}: {words} ({costs})", flush=True)
    return holds


def _float32(lab: Lab, spec: ModelSpec, path: Path) -> tuple[str, bool]:
    found = _stats(lab, spec, path)
    holds = found.max_scaled_diff <= MOST_SCALED_DIFF and found.cosine_similarity >= FEWEST_COSINE
    words = f"scaled difference {found.max_scaled_diff:.1e}, at most {MOST_SCALED_DIFF:g}; "
    return f"{words}cosine {found.cosine_similarity:.8f}, at least {FEWEST_COSINE}", holds


def _float16(lab: Lab, spec: ModelSpec, path: Path) -> tuple[str, bool]:
    count = HALF_SAMPLES if spec.gmacs < LARGE_GMACS else HALF_SAMPLES_OF_LARGE
    narrow, keras = _stats(lab, spec, path, count).sqnr_db, _keras_half(lab, spec, count).sqnr_db
    words = f"SQNR {narrow:.1f} dB, Keras' float16 {keras:.1f} dB: {narrow - keras:+.1f}"
    return f"{words}, at least {-MOST_DB:g}", narrow >= keras - MOST_DB


def _compressed(lab: Lab, spec: ModelSpec, path: Path) -> tuple[str, bool]:
    """The evaluator unpacks weights as coremltools does."""
    samples = lab.subject(spec).feeds.photos(_feed(lab, spec, COMPRESSED_SAMPLES)).arrays
    with tempfile.TemporaryDirectory(prefix="pocketproof-bench-") as folder:
        plain = Path(folder) / "plain.mlpackage"
        lab.pool.worker("TensorFlow", "suite.runtimes.workshop:Workshop").call(
            "tests.bench.coreml:decompress", path, plain, stage=Stage.CONVERT, timeout=SECONDS
        )
        packed, unpacked = (_run(lab, one, samples) for one in (path, plain))
    differ = sum(int((packed[name] != unpacked[name]).sum()) for name in packed)
    count = sum(one.size for one in packed.values())
    return f"{differ} of {count} answers differ from those of decompress_weights", differ == 0


_MEASURES: Mapping[str, Callable[[Lab, ModelSpec, Path], tuple[str, bool]]] = {
    "mlprogram_float32": _float32,
    "neuralnetwork": _float32,
    "mlprogram_float16": _float16,
    "mlprogram_int8_weights": _compressed,
    "mlprogram_palettized_6bit": _compressed,
}


def _feed(lab: Lab, spec: ModelSpec, count: int = SAMPLES) -> Feed:
    return lab.subject(spec).feeds.evaluation().first(count)


def _run(lab: Lab, path: Path, arrays: Mapping[str, Array | Path]) -> dict[str, Array]:
    with open_session(ENGINE, path, threads=1, worker=lab.pool.worker("Core ML evaluator")) as session:
        return session.run_many(arrays)


def _stats(lab: Lab, spec: ModelSpec, path: Path, count: int = SAMPLES) -> ErrorStats:
    feed = _feed(lab, spec, count)
    found = _run(lab, path, lab.subject(spec).feeds.photos(feed).arrays)
    return _compared(_reference(lab, spec), found)


def _keras_half(lab: Lab, spec: ModelSpec, count: int) -> ErrorStats:
    worker = lab.pool.worker("TensorFlow", "suite.runtimes.workshop:Workshop")
    arrays = dict(_feed(lab, spec, count).arrays)
    found = worker.call("tests.bench.coreml:half", spec.path, arrays, stage=Stage.BUILD, timeout=SECONDS)
    return _compared(_reference(lab, spec), {"output": found})


def _reference(lab: Lab, spec: ModelSpec) -> Mapping[str, Array]:
    """Of all samples, for those are in the cache."""
    return lab.subject(spec).original.answers(lab.subject(spec).feeds.evaluation())


def _compared(reference: Mapping[str, Array], found: Mapping[str, Array]) -> ErrorStats:
    (expected,), (actual,) = reference.values(), found.values()
    return error_stats(expected[: len(actual)], actual, scores=True)


# --- where TensorFlow and coremltools are ------------------------------------------------------


def decompress(path: Path, destination: Path) -> None:
    """Write the package with the weights that coremltools unpacks."""
    import coremltools as ct
    from coremltools.optimize.coreml import decompress_weights

    decompress_weights(ct.models.MLModel(str(path), skip_model_load=True)).save(str(destination))


def half(path: Path, arrays: Mapping[str, Array | Path]) -> Array:
    """Answers of a fixture's model under Keras' float16 policy."""
    import keras

    from suite.runtimes.base import load_feed

    spec = load_fixture(path)
    assert spec.build is not None
    model = spec.build("offline")
    description = model.to_json().replace('"name": "float32"', '"name": "float16"')
    narrow = keras.models.model_from_json(description.replace('"dtype": "float32"', '"dtype": "float16"'))
    narrow.set_weights(model.get_weights())
    assert {str(weight.dtype) for weight in narrow.weights} == {"float16"}
    (images,) = load_feed(arrays).values()
    answers = narrow.predict(np.asarray(images, np.float16), batch_size=8, verbose=0)
    return np.asarray(answers, np.float32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.coreml", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all ten")
    parser.add_argument("--variants", default=",".join(COREML), help="default: %(default)s")
    options = parser.parse_args()
    sys.exit(0 if measure(options.models, tuple(options.variants.split(","))) else 1)

"""The bare work of a profile, one part after the other, as someone would write it without this suite.

    python tests/bench/parts.py PROFILE [--models GLOB[,GLOB]] [--passes] [--threads N]

converter  TFLiteConverter.from_keras_model(model).convert() for each artifact, or coremltools.convert()
passes     every sample through each artifact in a plain LiteRT loop, and the photos that an app
           prepares a second time; through a Core ML artifact as many samples as a run takes, in a
           plain loop over the evaluator
reference  every sample through each Keras model

`--passes` alone takes the artifacts from the cache.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import suite
from suite.contract import PHOTOS
from suite.coreml.evaluator import Evaluator
from suite.discovery import BUNDLED, discover
from suite.feeds import CALIBRATION_COUNT
from suite.generated import CORNERS, photos
from suite.lab import evaluated
from suite.matrix import Case, Request, cases
from suite.preprocess import pixels, preprocess
from suite.runtimes.coreml_evaluator import settle
from suite.spec import ImageInput, ModelSpec


class Stopwatch:
    """Seconds by part."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def __call__(self, part: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        self.seconds[part] += time.perf_counter() - start
        return result


def main(request: Request, passes_alone: bool, threads: int) -> None:
    """Print the seconds of each part; every session of a pass with so many threads, as a run's have."""
    watch = Stopwatch()
    settle(threads)
    found = cases(discover(BUNDLED), request)
    with tempfile.TemporaryDirectory() as folder:
        for spec in {case.spec.name: case.spec for case in found}.values():
            own = [case for case in found if case.spec.name == spec.name]
            variants = {case.variant.name: case.variant.suffix for case in own}
            if passes_alone:
                paths = {variant: suite.convert(spec.name, variant) for variant in variants}
            else:
                paths = {name: Path(folder) / f"{name}{suffix}" for name, suffix in variants.items()}
                _make(spec, list(paths.values()), watch)
            _pass(spec, own, paths, watch, threads)
            if not passes_alone:
                for path in paths.values():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
    for part, seconds in watch.seconds.items():
        print("part", part, f"{seconds:.3f}")


def _make(spec: ModelSpec, paths: list[Path], watch: Stopwatch) -> None:
    """Convert, and answer by Keras."""
    import keras

    keras.backend.clear_session()
    assert spec.build is not None
    assert spec.dataset is not None
    assert isinstance(spec.input, ImageInput)
    model = spec.build("offline")
    calibration = preprocess(spec.dataset().calibration(CALIBRATION_COUNT).images, spec.input)
    samples = np.concatenate(_samples(spec))
    watch("reference", lambda: model.predict(samples, batch_size=32, verbose=0))
    for path in paths:
        watch("converter", lambda path=path: _convert(model, path, calibration))


def _pass(spec: ModelSpec, own: list[Case], paths: dict[str, Path], watch: Stopwatch, threads: int) -> None:
    """Answer by each artifact."""
    real, made = _samples(spec)
    samples = np.concatenate([real, made])
    count = evaluated(spec.gmacs, len(real))
    few = samples if count == len(real) else np.concatenate([real[:count], made[: len(CORNERS)]])
    assert isinstance(spec.input, ImageInput)
    photos = pixels(few, spec.input)
    for case in own:
        path, before = paths[case.variant.name], watch.seconds["passes"]
        if case.variant.format == "coreml":
            evaluator = Evaluator.open(path)
            watch("passes", lambda evaluator=evaluator: _evaluate(evaluator, photos))
        else:
            interpreter = _interpreter(case.target.engine, path, threads)
            watch("passes", lambda interpreter=interpreter: _loop(interpreter, samples))
            watch("passes", lambda interpreter=interpreter: _loop(interpreter, real[:PHOTOS]))
        print("pass", case.id, f"{watch.seconds['passes'] - before:.3f}", flush=True)


def _samples(spec: ModelSpec) -> tuple[Any, Any]:
    """What a model is compared on, real and generated."""
    assert spec.dataset is not None
    assert isinstance(spec.input, ImageInput)
    real = preprocess(spec.dataset().evaluation().images, spec.input)
    return real, preprocess(photos(spec.input.height, spec.input.width), spec.input)


def _convert(model: Any, path: Path, calibration: Any) -> None:
    if path.suffix == ".tflite":
        path.write_bytes(_tflite(model, path.stem, calibration))
    else:
        _coreml(model, path)


def _coreml(model: Any, path: Path) -> None:
    import coremltools as ct
    import tensorflow as tf

    shape = (1, *model.inputs[0].shape[1:])
    function = tf.function(lambda image: model(image, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32, name="image"))
    wide = path.stem == "mlprogram_float32"
    ct.convert(
        [concrete],
        source="tensorflow",
        inputs=[ct.TensorType(name="image", shape=shape)],
        convert_to="mlprogram",
        compute_precision=ct.precision.FLOAT32 if wide else ct.precision.FLOAT16,
        skip_model_load=True,
    ).save(str(path))


def _evaluate(evaluator: Evaluator, samples: Any) -> None:
    (given,) = evaluator.inputs
    for sample in samples:
        evaluator.run({given.name: sample})


def _tflite(model: Any, variant: str, calibration: Any) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if variant != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if variant == "int8":
        converter.representative_dataset = lambda: ([sample[np.newaxis]] for sample in calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return bytes(converter.convert())


def _interpreter(engine: str, path: Path, threads: int) -> Any:
    """LiteRT with the kernels of the target; for tflite-runtime too, which clashes with TensorFlow."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kinds = {"litert-reference": OpResolverType.BUILTIN_REF, "litert-xnnpack": OpResolverType.AUTO}
    kind = kinds.get(engine, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter = Interpreter(str(path), num_threads=threads, experimental_op_resolver_type=kind)
    interpreter.resize_tensor_input(0, [1, *interpreter.get_input_details()[0]["shape"][1:]])
    interpreter.allocate_tensors()
    return interpreter


def _loop(interpreter: Any, samples: Any) -> None:
    place = interpreter.get_input_details()[0]["index"]
    answer = interpreter.get_output_details()[0]["index"]
    for sample in samples:
        interpreter.set_tensor(place, sample[np.newaxis])
        interpreter.invoke()
        interpreter.get_tensor(answer)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("profile")
    parser.add_argument("--models", default="", help="of the profile, all unless told")
    parser.add_argument("--passes", action="store_true", help="of artifacts in the cache, and no other part")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    models = tuple(filter(None, options.models.split(",")))
    main(Request(profile=options.profile, models=models), options.passes, options.threads)

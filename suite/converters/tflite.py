"""Keras to TFLite by TensorFlow's own converter; runs in the process that holds TensorFlow."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from suite.errors import CaseError
from suite.record import Stage
from suite.spec import VARIANTS, Array

_LOCATION = re.compile(r"<unknown>:0: |loc\(.*?\)+: ?|^Details:\s*$")
_MLIR_NOISE = re.compile(r"^\s*(at|see current operation|<unknown>|note|loc\()|^\s*$", re.IGNORECASE)


def export(function: Any, folder: Path) -> None:
    """Write `function` as a SavedModel whose weights are constants of the graph."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    try:
        concrete = function.get_concrete_function()
        outputs = sorted(concrete.structured_outputs)  # the order in which a dict is flattened
        frozen = convert_variables_to_constants_v2(concrete)

        def serve(*tensors: Any) -> Any:
            return dict(zip(outputs, frozen(*tensors), strict=True))

        module = tf.Module()
        serving = tf.function(serve, input_signature=function.input_signature)
        tf.saved_model.save(
            module,
            str(folder),
            signatures={"serving_default": serving.get_concrete_function()},
            # Swish has a gradient of its own, which would hold on to what was frozen.
            options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
        )
    except Exception as error:
        raise CaseError(
            f"the model cannot be exported: {type(error).__name__}: {_reason(error)}. "
            "Check that it is a graph of TensorFlow operations with a fixed input shape",
            stage=Stage.CONVERT,
        ) from error


def convert(folder: Path, variant: str, calibration: Mapping[str, Array] | None, destination: Path) -> float:
    """Convert the SavedModel in `folder` to `destination`; answers the converter's seconds.

    `calibration`: (n, ...) samples by input name, for variants with activation ranges.
    """
    import tensorflow as tf

    if VARIANTS[variant].calibrated and not calibration:
        raise CaseError(f"{variant} needs calibration samples, found none", stage=Stage.CONVERT)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    _configure(converter, variant, calibration)
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Statistics for quantized inputs were expected")
            data: bytes = converter.convert()
    except Exception as error:
        raise CaseError(
            f"the TFLite converter refused {variant}: {_reason(error)}", stage=Stage.CONVERT
        ) from error
    seconds = time.perf_counter() - start
    destination.write_bytes(data)
    return seconds


def _configure(converter: Any, variant: str, calibration: Mapping[str, Array] | None) -> None:
    import tensorflow as tf

    if variant == "float32":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if calibration is not None and VARIANTS[variant].calibrated:
        converter.representative_dataset = lambda: _samples(calibration)
        # Without a float fallback: an op that cannot be quantised is an error, not a slow surprise.
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            if variant == "int16x8"
            else tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        ]
    if variant == "int8_io":
        converter.inference_input_type = converter.inference_output_type = tf.int8


def _samples(calibration: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    for i in range(len(next(iter(calibration.values())))):
        yield {name: np.ascontiguousarray(array[i : i + 1]) for name, array in calibration.items()}


def _reason(error: Exception) -> str:
    """The converter's words without the stack of MLIR locations."""
    lines = [_LOCATION.sub("", line).strip() for line in str(error).splitlines()]
    told = dict.fromkeys(line for line in lines if not _MLIR_NOISE.match(line))
    return " | ".join(list(told)[:4])[:600] or type(error).__name__

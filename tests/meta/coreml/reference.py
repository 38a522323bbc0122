"""What TensorFlow and coremltools answer, in a worker: called by name, arrays in and arrays out."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def tf_call(function: str, arrays: list[Any], options: Mapping[str, Any]) -> Any:
    """`tf.<function>(*arrays, **options)` as arrays."""
    import tensorflow as tf

    found = functools.reduce(getattr, function.split("."), tf)
    answer = found(*(tf.constant(one) if isinstance(one, np.ndarray) else one for one in arrays), **options)
    flat = [one.numpy() if hasattr(one, "numpy") else one for one in tf.nest.flatten(answer)]
    return flat if isinstance(answer, tuple | list) else flat[0]


def keras_layer(name: str, options: Mapping[str, Any], x: Any, weights: list[Any] | None) -> Any:
    """(answer, weights) of one Keras layer; random weights where none are given."""
    import keras

    keras.utils.set_random_seed(5)
    layer = getattr(keras.layers, name)(**options)
    layer.build(x.shape)
    if weights is not None:
        layer.set_weights(weights)
    return np.asarray(layer(x)), layer.get_weights()


def _coremltools() -> Any:
    warnings.simplefilter("ignore")
    logging.getLogger("coremltools").setLevel("ERROR")
    import coremltools

    return coremltools


_TARGETS = {"iOS15": 15, "iOS16": 16, "iOS17": 17, "iOS18": 18}


def program(
    destination: Path, operations: list[Any], inputs: Mapping[str, Any], target: str, answers: list[str]
) -> None:
    """Save an ML program of some operations, built with coremltools' own builder, without its passes.

    `operations`: (name, operator, arguments), where an argument that is "$x"
    is the value x. `inputs`: name -> (shape, dtype).
    """
    ct = _coremltools()
    from coremltools.converters.mil import Builder as mb  # noqa: N813 - as all of coremltools calls it
    from coremltools.converters.mil.mil import types

    kinds = {"float32": types.fp32, "float16": types.fp16, "int32": types.int32, "bool": types.bool}
    specs = [mb.TensorSpec(shape, kinds[dtype]) for shape, dtype in inputs.values()]

    def body(*given: Any) -> Any:
        values = dict(zip(inputs, given, strict=True))

        def resolve(argument: Any) -> Any:
            if isinstance(argument, str) and argument.startswith("$"):
                return values[argument[1:]]
            return tuple(map(resolve, argument)) if isinstance(argument, tuple) else argument

        for name, kind, arguments in operations:
            made = getattr(mb, kind)(**{key: resolve(one) for key, one in arguments.items()}, name=name)
            values.update(
                {f"{name}.{i}": one for i, one in enumerate(made)}
                if isinstance(made, tuple | list)
                else {name: made}
            )
        return tuple(mb.identity(x=values[name], name=f"answer_{i}") for i, name in enumerate(answers))

    body.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in inputs]
    )
    made = mb.program(input_specs=specs, opset_version=ct.target[target])(body)
    model = ct.convert(
        made,
        minimum_deployment_target=ct.target[target],
        pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
        compute_precision=ct.precision.FLOAT32,
    )
    model.save(str(destination))


def network(destination: Path, layers: list[Any], inputs: Mapping[str, Any], answers: list[str]) -> None:
    """Save a neural network built with coremltools' builder: (method, arguments) for each layer."""
    ct = _coremltools()
    from coremltools.models import datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder

    builder = NeuralNetworkBuilder(
        [(name, datatypes.Array(*shape)) for name, shape in inputs.items()],
        [(name, None) for name in answers],
        disable_rank5_shape_mapping=True,
    )
    for method, arguments in layers:
        getattr(builder, method)(**arguments)
    ct.utils.save_spec(builder.spec, str(destination))


def compressed(source: Path, destination: Path, kind: str, options: Mapping[str, Any]) -> str:
    """Compress a saved program, save it, and beside it what coremltools decompresses it to."""
    ct = _coremltools()
    import coremltools.optimize.coreml as cto

    model = ct.models.MLModel(str(source), skip_model_load=True)
    makers = {
        "linear": (cto.OpLinearQuantizerConfig, cto.linear_quantize_weights),
        "palette": (cto.OpPalettizerConfig, cto.palettize_weights),
        "prune": (cto.OpMagnitudePrunerConfig, cto.prune_weights),
    }
    config, function = makers[kind]
    made = function(model, cto.OptimizationConfig(global_config=config(weight_threshold=16, **options)))
    made.save(str(destination))
    plain = destination.with_name(f"plain_{destination.name}")
    cto.decompress_weights(ct.models.MLModel(str(destination), skip_model_load=True)).save(str(plain))
    return str(plain)


def flexible(destination: Path, kind: str, sizes: str) -> None:
    """Save `relu(x) + mean(x)` over (2..8, 3), or over 2 and 5 rows alone."""
    ct = _coremltools()
    import tensorflow as tf

    def serve(x: Any) -> Any:
        return tf.identity(tf.nn.relu(x) + tf.reduce_mean(x, axis=0, keepdims=True), name="y")

    shape = (
        ct.Shape((ct.RangeDim(2, 8, default=4), 3))
        if sizes == "range"
        else ct.EnumeratedShapes([(2, 3), (5, 3)], default=(2, 3))
    )
    _save_function(ct, tf, serve, [None, 3], shape, kind, destination)


def control_flow(destination: Path, kind: str, flow: str, xs: list[Any]) -> list[Any]:
    """Save a function of (3,) that branches or loops, and answer what TensorFlow does."""
    ct = _coremltools()
    import tensorflow as tf

    def cond(x: Any) -> Any:
        return tf.cond(x[0] > 0, lambda: x * 2.0, lambda: tf.square(x) - 1.0)

    def loop(x: Any) -> Any:
        return tf.while_loop(lambda y: tf.reduce_sum(y) < 20.0, lambda y: [y * 1.5 + 1.0], [x])[0]

    def serve(x: Any) -> Any:
        found = {"cond": cond, "while": loop, "both": lambda x: loop(cond(x))}[flow](x)
        return tf.identity(found, name="y")

    made = _save_function(ct, tf, serve, [3], ct.Shape((3,)), kind, destination)
    return [np.asarray(tf.nest.flatten(made(tf.constant(x)))[0]) for x in xs]


def _save_function(
    ct: Any, tf: Any, serve: Any, signature: list[Any], shape: Any, kind: str, destination: Path
) -> Any:
    made = tf.function(serve).get_concrete_function(tf.TensorSpec(signature, tf.float32, name="x"))
    more = {"compute_precision": ct.precision.FLOAT32} if kind == "mlprogram" else {}
    model = ct.convert(
        [made], source="tensorflow", convert_to=kind, skip_model_load=True,
        inputs=[ct.TensorType(name="x", shape=shape)], **more,
    )  # fmt: skip
    model.save(str(destination))
    return made


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

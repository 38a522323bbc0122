"""Keras to Core ML by Apple's coremltools; runs in the process that holds TensorFlow."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import re
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from suite.converters import norms
from suite.converters.interface import LABEL, OLDEST, PROBABILITIES, Interface, scaling
from suite.errors import CaseError, Unsupported
from suite.record import Stage
from suite.spec import ImageInput

_PALETTE_BITS = 6
_THRESHOLD = 512  # elements from which a weight is compressed, as in coremltools' guide
_COREMLTOOLS = "com.github.apple.coremltools"  # of the keys it writes into the metadata
# What keeps TensorFlow from inlining a function; Keras compiles grouped convolutions with XLA.
_UNINLINABLE = ("_XlaMustCompile", "_noinline", "_output_shapes")


def convert(folder: Path, variant: str, interface: Interface, destination: Path) -> float:
    """Convert the SavedModel in `folder` to `destination`; answers the converter's seconds.

    The SavedModel holds its weights as constants and has one signature at
    batch one: what `suite.converters.tflite.export` writes. Raises
    Unsupported where coremltools lacks an operation, CaseError for all else.
    """
    start = time.perf_counter()
    try:
        with _quiet():
            function = _function(folder, interface, variant)
            model = _compressed(_convert(function, variant, interface), variant)
            _describe(model, variant, interface)
            _save(model, destination)
    except NotImplementedError as error:
        raise Unsupported(
            f"coremltools cannot convert this to {variant}: {_reason(error)}. "
            "Replace that layer, or ship another format",
            stage=Stage.CONVERT,
        ) from error
    except CaseError:
        raise
    except Exception as error:  # whatever its front end, its passes and its back end raise
        raise CaseError(
            f"coremltools refused {variant}: {type(error).__name__}: {_reason(error)}", stage=Stage.CONVERT
        ) from error
    del function, model
    gc.collect()
    return time.perf_counter() - start


# --- the graph ------------------------------------------------------------------


_functions: dict[tuple[str, ...], Any] = {}  # of the last model: its variants come one after the other


def _function(folder: Path, interface: Interface, variant: str) -> Any:
    """The model's concrete function; that of the variant before, where it is the same."""
    network = bool(interface.labels) and variant == "neuralnetwork"
    key = str(folder), repr(interface), str(network)
    if key not in _functions:
        _functions.clear()
        _functions[key] = _read(folder, interface, network)
    return _functions[key]


def _read(folder: Path, interface: Interface, network: bool) -> Any:
    """A concrete function of named inputs and outputs, all of it one graph that can be inlined."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    loaded = tf.saved_model.load(str(folder))  # held until the graph is read: it owns the constants
    signature = loaded.signatures["serving_default"]
    frozen = convert_variables_to_constants_v2(signature, lower_control_flow=False, aggressive_inlining=True)
    graph = frozen.graph.as_graph_def()
    _make_inlinable(graph)
    sources = [tensor.name for tensor in frozen.outputs]
    names = sorted(signature.structured_outputs)  # the order in which a dict is flattened
    if network:
        names = [PROBABILITIES]  # ML programs answer under that name by themselves
    specs = [tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in interface.inputs.items()]
    factors = scaling(interface.image).factors if interface.image else ()

    def serve(*tensors: Any) -> Any:
        given = dict(zip(interface.inputs, tensors, strict=True))
        if factors:
            given = {name: tensor * tf.constant(factors, tensor.dtype) for name, tensor in given.items()}
        fed = {tensor.name: given[tensor.name.partition(":")[0]] for tensor in frozen.inputs}
        answers = tf.graph_util.import_graph_def(graph, input_map=fed, return_elements=sources, name="")
        return [tf.identity(answer, name=name) for name, answer in zip(names, answers, strict=True)]

    return tf.compat.v1.wrap_function(serve, specs)


def _make_inlinable(graph: Any) -> None:
    """Let TensorFlow inline every function; under new names, for the old ones are taken in this process."""
    functions = graph.library.function
    renamed = {function.signature.name: f"inlinable_{function.signature.name}" for function in functions}
    for node in [*graph.node, *(node for function in functions for node in function.node_def)]:
        for attribute in _UNINLINABLE:
            node.attr.pop(attribute, None)
        for value in node.attr.values():
            for called in [value.func] if value.HasField("func") else value.list.func:
                called.name = renamed.get(called.name, called.name)
    for function in functions:
        function.signature.name = renamed[function.signature.name]
        for attribute in _UNINLINABLE:
            function.attr.pop(attribute, None)


def _register_erfc() -> None:
    """The complementary error function, which Keras' exact GELU is made of, in terms of `erf`.

    erfc(-x c) = 1 + erf(x c) is the form that coremltools fuses into `gelu`.
    """
    from coremltools.converters.mil import Builder as mb  # noqa: N813 - as all of coremltools calls it
    from coremltools.converters.mil.frontend.tensorflow import tf_op_registry as registry

    if "Erfc" in registry._TF_OPS_REGISTRY:
        return

    def Erfc(context: Any, node: Any) -> None:  # noqa: N802 - the registry takes the operation's name from it
        x = context[node.inputs[0]]
        one = np.array(1, x.dtype.__name__.replace("fp", "float"))
        if (positive := _negated(x, mb)) is not None:
            answer = mb.add(x=mb.erf(x=positive), y=one, name=node.name)
        else:
            answer = mb.sub(x=one, y=mb.erf(x=x), name=node.name)
        context.add(node.name, answer)

    registry.register_tf_op(Erfc)


def _negated(x: Any, mb: Any) -> Any:
    """`a * c` where x is `(a * -1) * c`; else None."""
    product = x.op
    if product is None or product.op_type != "mul" or product.y.val is None:
        return None
    negation = product.x.op
    if negation is None or negation.op_type != "mul" or negation.y.val is None:
        return None
    return mb.mul(x=negation.x, y=product.y) if np.all(negation.y.val == -1) else None


# --- conversion -------------------------------------------------------------------


def _convert(function: Any, variant: str, interface: Interface) -> Any:
    import coremltools as ct

    _register_erfc()
    more: dict[str, Any] = {}
    if variant == "neuralnetwork":
        more["convert_to"] = "neuralnetwork"
    else:
        more["convert_to"] = "mlprogram"
        more["minimum_deployment_target"] = ct.target[interface.deployment_target or OLDEST[variant]]
        more["compute_precision"] = (
            ct.precision.FLOAT32 if variant == "mlprogram_float32" else ct.precision.FLOAT16
        )
    if interface.labels:
        more["classifier_config"] = ct.ClassifierConfig(list(interface.labels))
    elif variant != "neuralnetwork":  # else newer targets would answer in float16
        more["outputs"] = [
            ct.TensorType(name=tensor.name.partition(":")[0], dtype=_dtype(tensor.dtype.as_numpy_dtype))
            for tensor in function.outputs
        ]
    return ct.convert(
        [function],
        source="tensorflow",
        inputs=_inputs(interface),
        pass_pipeline=norms.pipeline(),
        skip_model_load=True,
        **more,
    )


def _inputs(interface: Interface) -> list[Any]:
    import coremltools as ct

    if interface.image is None:
        return [
            ct.TensorType(name=name, shape=shape, dtype=_dtype(dtype))
            for name, (shape, dtype) in interface.inputs.items()
        ]
    contract = scaling(interface.image)
    [(name, (shape, _))] = interface.inputs.items()
    return [
        ct.ImageType(
            name=name,
            shape=shape,
            scale=contract.scale,
            bias=list(contract.bias),
            color_layout=ct.colorlayout[interface.image.mode.channel_order],
        )
    ]


def _dtype(dtype: Any) -> Any:
    """Core ML takes float32, float16 and int32."""
    kind = np.dtype(dtype)
    return np.int32 if kind.kind in "iub" else np.float32 if kind.itemsize > 2 else np.float16


def _compressed(model: Any, variant: str) -> Any:
    import coremltools.optimize.coreml as cto

    if variant == "mlprogram_int8_weights":
        linear = cto.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype="int8", weight_threshold=_THRESHOLD
        )
        return cto.linear_quantize_weights(model, cto.OptimizationConfig(global_config=linear))
    if variant == "mlprogram_palettized_6bit":
        palette = cto.OpPalettizerConfig(mode="kmeans", nbits=_PALETTE_BITS, weight_threshold=_THRESHOLD)
        return cto.palettize_weights(model, cto.OptimizationConfig(global_config=palette))
    return model


def _describe(model: Any, variant: str, interface: Interface) -> None:
    """What Xcode shows of the model, and what a reader of the file finds."""
    model.author = "Pocketproof"
    model.short_description = f"{interface.metadata.get('model', 'model')} as {variant}"
    model.version = interface.metadata.get("content", "")[:12]
    for key, value in interface.metadata.items():
        model.user_defined_metadata[f"pocketproof.{key}"] = value
    for name, (shape, dtype) in interface.inputs.items():
        model.input_description[name] = _input_words(shape, dtype, interface.image)
    names = [LABEL, PROBABILITIES] if interface.labels else list(interface.outputs)
    for name in names:
        model.output_description[name] = (
            "the label of the highest score" if name == LABEL else "scores" if name == PROBABILITIES else name
        )


def _input_words(shape: tuple[int, ...], dtype: str, image: ImageInput | None) -> str:
    if image is None:
        return f"{dtype} {'x'.join(map(str, shape))}"
    return (
        f"a {image.width} x {image.height} photo, {image.resize.replace('_', ' ')}; "
        f"{image.mode.name} preprocessing is part of the model"
    )


def _save(model: Any, destination: Path) -> None:
    """Write the file so that the same conversion gives the same bytes, and anyone may read them."""
    model.user_defined_metadata.pop(f"{_COREMLTOOLS}.conversion_date", None)
    model.save(str(destination))
    manifest = destination / "Manifest.json"
    if manifest.is_file():
        manifest.write_text(_stable_identifiers(manifest.read_text()))
    for path in [destination, *destination.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def _stable_identifiers(text: str) -> str:
    """The manifest with identifiers that follow from what they stand for, in place of random ones."""
    manifest = json.loads(text)
    items = manifest["itemInfoEntries"]
    new = {old: str(uuid.uuid5(uuid.NAMESPACE_URL, item["path"])) for old, item in items.items()}
    manifest["itemInfoEntries"] = {new[old]: item for old, item in items.items()}
    manifest["rootModelIdentifier"] = new[manifest["rootModelIdentifier"]]
    # To the byte as coremltools writes it again whenever it opens the package.
    return json.dumps(manifest, indent=4, sort_keys=True) + "\n"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no advice on versions; a worker's output is for its last words."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


_SPACE = re.compile(r"\s+")


def _reason(error: Exception) -> str:
    """The first lines of the converter's words."""
    lines = [_SPACE.sub(" ", line).strip() for line in str(error).splitlines()]
    return " | ".join(list(filter(None, lines))[:3])[:600] or type(error).__name__

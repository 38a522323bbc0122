"""Faults of the graph, in ML programs."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.faults.coreml.package import Package
from suite.faults.sites import Inapplicable, middle
from suite.spec import Array

_PADDED = ("conv", "max_pool", "avg_pool")
_POOLS = {
    "avg_pool": "max_pool",
    "max_pool": "avg_pool",
    "reduce_mean": "reduce_max",
}


def padding_exchanged(package: Package) -> None:
    """One convolution pads as `valid` where `same` was meant."""
    spatial = [one for one in package.layers() if _extent(package, one) > 1]
    padded = [one for one in spatial if package.text(one, "pad_type") in ("same", "same_lower")]
    padded += [
        one for one in spatial if package.text(one, "pad_type") == "custom" and _pad(package, one).any()
    ]
    package.set_text(middle(padded, "padded convolution"), "pad_type", "valid")


def padding_on_the_other_side(package: Package) -> None:
    """The odd row of padding is at the top, where it was meant at the bottom (same_lower for same)."""
    uneven = [one for one in package.operations(*_PADDED) if _uneven(package, one)]
    operation = middle(uneven, "padding that is uneven")
    if package.text(operation, "pad_type") == "custom":
        pad = _pad(package, operation)
        package.put(operation, "pad", pad.reshape(-1, 2)[:, ::-1])
    else:
        other = {"same": "same_lower", "same_lower": "same"}
        package.set_text(operation, "pad_type", other[package.text(operation, "pad_type")])


def relu6_without_its_bound(package: Package) -> None:
    """Every ReLU6 was exported as ReLU."""
    _become(package, "relu6", "relu")


def relu_with_a_bound(package: Package) -> None:
    """Every ReLU was exported as ReLU6."""
    _become(package, "relu", "relu6")


def activation_dropped(package: Package) -> None:
    """The activation of one layer was lost."""
    middle(package.operations("relu", "relu6"), "activation").type = "identity"


def skip_dropped(package: Package) -> None:
    """One skip connection is not there: nothing is added."""
    joined = [
        one for one in package.operations("add") if package.source(one, "x") and package.source(one, "y")
    ]
    operation = middle(joined, "skip connection")
    zero = np.zeros((), np.float16 if _half(package, operation.outputs[0].name) else np.float32)
    package.write_here(operation.inputs["x"].arguments[0], zero)


def pooling_exchanged(package: Package) -> None:
    """One pooling takes the maximum where the average was meant, or the other way round."""
    operation = middle(package.operations(*_POOLS), "pooling")
    operation.type = _POOLS[operation.type]
    if operation.type == "max_pool":
        del operation.inputs["exclude_padding_from_average"]
    elif operation.type == "avg_pool":
        binding = operation.inputs["exclude_padding_from_average"].arguments.add()
        package.write_here(binding, np.array(True))


def softmax_doubled(package: Package) -> None:
    """The file answers probabilities where scores were promised: one softmax too many."""
    scores = package.answer()
    before = next(iter(package.operations("classify")), None)
    package.add(before, "softmax", "softmax_again", x=scores, axis=np.array(-1, np.int32))
    package.answer_is("softmax_again")


def softmax_missing(package: Package) -> None:
    """The file answers scores where probabilities were promised."""
    softmax = _softmax(package)
    answered, scores = str(softmax.outputs[0].name), package.source(softmax, "x")
    if answered == package.answer():
        package.answer_is(scores)
    for binding in package.bindings():
        if binding.name == answered:
            binding.name = scores


def softmax_axis(package: Package) -> None:
    """A softmax runs over the batch, not over the classes: every answer is 1."""
    package.put(_softmax(package), "axis", np.array(0, np.int32))


def background_score(package: Package) -> None:
    """The file answers one score more than there are classes, the first for `background`."""
    scores = package.answer()
    zero = np.zeros((1, 1), np.float16 if _half(package, scores) else np.float32)
    before = next(iter(package.operations("classify")), None)
    package.add(before, "concat", "with_background", x=scores, axis=np.array(1, np.int32),
                interleave=np.array(False))  # fmt: skip
    made = package.maker("with_background")
    made.outputs[0].type.tensorType.dimensions[-1].constant.size += 1
    values = made.inputs["values"].arguments
    package.write_here(values.add(), zero)
    values.add().name = scores
    del made.inputs["x"]
    package.answer_is("with_background")


def output_of_another_layer(package: Package) -> None:
    """The answer is taken one layer too early."""
    last = package.layers()
    if not last:
        raise Inapplicable("the file has no layer")
    package.answer_is(package.source(last[-1], "x"))


def declared_shape_wrong(package: Package) -> None:
    """The file declares another size for what one layer answers than the layer does."""
    operation = middle(package.layers(), "layer")
    operation.outputs[0].type.tensorType.dimensions[-1].constant.size += 1


def _softmax(package: Package) -> Any:
    """The one that makes the answer, by way of a cast or not."""
    maker = package.maker(package.answer())
    while maker is not None and maker.type == "cast":
        maker = package.maker(package.source(maker, "x"))
    if maker is None or maker.type != "softmax":
        raise Inapplicable("the model answers scores: there is no softmax")
    return maker


def _half(package: Package, name: str) -> bool:
    """Whether a value is declared as float16."""
    return bool(package.type_of(name).tensorType.dataType == 10)


def _become(package: Package, kind: str, other: str) -> None:
    found = package.operations(kind)
    middle(found, kind)
    for operation in found:
        operation.type = other


def _extent(package: Package, operation: Any) -> int:
    """The larger side of a convolution's kernel."""
    weight = package.values(operation, "weight")
    return max(weight.shape[2:]) if weight is not None and weight.ndim > 2 else 1


def _pad(package: Package, operation: Any) -> Array:
    pad = package.values(operation, "pad")
    return np.zeros(0, np.int32) if pad is None else pad


def _uneven(package: Package, operation: Any) -> bool:
    """Whether one side gets more padding than the other."""
    kind = package.text(operation, "pad_type")
    if kind == "custom":
        pad = _pad(package, operation).reshape(-1, 2)
        return bool((pad[:, 0] != pad[:, 1]).any())
    source = package.maker(package.source(operation, "x"))
    if kind not in ("same", "same_lower") or source is None:
        return False
    taken, given = (np.array(package.shape(one)[2:]) for one in (source, operation))
    weight = package.values(operation, "weight")
    kernel = package.values(operation, "kernel_sizes") if weight is None else np.array(weight.shape[2:])
    strides, dilations = (package.values(operation, name) for name in ("strides", "dilations"))
    if kernel is None:
        return False
    extent = (kernel - 1) * (1 if dilations is None else dilations) + 1
    padding = np.maximum((given - 1) * (1 if strides is None else strides) + extent - taken, 0)
    return bool((padding % 2).any())


FAULTS = (
    padding_exchanged,
    padding_on_the_other_side,
    relu6_without_its_bound,
    relu_with_a_bound,
    activation_dropped,
    skip_dropped,
    pooling_exchanged,
    softmax_doubled,
    softmax_missing,
    softmax_axis,
    background_score,
    output_of_another_layer,
    declared_shape_wrong,
)

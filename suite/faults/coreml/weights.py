"""Faults of the weights, in ML programs."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.faults.coreml.package import WEIGHTS, Package
from suite.faults.sites import Inapplicable, middle
from suite.spec import Array

_NORMS = ("batch_norm", "layer_norm", "instance_norm", "l2_norm", "local_response_norm")
_LOW_BITS = {np.dtype(np.float32): (np.uint32, 0xFFF), np.dtype(np.float16): (np.uint16, 0x1F)}
_TOP_BIT = {np.dtype(np.float32): (np.uint32, 30), np.dtype(np.float16): (np.uint16, 14)}


def layer_transposed(package: Package) -> None:
    """One layer's kernel has height and width exchanged, as between two frameworks' layouts."""
    square = [
        one
        for one in package.layers()
        if (shape := package.constant(one, WEIGHTS[one.type]).shape)[-1] == shape[-2] > 1 and len(shape) == 4
    ]
    operation = middle(square, "spatial kernel")
    package.put(operation, "weight", package.constant(operation, "weight").swapaxes(-1, -2))


def layer_zeroed(package: Package) -> None:
    """One layer's weights were never loaded."""
    operation = middle(package.layers(), "layer")
    weight = WEIGHTS[operation.type]
    package.put(operation, weight, np.zeros_like(package.constant(operation, weight)))


def bias_dropped(package: Package) -> None:
    """The bias of one layer was lost."""
    own = [
        one for one in package.layers() if (bias := package.values(one, "bias")) is not None and bias.any()
    ]
    operation = middle(own, "bias")
    package.put(operation, "bias", np.zeros_like(package.constant(operation, "bias")))


def channel_scale_wrong(package: Package) -> None:
    """One output channel of one layer is twice as large."""
    operation = middle(package.layers(), "layer")
    name = WEIGHTS[operation.type]
    values = package.constant(operation, name)
    channels = np.moveaxis(values, {"matmul": -1, "conv_transpose": 1}.get(operation.type, 0), 0)  # a view
    size = np.abs(channels.astype(np.float64)).reshape(len(channels), -1).sum(1)
    channels[int(size.argmax())] *= 2
    package.put(operation, name, values)


def low_bits_flipped(package: Package) -> None:
    """The low bits of every weight are wrong: half of a mantissa."""
    for operation in _some_layers(package):
        name = WEIGHTS[operation.type]
        values = package.constant(operation, name)
        kind, bits = _LOW_BITS[values.dtype]
        package.put(operation, name, (values.view(kind) ^ kind(bits)).view(values.dtype))


def other_checkpoint(package: Package) -> None:
    """The weights are of another checkpoint: each differs by a tenth of its layer's deviation."""
    random = np.random.default_rng(0)
    for operation in _some_layers(package):
        name = WEIGHTS[operation.type]
        values = package.constant(operation, name)
        noise = random.normal(0, 0.1 * float(values.astype(np.float64).std()), values.shape)
        package.put(operation, name, values + noise)


def exponent_bit_flipped(package: Package) -> None:
    """One bit of the weights file is wrong: the top one of the exponent of one layer's largest weight."""
    operation = middle(package.layers(), "layer")
    name = WEIGHTS[operation.type]
    values = package.constant(operation, name)
    kind, bit = _TOP_BIT[values.dtype]
    values.reshape(-1).view(kind)[values.argmax()] ^= kind(1 << bit)
    package.put(operation, name, values)


def epsilon_wrong(package: Package) -> None:
    """Every normalisation guards its division with an epsilon a thousand times as large."""
    norms = [one for one in package.operations(*_NORMS) if package.values(one, "epsilon") is not None]
    guards = [one for one in package.operations("add") if package.values(one, "y") is not None]
    divided = {package.source(one, "x") for one in package.operations("rsqrt", "sqrt")}
    guards = [one for one in guards if one.outputs[0].name in divided]
    if not norms and not guards:
        raise Inapplicable("no normalisation is left in the program: its converter folded each")
    for operation, name in [*((one, "epsilon") for one in norms), *((one, "y") for one in guards)]:
        package.put(operation, name, _larger(package.constant(operation, name)))


def _larger(epsilon: Array) -> Array:
    return np.asarray(epsilon * np.asarray(1000, epsilon.dtype))


def _some_layers(package: Package) -> list[Any]:
    """All layers; Inapplicable where there is none."""
    middle(package.layers(), "layer whose weights are plain numbers")
    return package.layers()


FAULTS = (
    layer_transposed,
    layer_zeroed,
    bias_dropped,
    channel_scale_wrong,
    low_bits_flipped,
    other_checkpoint,
    exponent_bit_flipped,
    epsilon_wrong,
)

"""Faults of compressed weights, in ML programs: whole numbers with scales, and palettes.

Weights that several layers share are unpacked once, and stay shared: the fault is in what is stored.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from suite.coreml.ops.constexpr import unpack
from suite.coreml.ops.registry import as_channels, axis_of
from suite.faults.coreml.package import Package
from suite.faults.sites import Inapplicable, middle
from suite.spec import Array

# What unpacks whole numbers (iOS16, iOS18), and its names for these and their zero points.
_LINEAR = {
    "constexpr_affine_dequantize": ("quantized_data", "zero_point"),
    "constexpr_blockwise_shift_scale": ("data", "offset"),
}


def zero_point_off_by_one(package: Package) -> None:
    """Every int8 weight's zero point is one more than it is."""
    for operation in _some(_linear(package), "weights that are whole numbers"):
        name, point = _LINEAR[operation.type]
        numbers, points = package.constant(operation, name), package.values(operation, point)
        if points is not None:
            above = np.minimum(points.astype(np.int32) + 1, np.iinfo(points.dtype).max)
            package.put(operation, point, above)
        else:  # 0, which need not be said
            ones = np.ones_like(package.constant(operation, "scale"), numbers.dtype)
            package.write_here(operation.inputs[point].arguments.add(), ones)


def per_tensor_weights(package: Package) -> None:
    """Every compressed weight shares one scale, where each channel had its own."""
    own = [one for one in _scaled_by_channel(package) if np.ptp(package.constant(one, "scale"))]
    for operation in _some(own, "weights with a scale for each channel"):
        numbers, points, scales = _parts(package, operation)
        largest = scales.max()
        name, _ = _LINEAR[operation.type]
        package.put(operation, name, np.rint((numbers - points) * (scales / largest)) + points)
        package.put(operation, "scale", np.full_like(scales, largest))


def weight_scale_wrong(package: Package) -> None:
    """One output channel of one layer's compressed weights is read at twice its scale."""
    operation = middle(_scaled_by_channel(package), "weights with a scale for each channel")
    numbers, points, scales = _parts(package, operation)
    alike = tuple(axis for axis, size in enumerate(scales.shape) if size == 1)
    size = np.abs((numbers - points) * scales).sum(axis=alike)
    scales.reshape(-1)[size.argmax()] *= 2
    package.put(operation, "scale", scales)


def palette_entry_wrong(package: Package) -> None:
    """The entry of one layer's palette that most weights use has the value of the entry nearest to it."""
    operation = middle(_palettes(package), "palette")
    table = package.constant(operation, "lut")
    entries = table.reshape(-1)  # a view
    most = np.bincount(_places(package, operation, entries.size)).argmax()
    others = entries[entries != entries[most]]
    entries[most] = others[np.abs(others.astype(np.float64) - entries[most]).argmin()]
    package.put(operation, "lut", table)


def palette_of_another_layer(package: Package) -> None:
    """One layer's palette is that of another layer."""
    tables = [(one, package.constant(one, "lut")) for one in _palettes(package)]
    exchanges = [
        (one, theirs)
        for one, own in tables
        for _, theirs in tables
        if own.size == theirs.size and not np.array_equal(own.reshape(-1), theirs.reshape(-1))
    ]
    operation, table = middle(exchanges, "other palette of the same size")
    package.put(operation, "lut", table)


def _some(found: list[Any], what: str) -> list[Any]:
    """All of them; Inapplicable where there is none."""
    if not found:
        raise Inapplicable(f"the file has no {what}")
    return found


def _linear(package: Package) -> list[Any]:
    """Operations that unpack whole numbers of a byte each, as this suite writes them."""
    return [
        one
        for one in package.operations(*_LINEAR)
        if (numbers := package.values(one, _LINEAR[one.type][0])) is not None
        and numbers.shape == package.shape(one)
    ]


def _scaled_by_channel(package: Package) -> list[Any]:
    """Those with several scales, each of them for all of a channel."""
    found = []
    for one in _linear(package):
        numbers, _, scales = _parts(package, one)
        sizes = zip(scales.shape, numbers.shape, strict=True)
        if scales.size > 1 and all(have in (1, size) for have, size in sizes):
            found.append(one)
    return found


def _parts(package: Package, operation: Any) -> tuple[Array, Array, Array]:
    """Numbers, zero points and scales as they are multiplied out, of one rank."""
    name, point = _LINEAR[operation.type]
    numbers, scales = package.constant(operation, name), package.constant(operation, "scale")
    points = package.values(operation, point)
    if points is None:
        points = np.zeros_like(scales)
    if scales.ndim != numbers.ndim:  # iOS16: one, or a vector along an axis
        axis = axis_of(package.constant(operation, "axis"), numbers.ndim)
        points, scales = (as_channels(one.reshape(-1), numbers.ndim, axis) for one in (points, scales))
    return numbers.astype(np.float64), points.astype(np.float64), scales.astype(np.float64)


def _palettes(package: Package) -> list[Any]:
    """Operations that look up all of a weight in one table, of different values."""
    return [
        one
        for one in package.operations("constexpr_lut_to_dense")
        if (table := package.values(one, "lut")) is not None
        and table.size == max(table.shape)
        and np.ptp(table)
    ]


def _places(package: Package, operation: Any, entries: int) -> Array:
    """The place in the table of each weight."""
    packed = package.constant(operation, "indices").reshape(-1)
    return unpack(packed, entries.bit_length() - 1, math.prod(package.shape(operation)))


FAULTS = (
    zero_point_off_by_one,
    per_tensor_weights,
    weight_scale_wrong,
    palette_entry_wrong,
    palette_of_another_layer,
)

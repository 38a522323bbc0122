"""Faults of Core ML packages, planted through their schema and in their weights file.

A fault that a TFLite file can have too goes by the same name there. What
`in_package`, `in_weights` and `relabelled` answer changes a package in place,
which is for copies; it raises Inapplicable where there is nothing to change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from suite.card import Norm
from suite.faults.coreml import batchnorm, contract, graph, quantisation, weights
from suite.faults.coreml.package import Package

Mutation = Callable[[Package], None]
Plant = Callable[[Path], None]

FAMILIES: Mapping[str, tuple[Mutation, ...]] = {
    "preprocessing": contract.FAULTS,
    "weights": weights.FAULTS,
    "graph": graph.FAULTS,
    "quantisation": quantisation.FAULTS,
}


REFOLDS = batchnorm.FAULTS


def in_package(mutate: Mutation) -> Plant:
    """Change the program."""

    def plant(path: Path) -> None:
        package = Package(path)
        mutate(package)
        package.save()

    return plant


def refolded(fold: Callable[[Package, Sequence[Norm]], None]) -> Callable[[Path, Sequence[Norm]], None]:
    """Change the program, knowing what was folded."""

    def plant(path: Path, norms: Sequence[Norm]) -> None:
        package = Package(path)
        fold(package, norms)
        package.save()

    return plant


def in_weights(alter: Callable[[bytes], bytes]) -> Plant:
    """Change the bytes of the weights file."""

    def plant(path: Path) -> None:
        stored = Package(path).weights_file
        stored.write_bytes(alter(stored.read_bytes()))

    return plant


def relabelled(rename: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Plant:
    """Give the scores other names: a Core ML file holds its labels itself."""
    return in_package(lambda package: contract.relabel(package, rename))

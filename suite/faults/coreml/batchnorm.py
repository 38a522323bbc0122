"""Faults of folding a batch normalisation into the convolution before it, in ML programs.

Of another epsilon there is none here: beside float16's rounding it does not show where it is folded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from suite.card import Norm
from suite.faults.batchnorm import factor
from suite.faults.coreml.package import Package
from suite.faults.sites import middle
from suite.spec import Array


def folded_twice(package: Package, norms: Sequence[Norm]) -> None:
    """One batch normalisation was folded into its layer, and then once more."""
    operation, norm = middle(list(_folded(package, norms)), "folded batch normalisation")
    bias = package.constant(operation, "bias").astype(np.float64)
    _fold(package, operation, factor(norm), (bias - norm.mean) * factor(norm) + norm.beta)


def _folded(package: Package, norms: Sequence[Norm]) -> Iterator[tuple[Any, Norm]]:
    """Convolutions, each with the batch normalisation that its bias is made of."""
    for operation in package.layers():
        bias = package.values(operation, "bias")
        if operation.type != "conv" or bias is None:
            continue
        rounding = 1e-4 if bias.dtype == np.float32 else 2e-3
        for norm in norms:
            expected: Array = norm.beta - norm.mean * factor(norm)
            near = max(1e-6, rounding * float(np.abs(expected).max()))
            if expected.shape == bias.shape and np.allclose(bias, expected, rtol=1e-3, atol=near):
                yield operation, norm
                break


def _fold(package: Package, operation: Any, ratio: Array, bias: Array) -> None:
    """Multiply each output channel by its ratio, and set the bias, (channels,) each."""
    kernel = package.constant(operation, "weight")
    package.put(operation, "weight", kernel * ratio.reshape(-1, *(1,) * (kernel.ndim - 1)))
    package.put(operation, "bias", bias)


FAULTS: tuple[Callable[[Package, Sequence[Norm]], None], ...] = (folded_twice,)

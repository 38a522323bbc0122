"""What the tests of operators share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings

from suite.coreml import ops
from suite.spec import Array

Ask = Callable[..., Any]
# Every example asks another process; the first waits for TensorFlow to start.
some = settings(
    max_examples=int(os.environ.get("POCKETPROOF_EXAMPLES", 10)),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def run(name: str, *args: Any, **options: Any) -> Any:
    """An operator as a program would call it."""
    found = ops.get(name)
    assert found is not None, name
    assert options.keys() <= {*found.known, "memo"}
    return found.run(*args, **options)


def values(seed: int, *shape: int) -> Array:
    """Normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def near(actual: Any, expected: Any, tolerance: float = 2e-5) -> None:
    """Same shape, kind of number and, to a share of the largest, values."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert actual.dtype.kind == expected.dtype.kind
    if actual.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected)
        return
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite])
    scale = max(1.0, float(np.abs(expected[finite]).max(initial=0.0)))
    np.testing.assert_allclose(actual[finite], expected[finite], rtol=tolerance, atol=tolerance * scale)

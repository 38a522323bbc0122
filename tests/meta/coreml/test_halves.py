"""Rounding to float16, against NumPy's casts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from suite.coreml.halves import to_half


def test_every_kind_of_float() -> None:
    bits = np.random.default_rng(0).integers(0, 1 << 32, 200_000, np.uint64).astype(np.uint32)
    near_halves = (np.arange(1 << 16, dtype=np.uint32) << 13)[:, None] + np.uint32([0, 0xFFF, 0x1000, 0x1001])
    for values in (bits.view(np.float32), near_halves.reshape(-1).view(np.float32)):
        with np.errstate(over="ignore", invalid="ignore"):
            expected = values.astype(np.float16).astype(np.float32)
            actual = to_half(values)
        np.testing.assert_array_equal(actual, expected)
        signed = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(actual)[signed], np.signbit(expected)[signed])


def test_halves_themselves_stay() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(to_half(halves.astype(np.float32)), halves.astype(np.float32))


@given(order=st.permutations([0, 1, 2]), step=st.integers(1, 2))
def test_any_order_of_memory(order: list[int], step: int) -> None:
    values = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32).transpose(order)[::step]
    kept = values.copy()
    np.testing.assert_array_equal(to_half(values), values.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(values, kept)
    assert to_half(np.float32(0.1).reshape(())) == np.float16(0.1)

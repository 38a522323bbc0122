"""Compressed constants, by their definition; against coremltools in test_evaluator."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.coreml.ops import OpError, constexpr
from suite.coreml.ops.constexpr import unpack
from suite.spec import Array
from tests.meta.coreml.ops.asking import run, some, values


@some
@given(bits=st.sampled_from([1, 2, 3, 4, 6, 8]), count=st.integers(0, 40), seed=st.integers(0, 99))
def test_unpacking_reverses_packing(bits: int, count: int, seed: int) -> None:
    numbers = np.random.default_rng(seed).integers(0, 1 << bits, count).astype(np.uint8)
    flat = [number >> bit & 1 for number in numbers.tolist() for bit in range(bits)]
    packed = np.packbits(np.array(flat, np.uint8), bitorder="little")
    np.testing.assert_array_equal(unpack(packed, bits, count), numbers)
    with pytest.raises(OpError, match="bytes"):
        unpack(packed, bits, 8 * len(packed) // bits + 1)


@pytest.mark.parametrize("bits", [1, 3, 6])
def test_unpacking_takes_little_more_than_its_answer(bits: int) -> None:
    count = 3 * constexpr._AT_A_TIME + 5  # several parts, and a last one that ends within a byte
    numbers = np.random.default_rng(bits).integers(0, 1 << bits, count, np.uint8)
    flat = np.unpackbits(numbers[:, None], axis=1, count=bits, bitorder="little")
    packed, lut = np.packbits(flat, bitorder="little"), values(1, 1 << bits)
    assert _peak(lambda: unpack(packed, bits, count), numbers) < count + 20 * constexpr._AT_A_TIME
    dense = {"shape": np.uint32([count])}
    peak = _peak(lambda: run("constexpr_lut_to_dense", packed, lut, **dense), lut[numbers])
    assert peak < 5 * count + 20 * constexpr._AT_A_TIME


def test_tables_and_blocks_take_little_more_than_their_answer() -> None:
    rows, wide = 3 * 1024 + 2, 1024
    places = np.random.default_rng(1).integers(0, 4, (rows, wide), np.uint8)
    tables = values(1, 2, 1, 4, 1)
    expected = np.concatenate([tables[i, 0, half, 0] for i, half in enumerate(np.split(places, 2))])
    more = 20 * constexpr._AT_A_TIME
    assert _peak(lambda: run("constexpr_lut_to_dense", places, tables), expected) < 4 * places.size + more
    scale, offset = values(2, rows, 2), np.ones((rows, 2), np.int8)
    expected = (places - np.float32(1)) * np.repeat(scale, wide // 2, 1)
    peak = _peak(lambda: run("constexpr_blockwise_shift_scale", places, scale, offset), expected)
    assert peak < 4 * places.size + more


def _peak(ask: Callable[[], Array], expected: Array) -> int:
    """The most bytes that were held to answer."""
    tracemalloc.start()
    answer = ask()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(answer, expected)
    return peak


def test_affine_by_axis() -> None:
    steps = np.arange(24, dtype=np.int8).reshape(2, 3, 4)
    scale, zero = np.float32([0.5, 1, 2]), np.int8([1, 2, 3])
    actual = run("constexpr_affine_dequantize", steps, zero, scale, np.int32(1))
    expected = (steps.astype(np.float32) - zero.reshape(1, 3, 1)) * scale.reshape(1, 3, 1)
    np.testing.assert_array_equal(actual, expected)
    with pytest.raises(OpError, match="along axis"):
        run("constexpr_affine_dequantize", steps, zero, scale, np.int32(0))


def test_blocks() -> None:
    data, scale = np.arange(16, dtype=np.int8).reshape(4, 4), np.float32([[1, 2], [3, 4]])
    offset = np.int8([[0, 1], [2, 3]])
    actual = run("constexpr_blockwise_shift_scale", data, scale, offset)
    wide = np.kron(scale, np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(actual, wide * (data - np.kron(offset, np.ones((2, 2), np.int8))))
    with pytest.raises(OpError, match="blocks"):
        run("constexpr_blockwise_shift_scale", data, np.float32([[1, 2, 3]]))


def test_tables() -> None:
    lut = np.float32([10, 20, 30, 40])
    packed = np.uint8([0b11100100, 0b01])  # 0 1 2 3, 1
    np.testing.assert_array_equal(
        run("constexpr_lut_to_dense", packed, lut, np.uint32([5])), np.float32([10, 20, 30, 40, 20])
    )
    # Two tables along the first axis, as in coremltools' own example.
    places = np.uint8([2, 3, 3, 0, 1, 0, 3, 0, 2, 1, 0, 3]).reshape(6, 2)
    tables = np.float32([1, 5, 9, 13, 2, 10, 18, 26]).reshape(2, 1, 4, 1)
    expected = np.float32([9, 13, 13, 1, 5, 1, 26, 2, 18, 10, 2, 26]).reshape(6, 2)
    np.testing.assert_array_equal(run("constexpr_lut_to_dense", places, tables), expected)
    vectors = np.float32([[1, 2, 3], [4, 5, 6]]).reshape(1, 1, 2, 3)
    found = run("constexpr_lut_to_dense", np.uint8([[0, 1], [1, 0]]), vectors, vector_axis=np.int32(0))
    np.testing.assert_array_equal(found, [[1, 4], [2, 5], [3, 6], [4, 1], [5, 2], [6, 3]])
    with pytest.raises(OpError, match="table of 2"):
        run("constexpr_lut_to_dense", np.uint8([[5]]), np.float32([1, 2]).reshape(1, 1, 2, 1))


def test_sparse() -> None:
    mask = np.uint8([[1, 1, 0], [0, 1, 1]])
    there = values(1, 4)
    dense = run("constexpr_sparse_to_dense", there, mask)
    np.testing.assert_array_equal(dense[mask != 0], there)
    packed = np.packbits(mask.reshape(-1), bitorder="little")
    np.testing.assert_array_equal(run("constexpr_sparse_to_dense", there, packed, np.uint32([2, 3])), dense)
    with pytest.raises(OpError, match="places"):
        run("constexpr_sparse_to_dense", there[:3], mask)
    kept, real = run(
        "constexpr_sparse_blockwise_shift_scale", mask, np.int8([1, 2, 3, 4]), np.float32([[1], [10]])
    )
    np.testing.assert_array_equal(kept, mask)
    np.testing.assert_array_equal(real, np.float32([1, 2, 30, 40]))
    table = np.float32([5, 6]).reshape(1, 1, 2, 1)
    _, found = run("constexpr_lut_to_sparse", mask, np.uint8([0, 1, 1, 0]), table)
    np.testing.assert_array_equal(found, np.float32([5, 6, 6, 5]))


def test_halves_become_float32() -> None:
    halves = values(1, 2, 3).astype(np.float16)
    found = run("constexpr_cast", halves, "fp32")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, halves)
    with pytest.raises(OpError, match="only fp32"):
        run("constexpr_cast", halves, "int8")

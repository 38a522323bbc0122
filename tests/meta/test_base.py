"""Feeds, names and quantised numbers, as every runtime sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.runtimes.base import TensorInfo, dequantise, load_feed, match, quantise

INT8 = TensorInfo(name="x", shape=(1, 4), dtype="int8", scale=0.1, zero_point=-3)
FLOAT = TensorInfo(name="x", shape=(1, 4), dtype="float32")


def info(name: str) -> TensorInfo:
    return TensorInfo(name=name, shape=(1,), dtype="float32")


def test_quantising_rounds_half_away_from_zero_and_saturates() -> None:
    half = TensorInfo(name="x", shape=(1,), dtype="int8", scale=1.0, zero_point=0)
    reals = np.array([0.5, -0.5, 1.5, 2.4, 1e6, -1e6], np.float32)
    np.testing.assert_array_equal(quantise(reals, half), np.array([1, -1, 2, 2, 127, -128], np.int8))
    # Not NumPy's rounding, which is to even:
    assert np.rint(np.float32(0.5)) == 0


def test_zero_is_the_zero_point() -> None:
    assert quantise(np.zeros(1, np.float32), INT8)[0] == -3
    assert dequantise(np.array([-3], np.int8), INT8)[0] == 0


@given(st.integers(-128, 127), st.floats(1e-4, 10), st.integers(-128, 127))
def test_an_integer_survives_the_way_to_a_real_and_back(value: int, scale: float, zero_point: int) -> None:
    tensor = TensorInfo(name="x", shape=(1,), dtype="int8", scale=scale, zero_point=zero_point)
    stored = np.array([value], np.int8)
    assert quantise(dequantise(stored, tensor), tensor)[0] == value


@given(st.floats(-12, 12))
def test_a_real_in_range_is_off_by_half_a_step_at_most(value: float) -> None:
    real = np.array([value], np.float32)
    assert abs(dequantise(quantise(real, INT8), INT8)[0] - real[0]) <= 0.05 + 1e-5


def test_what_is_not_quantised_passes_as_it_is() -> None:
    reals = np.array([0.3], np.float32)
    assert not FLOAT.quantised
    assert quantise(reals, FLOAT) is reals
    assert dequantise(reals, FLOAT) is reals
    assert quantise(np.array([0.3]), FLOAT).dtype == np.float32


def test_a_feed_may_name_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(6))
    loaded = load_feed({"x": tmp_path / "x.npy", "y": np.ones(2)})
    assert isinstance(loaded["x"], np.memmap)
    np.testing.assert_array_equal(loaded["x"], np.arange(6))


def test_one_input_takes_one_array_whatever_the_names() -> None:
    assert match({"image": np.ones(1)}, (info("serving_default_x:0"),)).keys() == {"serving_default_x:0"}


def test_several_inputs_are_matched_by_name_also_when_converters_changed_it() -> None:
    arrays = {"left": np.array([1.0]), "right": np.array([2.0])}
    matched = match(arrays, (info("serving_default_right:0"), info("serving_default_left:0")))
    assert matched["serving_default_right:0"] == 2
    assert matched["serving_default_left:0"] == 1
    assert match({"a": np.ones(1), "ab": np.zeros(1)}, (info("ab"), info("a")))["a"] == 1


@pytest.mark.parametrize(
    ("names", "tensors"),
    [
        (["a"], ["a", "b"]),
        (["a", "b", "c"], ["a", "b"]),
        (["left", "other"], ["left", "right"]),
        (["x", "x_1"], ["x_1_in", "y"]),
    ],
)
def test_what_does_not_match_is_refused_with_both_sides_named(names: list[str], tensors: list[str]) -> None:
    with pytest.raises(ValueError, match=rf"found .*{names[0]}.*expected .*{tensors[-1]}"):
        match({name: np.ones(1) for name in names}, tuple(info(name) for name in tensors))

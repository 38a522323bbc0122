"""Shapes, against NumPy's and TensorFlow's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.coreml.ops import OpError
from tests.meta.coreml.ops.asking import Ask, near, run, some, values


@some
@given(block=st.integers(1, 3), sizes=st.tuples(*[st.integers(1, 3)] * 3), seed=st.integers(0, 9))
def test_blocks(tf: Ask, block: int, sizes: tuple[int, int, int], seed: int) -> None:
    c, h, w = sizes
    x = values(seed, 2, c, h * block, w * block)
    packed = run("space_to_depth", x, block)
    if block > 1:
        last = np.moveaxis(x, 1, -1).copy()
        expected = tf("nn.space_to_depth", [last], {"block_size": block})
        near(packed, np.moveaxis(expected, -1, 1))
    near(run("depth_to_space", packed, block), x)
    near(run("pixel_shuffle", run("pixel_unshuffle", x, block), block), x)
    shape, none = np.array([block, block]), np.zeros((2, 2), np.int32)
    near(run("batch_to_space", run("space_to_batch", x, shape, none), shape, none), x)


def test_pixel_shuffle_by_definition() -> None:
    x = values(1, 1, 8, 2, 3)
    found = run("pixel_shuffle", x, 2)
    for c in range(2):
        for i in range(2):
            for j in range(2):
                np.testing.assert_array_equal(found[0, c, i::2, j::2], x[0, 4 * c + 2 * i + j])


@some
@given(
    pads=st.lists(st.integers(0, 2), min_size=2, max_size=6).filter(lambda one: len(one) % 2 == 0),
    mode=st.sampled_from(["constant", "reflect", "replicate"]),
    moved=st.booleans(),
)
def test_pad(pads: list[int], mode: str, moved: bool) -> None:
    x = values(1, 3, 4, 5)
    if moved:
        x = np.moveaxis(x, 0, -1)
    pairs = [(0, 0)] * (3 - len(pads) // 2) + list(zip(pads[::2], pads[1::2], strict=True))
    names = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}
    more = {"constant_values": 7.0} if mode == "constant" else {}
    near(run("pad", x, np.array(pads), mode, 7.0), np.pad(x, pairs, names[mode], **more))


def test_shapes() -> None:
    x = values(1, 2, 3, 4)
    assert run("reshape", x, np.array([4, -1])).shape == (4, 6)
    assert run("reshape", x[:, :, 0], np.array([1, 0, -1, 0])).shape == (1, 1, 2, 3)  # from the right
    assert run("expand_dims", x, np.array([0, -1])).shape == (1, 2, 3, 4, 1)
    assert run("squeeze", x[:, :1], np.array([1, 2])).shape == (2, 4)
    assert run("squeeze", x[:1, :1]).shape == (4,)
    assert run("flatten2d", x, 2).shape == (6, 4)
    assert run("flatten2d", x, -1).shape == (6, 4)
    assert run(
        "reshape_like", x, [x, x[0]], [np.int32(0), np.int32(0)], [np.int32(1), np.int32(0)], [False, True]
    ).shape == (2, 3, 4)
    near(run("shape", x), np.int32([2, 3, 4]))
    near(run("transpose", x, np.array([2, 0, -2])), x.transpose(2, 0, 1))
    near(run("reverse", x, np.array([-1])), x[..., ::-1])
    near(run("tile", x, np.array([1, 2, 1])), np.tile(x, (1, 2, 1)))


def test_joining_and_parting() -> None:
    x = values(1, 2, 6, 4)
    parts = run("split", x, 1, split_sizes=np.array([1, 2, 3]))
    near(run("concat", list(parts), -2), x)
    even = run("split", x, 1, 3)
    woven = run("concat", list(even), 1, True)
    near(woven[:, 0::3], even[0])
    near(run("stack", [x, x], -1), np.stack([x, x], -1))
    near(run("concat", [np.float32(1), np.float32(2)], 0), np.float32([1, 2]))
    near(run("sliding_windows", x, 1, 3, 2)[:, 1], x[:, 2:5])
    near(run("crop", x, np.array([1, 2]), np.array([0, 3])), x[:, 1:4, :1])


@some
@given(lengths=st.lists(st.integers(0, 4), min_size=3, max_size=3), seed=st.integers(0, 9))
def test_reverse_sequence(tf: Ask, lengths: list[int], seed: int) -> None:
    x = values(seed, 3, 4, 2)
    expected = tf("reverse_sequence", [x, np.array(lengths)], {"seq_axis": 1, "batch_axis": 0})
    near(run("reverse_sequence", x, np.array(lengths), 1, 0), expected)


@some
@given(lower=st.integers(-1, 4), upper=st.integers(-1, 4))
def test_band_part(tf: Ask, lower: int, upper: int) -> None:
    x = values(1, 2, 4, 5)
    near(run("band_part", x, lower, upper), tf("linalg.band_part", [x, lower, upper]))


def test_making() -> None:
    near(run("fill", np.array([2, 3]), np.float32(4)), np.full((2, 3), 4, np.float32))
    near(run("fill_like", values(1, 2), np.int32(4)), np.int32([4, 4]))
    near(run("range_1d", np.int32(1), np.int32(8), np.int32(3)), np.int32([1, 4, 7]))
    near(run("range_1d", np.float32(0), np.float32(1), np.float32(0.25)), np.float32([0, 0.25, 0.5, 0.75]))


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("reshape", (values(1, 6), np.array([4, -1])), "shape"),
        ("reshape", (values(1, 6), np.array([-1, -1])), "shape"),
        ("transpose", (values(1, 2, 3), np.array([0, 0])), "perm"),
        ("concat", ([values(1, 2, 3), values(1, 3, 4)], 0), "joined"),
        ("split", (values(1, 6), 0, None, np.array([4, 4])), "parts"),
        ("tile", (values(1, 6), np.array([1 << 40])), "bytes"),
        ("fill", (np.array([1 << 20, 1 << 20]),), "bytes"),
        ("pad", (values(1, 6), np.array([1 << 40, 0])), "bytes"),
        ("pad", (values(1, 6), np.array([6, 0]), "reflect"), "reflection"),
        ("range_1d", (np.float32(0), np.float32(1), np.float32(0)), "range"),
        ("range_1d", (np.int32(0), np.int32(2**31 - 1), np.int32(1)), "range"),
        ("depth_to_space", (values(1, 1, 3, 2, 2), 2), "blocks"),
    ],
)
def test_nonsense_is_refused(name: str, args: tuple[object, ...], words: str) -> None:
    with pytest.raises(OpError, match=words):
        run(name, *args)

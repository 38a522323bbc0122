"""Resizing and sampling, against TensorFlow's and by coremltools' definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.coreml.ops import OpError
from suite.coreml.ops.resize import grid
from suite.spec import Array
from tests.meta.coreml.ops.asking import Ask, near, run, some, values

_SIZE = st.tuples(st.integers(1, 9), st.integers(1, 9))


def _last(x: Array) -> Array:
    return np.moveaxis(x, 1, -1).copy()


@some
@given(size=_SIZE, wanted=_SIZE, seed=st.integers(0, 9))
def test_bilinear(tf: Ask, size: tuple[int, int], wanted: tuple[int, int], seed: int) -> None:
    x = values(seed, 2, 3, *size)
    modes = {
        "DEFAULT": (False, False), "UNALIGN_CORNERS": (False, True), "STRICT_ALIGN_CORNERS": (True, False)
    }  # fmt: skip
    for mode, (align, half) in modes.items():
        expected = tf(
            "raw_ops.ResizeBilinear",
            [],
            {"images": _last(x), "size": list(wanted), "align_corners": align, "half_pixel_centers": half},
        )
        near(run("resize_bilinear", x, *wanted, mode), np.moveaxis(expected, -1, 1))
        near(run("resize", x, np.array([0, *wanted]), 2, "LINEAR", mode), np.moveaxis(expected, -1, 1))


@some
@given(size=_SIZE, wanted=_SIZE, seed=st.integers(0, 9))
def test_nearest(tf: Ask, size: tuple[int, int], wanted: tuple[int, int], seed: int) -> None:
    x = values(seed, 1, 2, *size)
    expected = tf("image.resize", [_last(x), list(wanted)], {"method": "nearest"})
    near(run("resize_nearest_neighbor", x, *wanted), np.moveaxis(expected, -1, 1))
    near(run("resize", x, np.array(wanted), 2, "NEAREST_NEIGHBOR"), np.moveaxis(expected, -1, 1))
    factors = [np.float32((want + 1e-4) / have) for have, want in zip(size, wanted, strict=True)]
    expected = tf("raw_ops.ResizeNearestNeighbor", [], {"images": _last(x), "size": list(wanted)})
    near(run("upsample_nearest_neighbor", x, *factors), np.moveaxis(expected, -1, 1))


@pytest.mark.parametrize("mode", ["UNALIGN_CORNERS", "STRICT_ALIGN_CORNERS", "OFFSET_CORNERS"])
def test_nearest_in_a_way_that_nobody_has_seen_is_refused(mode: str) -> None:
    with pytest.raises(OpError, match=f"'{mode}': known is DEFAULT alone"):
        run("resize", values(1, 1, 1, 2, 2), np.array([3, 3]), 2, "NEAREST_NEIGHBOR", mode)


def test_upsampling() -> None:
    x = values(1, 1, 2, 3, 4)
    near(run("upsample_nearest_neighbor", x, 2, 3), x.repeat(2, 2).repeat(3, 3))
    near(run("upsample_bilinear", x, 2, 2, False), run("resize_bilinear", x, 6, 8, "UNALIGN_CORNERS"))
    near(run("upsample_bilinear", x, 2, 2, True), run("resize_bilinear", x, 6, 8, "STRICT_ALIGN_CORNERS"))
    near(run("upsample_bilinear", x, 2.5, 2.0, False, False), run("resize_bilinear", x, 7, 8, "DEFAULT"))


@pytest.mark.parametrize(
    ("mode", "want", "expected"),  # of two elements, from coremltools' documentation
    [
        ("UNALIGN_CORNERS", 5, [0, 0.1, 0.5, 0.9, 1]),
        ("STRICT_ALIGN_CORNERS", 5, [0, 0.25, 0.5, 0.75, 1]),
        ("DEFAULT", 5, [0, 0.4, 0.8, 1, 1]),
        ("OFFSET_CORNERS", 5, [0.1, 0.3, 0.5, 0.7, 0.9]),
        ("ALIGN_CORNERS", 1, [0.5]),
    ],
)
def test_grids(mode: str, want: int, expected: list[float]) -> None:
    np.testing.assert_allclose(grid(2, want, mode), expected, atol=1e-9)


@some
@given(seed=st.integers(0, 99))
def test_crop_resize(tf: Ask, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = values(seed, 2, 3, 6, 7)
    boxes = np.sort(rng.uniform(-0.1, 1.1, (4, 2, 2)), axis=1).reshape(4, 4).astype(np.float32)
    owners = np.int32([0, 1, 1, 0])
    expected = tf("image.crop_and_resize", [_last(x), boxes, owners, [3, 4]])
    options = {
        "target_height": 3, "target_width": 4, "normalized_coordinates": True,
        "sampling_mode": "STRICT_ALIGN_CORNERS",
    }  # fmt: skip
    near(
        run("crop_resize", x, boxes=boxes, box_indices=owners, **options), np.moveaxis(expected, -1, 1), 1e-4
    )
    roi = np.concatenate([owners[:, None].astype(np.float32), boxes], axis=1).reshape(4, 1, 5, 1, 1)
    near(run("crop_resize", x, roi, **options)[:, 0], np.moveaxis(expected, -1, 1), 1e-4)


def test_resampling_at_the_pixels_is_the_image() -> None:
    x = values(1, 1, 2, 3, 4)
    rows, columns = np.meshgrid(np.arange(3), np.arange(4), indexing="ij")
    places = np.stack([columns, rows], axis=-1)[None].astype(np.float32)
    for mode in ("bilinear", "nearest"):
        near(run("resample", x, places, mode, "constant", 0.0, "unnormalized", True), x)
    beyond = places + np.float32([4, 0])
    outside = {
        "constant": np.full_like(x, 5), "border": np.repeat(x[..., -1:], 4, axis=-1),
        "symmetric": x[..., ::-1], "reflection": x[..., [2, 1, 0, 1]],
    }  # fmt: skip
    for padding, expected in outside.items():
        near(run("resample", x, beyond, "nearest", padding, 5.0, "unnormalized", True), expected)
    same = np.float32([[1, 0, 0, 0, 1, 0]])
    near(
        run("affine", x, same, 3, 4, "bilinear", "constant", 0.0, "normalized_minus_one_to_one", True),
        x,
        1e-5,
    )


def test_a_box_turned_round_is_sampled_from_corner_to_corner_or_refused() -> None:
    x, box = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4), np.float32([[2, 2, 1, 1]])
    options = {"boxes": box, "target_height": 2, "target_width": 2}
    turned = run("crop_resize", x, sampling_mode="ALIGN_CORNERS", **options)
    near(turned, np.float32([10, 9, 6, 5]).reshape(1, 1, 2, 2))
    for mode in ("DEFAULT", "UNALIGN_CORNERS"):
        wide = {**options, "boxes": box * 2, "sampling_mode": mode}
        with pytest.raises(OpError, match=f"from 4 to 2 under {mode}"):
            run("crop_resize", x, **wide)


def test_nonsense_is_refused() -> None:
    with pytest.raises(OpError, match="bytes"):
        run("resize_bilinear", values(1, 1, 1, 2, 2), 1 << 20, 1 << 20)
    with pytest.raises(OpError, match="sampling_mode"):
        run("resize_bilinear", values(1, 1, 1, 2, 2), 3, 3, "SOMEHOW")
    with pytest.raises(OpError, match="resized"):
        run("resize_nearest_neighbor", values(1, 1, 1, 2, 2), 0, 3)

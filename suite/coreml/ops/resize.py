"""Resizing, sampling and cropping of images, along each axis on its own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from suite.coreml.ops.registry import OpError, integer, integers, op, real, room
from suite.spec import Array

_MODES = ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS")


def grid(have: int, want: int, mode: str) -> Array:
    """Where each of `want` samples lies among `have` elements, float64 (want,)."""
    places = np.arange(want, dtype=np.float64)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if want == 1:
            return np.array([(have - 1) / 2 if mode == "ALIGN_CORNERS" else 0.0])
        found = places * ((have - 1) / (want - 1))
    elif mode == "DEFAULT":
        found = places * (have / want)
    elif mode == "OFFSET_CORNERS":
        delta = max(1, have - 1) / want
        found = 0.5 * delta + places * delta
    elif mode == "UNALIGN_CORNERS":
        found = (places + 0.5) * (have / want) - 0.5
    else:
        raise OpError(f"sampling_mode is {mode!r}: known are {', '.join(_MODES)}")
    return np.asarray(np.clip(found, 0, have - 1))


def interpolated(x: Array, axis: int, places: Array) -> Array:
    """Values between the two neighbours of each place along an axis."""
    low = np.floor(places).astype(np.int64)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    share = (places - low).astype(np.float32)
    share = share.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    left, right = np.take(x, low, axis), np.take(x, high, axis)
    return np.asarray(left + (right - left) * share)


def _linear(x: Array, sizes: dict[int, int], mode: str) -> Array:
    _checked(x, sizes)
    for axis, want in sizes.items():
        x = interpolated(x, axis, grid(x.shape[axis], want, mode))
    return x


def _checked(x: Array, sizes: dict[int, int]) -> None:
    if any(want < 1 or x.shape[axis] < 1 for axis, want in sizes.items()):
        raise OpError(f"{x.shape} cannot be resized to {sizes}")
    room(sizes.get(i, size) for i, size in enumerate(x.shape))


def _nearest(x: Array, sizes: dict[int, int], *, centred: bool) -> Array:
    """The element that the sample's centre falls into, or else its left edge."""
    _checked(x, sizes)
    for axis, want in sizes.items():
        x = np.take(x, (2 * np.arange(want) + centred) * x.shape[axis] // (2 * want), axis)
    return x


def _spatial(x: Array, height: Any, width: Any) -> dict[int, int]:
    if x.ndim < 3:
        raise OpError(f"an image of rank {x.ndim}")
    return {x.ndim - 2: integer(height), x.ndim - 1: integer(width)}


def _scaled(x: Array, height: Any, width: Any) -> dict[int, int]:
    factors = real(height), real(width)
    if x.ndim < 3 or not all(math.isfinite(factor) and factor > 0 for factor in factors):
        raise OpError(f"scales of {factors} for a tensor of rank {x.ndim}")
    return _spatial(
        x, *(math.floor(size * np.float32(by)) for size, by in zip(x.shape[-2:], factors, strict=True))
    )


@op("upsample_nearest_neighbor", exact=True)
def upsample_nearest_neighbor(x: Array, scale_factor_height: Any = 1, scale_factor_width: Any = 1) -> Array:
    """Larger by factors, each pixel repeated."""
    return _nearest(x, _scaled(x, scale_factor_height, scale_factor_width), centred=False)


@op("resize_nearest_neighbor", exact=True)
def resize_nearest_neighbor(x: Array, target_size_height: Any, target_size_width: Any) -> Array:
    """To a size, each pixel from the nearest."""
    return _nearest(x, _spatial(x, target_size_height, target_size_width), centred=True)


@op("upsample_bilinear")
def upsample_bilinear(
    x: Array,
    scale_factor_height: Any = 1,
    scale_factor_width: Any = 1,
    align_corners: Any = True,
    half_pixel_centers: Any = None,
) -> Array:
    """Larger by factors, between neighbours."""
    half = not align_corners if half_pixel_centers is None else bool(half_pixel_centers)
    if align_corners and half:
        raise OpError("align_corners together with half_pixel_centers")
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if half else "DEFAULT"
    return _linear(x, _scaled(x, scale_factor_height, scale_factor_width), mode)


@op("resize_bilinear")
def resize_bilinear(
    x: Array, target_size_height: Any = 1, target_size_width: Any = 1, sampling_mode: str = "DEFAULT"
) -> Array:
    """To a size, between neighbours."""
    return _linear(x, _spatial(x, target_size_height, target_size_width), sampling_mode)


@op("resize")
def resize(
    x: Array,
    shape: Array,
    resized_dims: Any,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Array:
    """The last axes to the last sizes of `shape`; 0 keeps a size."""
    count, wanted = int(resized_dims), integers(shape)
    if not 0 <= count <= min(len(wanted), x.ndim):
        raise OpError(f"{count} axes to {wanted} of a tensor of rank {x.ndim}")
    axes = range(x.ndim - count, x.ndim)
    sizes = {
        axis: want or x.shape[axis] for axis, want in zip(axes, wanted[len(wanted) - count :], strict=True)
    }
    if interpolation_mode == "LINEAR":
        return _linear(x, sizes, sampling_mode).astype(x.dtype, copy=False)
    if interpolation_mode == "NEAREST_NEIGHBOR":
        if sampling_mode != "DEFAULT":
            raise OpError(f"nearest neighbours by {sampling_mode!r}: known is DEFAULT alone")
        return _nearest(x, sizes, centred=True)
    raise OpError(f"interpolation_mode is {interpolation_mode!r}: known are LINEAR, NEAREST_NEIGHBOR")


@op("crop_resize")
def crop_resize(
    x: Array,
    roi: Array | None = None,
    boxes: Array | None = None,
    box_indices: Array | None = None,
    target_height: Any = 1,
    target_width: Any = 1,
    normalized_coordinates: Any = False,
    spatial_scale: Any = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: Any = 0.0,
) -> Array:
    """Boxes of images, each resized: `roi` (iOS15, iOS16) or `boxes` with `box_indices` (from iOS17)."""
    if x.ndim != 4 or (roi is None) == (boxes is None):
        raise OpError(f"boxes in a tensor of rank {x.ndim}")
    size = integer(target_height), integer(target_width)
    if min(size) < 1:
        raise OpError(f"boxes resized to {size}")
    if boxes is not None:
        places = range(len(boxes)) if box_indices is None else integers(box_indices)
        corners, owners = np.asarray(boxes), [[place] for place in places]
    elif roi is not None:
        flat = np.reshape(roi, (np.shape(roi)[0], -1))
        if flat.shape[1] not in (4, 5):
            raise OpError(f"boxes of {np.shape(roi)}")
        corners = flat[:, -4:]
        owners = [[int(row[0])] if flat.shape[1] == 5 else list(range(len(x))) for row in flat]
    if corners.ndim != 2 or corners.shape[1] != 4 or len(owners) != len(corners):
        raise OpError(f"boxes of {corners.shape} for {len(owners)} images")
    if any(not 0 <= owner < len(x) for some in owners for owner in some):
        raise OpError(f"a box of an image beyond the {len(x)}")
    room((sum(map(len, owners)), x.shape[1], *size))
    edges = _corners(corners.astype(np.float64) * real(spatial_scale), box_coordinate_mode)
    if normalized_coordinates:
        edges = edges * np.tile([x.shape[2] - 1, x.shape[3] - 1], 2)
    cut = [
        np.stack([_cut(x[owner], edge, size, sampling_mode, real(pad_value)) for owner in some])
        for some, edge in zip(owners, edges, strict=True)
    ]
    if boxes is not None:
        return np.concatenate(cut) if cut else np.empty((0, x.shape[1], *size), np.float32)
    return np.stack(cut) if cut else np.empty((0, len(x), x.shape[1], *size), np.float32)


def _corners(boxes: Array, mode: str) -> Array:
    """(top, left, bottom, right) of each."""
    if mode.endswith("_WIDTH_FIRST"):
        boxes = boxes[:, [1, 0, 3, 2]]
    elif not mode.endswith("_HEIGHT_FIRST"):
        raise OpError(f"box_coordinate_mode is {mode!r}")
    if mode.startswith("CENTER_SIZE"):
        half = boxes[:, 2:] / 2
        return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
    if not mode.startswith("CORNERS"):
        raise OpError(f"box_coordinate_mode is {mode!r}")
    return boxes


def _cut(image: Array, box: Array, size: tuple[int, int], mode: str, outside: float) -> Array:
    """One box of (c, h, w); places beyond the image have the value of `outside`."""
    answer, inside = image, np.ones((), bool)
    for axis in (1, 2):
        start, end, want, have = float(box[axis - 1]), float(box[axis + 1]), size[axis - 1], image.shape[axis]
        if not (math.isfinite(start) and math.isfinite(end)):
            raise OpError(f"a box of {box}")
        places = _box_grid(start, end, want, mode)
        within = (places >= 0) & (places <= have - 1)
        inside = inside & (within[:, None] if axis == 1 else within[None])
        answer = interpolated(answer, axis, np.clip(places, 0, have - 1))
    return np.asarray(np.where(inside, answer, np.float32(outside)))


def _box_grid(start: float, end: float, want: int, mode: str) -> Array:
    places = np.arange(want, dtype=np.float64)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if want == 1:
            return np.array([start if mode == "STRICT_ALIGN_CORNERS" else (start + end) / 2])
        return start + places * ((end - start) / (want - 1))
    have = end - start + 1
    if have < 1 and mode in ("DEFAULT", "UNALIGN_CORNERS"):
        raise OpError(f"a box from {start:g} to {end:g} under {mode}: what Core ML makes of it is not known")
    if mode == "DEFAULT":
        return start + places * (have / want)
    if mode == "OFFSET_CORNERS":
        return start + (places + 0.5) * ((end - start) / want)
    if mode == "UNALIGN_CORNERS":
        return start + np.clip((places + 0.5) * (have / want) - 0.5, 0, have - 1)
    raise OpError(f"sampling_mode is {mode!r}: known are {', '.join(_MODES)}")


@op("affine")
def affine(
    x: Array,
    transform_matrix: Array,
    output_height: Any,
    output_width: Any,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Any,
    coordinates_mode: str,
    align_corners: Any,
) -> Array:
    """Each image seen through an affine map of its coordinates."""
    if coordinates_mode != "normalized_minus_one_to_one" or x.ndim != 4:
        raise OpError(f"coordinates_mode is {coordinates_mode!r} for a tensor of rank {x.ndim}")
    height, width = integer(output_height), integer(output_width)
    if min(height, width) < 1 or transform_matrix.ndim != 2 or transform_matrix.shape[1] != 6:
        raise OpError(f"maps of {transform_matrix.shape} to {height}x{width}")
    room((*x.shape[:2], height, width))
    rows, columns = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    points = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    maps = np.broadcast_to(transform_matrix, (len(x), 6)).reshape(-1, 2, 3).astype(np.float64)
    where = np.einsum("hwk,bjk->bhwj", points, maps)
    answer: Array = resample(
        x, where, sampling_mode, padding_mode, padding_value, coordinates_mode, align_corners
    )
    return answer


@op("resample")
def resample(
    x: Array,
    coordinates: Array,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Any,
    coordinates_mode: str,
    align_corners: Any,
) -> Array:
    """Each image at places (x, y) of its own."""
    if x.ndim != 4 or coordinates.ndim != 4 or coordinates.shape[-1] != 2 or len(coordinates) != len(x):
        raise OpError(f"places of {coordinates.shape} in a tensor of {x.shape}")
    room((*x.shape[:2], *coordinates.shape[1:3]))
    across = _place(coordinates[..., 0], x.shape[3], coordinates_mode, bool(align_corners))
    down = _place(coordinates[..., 1], x.shape[2], coordinates_mode, bool(align_corners))
    if sampling_mode == "nearest":
        half_up = np.floor(down + 0.5), np.floor(across + 0.5)
        return _picked(x, *half_up, padding_mode, padding_value)
    if sampling_mode != "bilinear":
        raise OpError(f"sampling_mode is {sampling_mode!r}: known are bilinear, nearest")
    top, left = np.floor(down), np.floor(across)
    low, side = (down - top)[:, None].astype(np.float32), (across - left)[:, None].astype(np.float32)
    corners = [_picked(x, top + i, left + j, padding_mode, padding_value) for i in (0, 1) for j in (0, 1)]
    upper = corners[0] + (corners[1] - corners[0]) * side
    lower = corners[2] + (corners[3] - corners[2]) * side
    return np.asarray(upper + (lower - upper) * low)


def _place(values: Array, size: int, mode: str, align: bool) -> Array:
    """In pixels from the centre of the first."""
    real = values.astype(np.float64)
    if not np.isfinite(real).all():
        raise OpError("a place that is no number")
    if mode == "unnormalized":
        return real
    if mode == "normalized_minus_one_to_one":
        real = (real + 1) / 2
    elif mode != "normalized_zero_to_one":
        raise OpError(f"coordinates_mode is {mode!r}")
    return real * (size - 1) if align else real * size - 0.5


def _picked(x: Array, rows: Array, columns: Array, mode: str, value: Any) -> Array:
    """Pixels (n, c, h, w) at whole places, those beyond the image by the padding."""
    inside = np.ones(rows.shape, bool)
    found = []
    for places, size in ((rows, x.shape[2]), (columns, x.shape[3])):
        if mode == "constant":
            inside &= (places >= 0) & (places < size)
            places = np.clip(places, 0, size - 1)
        elif mode == "border":
            places = np.clip(places, 0, size - 1)
        elif mode == "reflection":
            period = max(1, 2 * (size - 1))
            places = np.abs(np.mod(places + size - 1, period) - (size - 1)) if size > 1 else places * 0
        elif mode == "symmetric":
            around = np.mod(places, 2 * size)
            places = np.where(around < size, around, 2 * size - 1 - around)
        else:
            raise OpError(f"padding_mode is {mode!r}: known are constant, border, reflection, symmetric")
        found.append(places.astype(np.int64))
    batch = np.arange(len(x))[:, None, None]
    pixels = np.moveaxis(x, 1, -1)[batch, found[0], found[1]]
    if mode == "constant":
        pixels = np.where(inside[..., None], pixels, np.float32(value))
    return np.moveaxis(pixels, -1, 1)

"""Weights that coremltools compressed: evaluated to the bit as what coremltools itself unpacks them to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.coreml.evaluator import Evaluator
from suite.coreml.saved import open_saved
from suite.record import Stage
from suite.runtimes import Pool
from tests.meta.coreml.conftest import Fixture

COMPRESSED = "tests.meta.coreml.reference:compressed"
# Name -> (deployment target, how, options, the operator that unpacks).
WAYS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "int8": ("iOS16", "linear", {"mode": "linear_symmetric", "dtype": "int8"}, "constexpr_affine_dequantize"),
    "uint8, shifted": (
        "iOS16",
        "linear",
        {"mode": "linear", "dtype": "uint8"},
        "constexpr_affine_dequantize",
    ),
    "int4 by block": (
        "iOS18",
        "linear",
        {"mode": "linear_symmetric", "dtype": "int4", "granularity": "per_block", "block_size": 4},
        "constexpr_blockwise_shift_scale",
    ),
    "int8 by tensor, shifted": (
        "iOS18",
        "linear",
        {"mode": "linear", "dtype": "int8", "granularity": "per_tensor"},
        "constexpr_blockwise_shift_scale",
    ),
    **{
        f"palette of {bits} bits": (
            "iOS16",
            "palette",
            {"mode": "kmeans" if bits < 8 else "uniform", "nbits": bits},
            "constexpr_lut_to_dense",
        )
        for bits in (1, 2, 4, 6, 8)
    },
    "palettes by group": (
        "iOS18",
        "palette",
        {"mode": "kmeans", "nbits": 4, "granularity": "per_grouped_channel", "group_size": 4},
        "constexpr_lut_to_dense",
    ),
    "half of them zero": ("iOS16", "prune", {"target_sparsity": 0.5}, "constexpr_sparse_to_dense"),
    "sparse on iOS18": ("iOS18", "prune", {"target_sparsity": 0.7}, "constexpr_sparse_to_dense"),
}


@pytest.fixture(scope="module")
def feed() -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(3).integers(0, 256, (20, 24, 3)).astype(np.uint8)}


@pytest.mark.parametrize(
    ("way", "variant"),
    [
        *((way, "mlprogram_float16") for way in WAYS),
        *((way, "mlprogram_float32") for way in ("int8", "palette of 4 bits", "half of them zero")),
    ],
)
def test_equal_to_what_coremltools_unpacks(
    photo: Callable[[str], Fixture],
    tensorflow: Pool,
    tmp_path: Path,
    feed: dict[str, np.ndarray],
    way: str,
    variant: str,
) -> None:
    target, how, options, operator = WAYS[way]
    path, _ = photo("tf").convert(variant, deployment_target=target)
    packed = tmp_path / "packed.mlpackage"
    plain = tensorflow.worker("operators").call(
        COMPRESSED, path, packed, how, options, stage=Stage.RUN, timeout=300
    )
    kinds = [one.type for one in open_saved(packed).operations()]
    assert kinds.count(operator) >= 2
    assert not any(one.type.startswith("constexpr") for one in open_saved(Path(plain)).operations())
    ours, theirs = (Evaluator.open(Path(one)).intermediates(feed) for one in (packed, plain))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)
    good = Evaluator.open(path).intermediates(feed)
    assert any(not np.array_equal(value, good[name]) for name, value in ours.items())  # it is compressed

"""Reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from suite.coreml.layers.registry import Layer, layer, operator
from suite.coreml.ops.registry import integers


def _reduction(name: str) -> Callable[[Any], Layer]:
    return lambda p: lambda x: operator(name)(x, None if p.reduceAll else integers(p.axes), p.keepDims)


for _kind, _name in (
    ("L1", "l1_norm"), ("L2", "l2_norm"), ("Max", "max"), ("Min", "min"), ("Sum", "sum"), ("Prod", "prod"),
    ("Mean", "mean"), ("LogSum", "log_sum"), ("SumSquare", "sum_square"), ("LogSumExp", "log_sum_exp"),
):  # fmt: skip
    layer(f"reduce{_kind}")(_reduction(f"reduce_{_name}"))


@layer("reduce")
def _reduce(p: Any) -> Layer:
    names = ("sum", "mean", "prod", "sum", "sum_square", "l1_norm", "l2_norm", "max", "min")
    if p.mode >= len(names):
        return lambda x: operator("reduce_argmax")(x, {2: -3, 3: -2, 4: -1}[p.axis], True)
    axes = ([-3, -2, -1], [-2, -1], [-3], [-2], [-1])[p.axis]
    reduced = operator(f"reduce_{names[p.mode]}")
    if p.mode == 3:  # the sum of logarithms, not the logarithm of the sum
        logarithm, epsilon = operator("log"), float(p.epsilon) or 1e-6
        return lambda x: reduced(logarithm(x, epsilon), axes, True)
    return lambda x: reduced(x, axes, True)

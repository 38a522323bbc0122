"""Every operator of the evaluator, by family. A new one is one function in the file of its family."""

from suite.coreml.ops import (
    activation,
    classify,
    constexpr,
    conv,
    elementwise,
    gather,
    linear,
    lists,
    norm,
    pool,
    recurrent,
    reduction,
    resize,
    shape,
    slicing,
)
from suite.coreml.ops.registry import LARGEST_BYTES, Op, OpError, get, names, room

__all__ = [
    "LARGEST_BYTES",
    "Op",
    "OpError",
    "activation",
    "classify",
    "constexpr",
    "conv",
    "elementwise",
    "gather",
    "get",
    "linear",
    "lists",
    "names",
    "norm",
    "pool",
    "recurrent",
    "reduction",
    "resize",
    "room",
    "shape",
    "slicing",
]

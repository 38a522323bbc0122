"""What a program will take, by what it declares: refused before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from suite.coreml.ops.budget import ELEMENT_WORK, Budget, TooMuch
from suite.coreml.ops.elementwise import HELD
from suite.coreml.plan import Block, Branch, Step, failure
from suite.coreml.saved import Declared
from suite.errors import CaseError
from suite.record import Stage

_POOLS = ("max_pool", "avg_pool", "l2_pool")
Types = Mapping[str, Declared | None]


def check(block: Block, types: Types, constants: Mapping[str, Any]) -> Budget:
    """Go through one pass, with one turn of each loop; sizes that are free count as one.

    Answers what it takes in all. Raises CaseError, which names the operation,
    where values that are needed at one time or the work are beyond any phone.
    """
    budget = Budget()
    _pass(block, types, constants, budget)
    return budget


def _pass(block: Block, types: Types, constants: Mapping[str, Any], budget: Budget) -> None:
    for step in block.steps:
        if isinstance(step, Branch):
            for inner in step.blocks:
                _pass(inner, types, constants, budget)
        try:
            if isinstance(step, Step):
                budget.spend(_work(step, types, constants))
            for name, declared in step.outputs:
                budget.hold(name, _bytes(declared))
        except TooMuch as error:
            raise CaseError(str(failure(step, str(error))), stage=Stage.LOAD) from error
        for name in step.frees:
            budget.free(name)


def _bytes(declared: Declared | None) -> int:
    if declared is None or declared.dtype not in HELD:
        return 0
    return _count(declared.shape) * np.dtype(HELD[declared.dtype]).itemsize


def _count(shape: tuple[int, ...]) -> int:
    return math.prod(1 if size < 0 else size for size in shape)


def _work(step: Step, types: Types, constants: Mapping[str, Any]) -> float:
    """Multiply-adds, as `suite.coreml.ops` counts them."""
    made = step.outputs[0][1] if step.outputs else None
    answer = _count(made.shape) if made else 0

    def shape(argument: str) -> tuple[int, ...]:
        source = step.sources.get(argument)
        if isinstance(source, str):
            declared = types.get(source)
            return declared.shape if declared else np.shape(constants.get(source, ()))
        return np.shape(step.constants.get(argument, ()))

    if step.kind == "conv":
        return answer * _count(shape("weight")[1:])
    if step.kind == "conv_transpose":
        return _count(shape("x")) * _count(shape("weight")[1:])
    if step.kind == "linear":
        return answer * _count(shape("weight")[-1:])
    if step.kind == "matmul":
        x = shape("x")
        inner = x[-2:-1] if np.any(step.constants.get("transpose_x", False)) else x[-1:]
        return answer * _count(inner)
    if step.kind in _POOLS:
        return answer * math.prod(map(float, np.reshape(step.constants.get("kernel_sizes", 1), -1)))
    return answer * ELEMENT_WORK

"""Batch normalisations as coremltools puts them together, with the gain that the model has.

Keras' batch normalisation reaches coremltools as a product and a sum. Its pass
makes a `batch_norm` of them, with mean 0 and variance 1, and leaves epsilon at
the default of 1e-5: every gain comes out five millionths too small, in the
program and in kernels that the normalisation is folded into later. Layer upon
layer that is a thousand times what float32 rounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

_THEIRS = "common::fuse_elementwise_to_batchnorm"
_NAMESPACE, _NAME = "pocketproof", "fuse_elementwise_to_batchnorm"
_OURS = f"{_NAMESPACE}::{_NAME}"


def pipeline() -> Any:
    """coremltools' default passes, with that one replaced by one that keeps the gain."""
    import coremltools as ct

    _register()
    found = ct.PassPipeline.DEFAULT
    found.passes = [_OURS if name == _THEIRS else name for name in found.passes]
    return found


def _register() -> None:
    from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY, register_pass

    if _OURS in PASS_REGISTRY:
        return

    class Exact(type(PASS_REGISTRY[_THEIRS])):  # type: ignore[misc]
        def apply(self, prog: Any) -> None:
            own = set(_norms(prog))  # the model's, whose epsilon counts
            super().apply(prog)
            for norm in _norms(prog):
                if norm not in own:
                    _take_epsilon_off(norm)

    register_pass(namespace=_NAMESPACE, name=_NAME)(Exact)


def _norms(program: Any) -> list[Any]:
    return [
        operation
        for function in program.functions.values()
        for operation in _operations(function)
        if operation.op_type == "batch_norm"
    ]


def _operations(block: Any) -> Iterator[Any]:
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:
            yield from _operations(inner)


def _take_epsilon_off(norm: Any) -> None:
    """Give a fused normalisation the variance that its epsilon makes 1."""
    from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as all of coremltools calls it

    block, [old] = norm.enclosing_block, norm.outputs
    variance = norm.variance.val.astype(np.float64) - norm.epsilon.val
    with block:
        new = mb.batch_norm(
            x=norm.x,
            mean=norm.mean.val,
            variance=variance.astype(norm.variance.val.dtype),
            gamma=norm.gamma.val,
            beta=norm.beta.val,
            epsilon=norm.epsilon.val,
            name=old.name,
            before_op=norm,
        )
        block.replace_uses_of_var_after_op(anchor_op=norm, old_var=old, new_var=new)
        block.remove_ops([norm])

"""LiteRT (`ai-edge-litert`): the runtime that new apps ship."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from suite.runtimes.interpreter import InterpreterSession


def open_session(path: Path, threads: int, kernels: str) -> InterpreterSession:
    """Open a .tflite file; `kernels` is "xnnpack" (the default of apps), "builtin" or "reference"."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = {
        "xnnpack": OpResolverType.AUTO,
        "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        "reference": OpResolverType.BUILTIN_REF,
    }[kernels]
    return InterpreterSession(partial(Interpreter, experimental_op_resolver_type=resolver), path, threads)

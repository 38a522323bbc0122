"""`tflite-runtime` 2.14: what older apps ship."""

from __future__ import annotations

from pathlib import Path

from suite.runtimes.interpreter import InterpreterSession


def open_session(path: Path, threads: int) -> InterpreterSession:
    """Open a .tflite file."""
    from tflite_runtime.interpreter import Interpreter

    return InterpreterSession(Interpreter, path, threads)

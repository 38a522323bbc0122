"""`tf.lite`: the interpreter inside TensorFlow, which most notebooks check their artifacts with."""

from __future__ import annotations

import warnings
from pathlib import Path

from suite.runtimes.interpreter import InterpreterSession


def open_session(path: Path, threads: int) -> InterpreterSession:
    """Open a .tflite file."""
    import tensorflow as tf

    warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated.*")
    return InterpreterSession(tf.lite.Interpreter, path, threads)

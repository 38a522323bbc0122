"""What every activation of a float32 .tflite file reaches over some samples; runs in LiteRT's worker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from suite.runtimes.base import Feed, load_feed, match
from suite.runtimes.litert import open_session
from suite.spec import Array


def measure(path: Path, places: Mapping[str, int], count: int, threads: int, feed: Feed) -> Array:
    """(count, 2), the lowest and highest value of each tensor; infinite where it was not seen.

    `places` are indices by name, of the inputs and outputs of the file at `path`.
    """
    found = np.tile(np.array([np.inf, -np.inf]), (count, 1))
    session = open_session(path, threads, "xnnpack")
    try:
        arrays = match(load_feed(feed), session.inputs)
        for row in range(len(next(iter(arrays.values())))):
            sample = {name: array[row : row + 1] for name, array in arrays.items()}
            for name, values in {**sample, **session.run(sample)}.items():
                _widen(found, places[name], values)
    finally:
        session.close()
    return found


def _widen(found: Array, index: int, values: Array) -> None:
    if values.size:
        found[index] = min(found[index, 0], values.min()), max(found[index, 1], values.max())

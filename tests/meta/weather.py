"""Latencies as a shared machine gives them: neighbours in time resemble each other, and some are spoiled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter


def latencies(random: np.random.Generator, count: int, p50_ns: float = 1e7) -> npt.NDArray[np.float64]:
    """Consecutive inferences of one model.

    Four kinds of noise, on a logarithmic scale: a slow drift (AR(1), 0.995),
    steps of the clock (4 or 10 %, for some hundred inferences), a busy
    neighbour (10 to 80 %, for some dozen), and of each sample its own (2 %,
    and 2 in 100 much more).
    """
    drift = lfilter([1.0], [1.0, -0.995], random.normal(0, 0.004, count))
    clock = _stretches(random, count, pause=0, length=120, heights=(0.0, 0.0, 0.04, 0.10))
    neighbour = _stretches(random, count, pause=400, length=25, heights=(0.1, 0.3, 0.5, 0.8))
    own = random.normal(0, 0.02, count)
    spoiled = np.where(random.random(count) < 0.02, random.exponential(0.5, count), 0.0)
    return p50_ns * np.exp(drift + clock + neighbour + own + spoiled)  # type: ignore[no-any-return]


def _stretches(
    random: np.random.Generator, count: int, *, pause: float, length: float, heights: tuple[float, ...]
) -> npt.NDArray[np.float64]:
    values = np.zeros(count)
    start = int(random.exponential(pause)) if pause else 0
    while start < count:
        end = start + 1 + int(random.exponential(length))
        values[start:end] = random.choice(heights)
        start = end + (int(random.exponential(pause)) if pause else 0)
    return values

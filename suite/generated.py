"""Generated inputs: the corners that real photos do not reach, drawn by Hypothesis, the same at every run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock

import msgspec
import numpy as np
import numpy.typing as npt

from suite.cache import default_cache, sha256_file

Pixels = npt.NDArray[np.uint8]

COUNT = 32

_FILE = "patterns.json"


@dataclass(frozen=True, slots=True)
class Pattern:
    """One generated photo, by its recipe; levels are pixel values 0..255."""

    kind: str
    low: tuple[int, int, int] = (0, 0, 0)
    high: tuple[int, int, int] = (255, 255, 255)
    period: int = 2  # of a checkerboard, pixels
    position: tuple[float, float] = (0.5, 0.5)  # of the hot pixel, as fractions of height and width
    seed: int = 0  # of noise

    def __str__(self) -> str:
        details = {
            "constant": f"level {self.low}",
            "one_hot": f"{self.high} at {self.position[0]:.2f}, {self.position[1]:.2f} on {self.low}",
            "checkerboard": f"period {self.period}, {self.low} and {self.high}",
            "noise": f"uniform {self.low} to {self.high}, seed {self.seed}",
        }
        return f"{self.kind} ({details[self.kind]})"

    def render(self, height: int, width: int) -> Pixels:
        """Return the (height, width, 3) uint8 photo."""
        low, high = np.array(self.low, np.uint8), np.array(self.high, np.uint8)
        photo = np.broadcast_to(low, (height, width, 3)).copy()
        if self.kind == "one_hot":
            photo[int(self.position[0] * (height - 1)), int(self.position[1] * (width - 1))] = high
        elif self.kind == "checkerboard":
            rows, columns = np.indices((height, width)) // self.period
            photo[(rows + columns) % 2 == 1] = high
        elif self.kind == "noise":
            floor, ceiling = np.minimum(low, high).astype(int), np.maximum(low, high).astype(int)
            photo[:] = np.random.default_rng(self.seed).integers(floor, ceiling + 1, photo.shape)
        return photo


# Always there, whatever Hypothesis draws.
CORNERS = (
    Pattern("constant", low=(0, 0, 0)),
    Pattern("constant", low=(255, 255, 255)),
    Pattern("constant", low=(128, 128, 128)),
    Pattern("constant", low=(255, 0, 0)),
    Pattern("one_hot"),
    Pattern("one_hot", position=(0.0, 0.0)),
    Pattern("one_hot", low=(255, 255, 255), high=(0, 0, 0), position=(1.0, 1.0)),
    Pattern("checkerboard", period=1),
    Pattern("checkerboard", period=16),
    Pattern("noise"),
)


_drawing = Lock()  # Hypothesis parses source, which two threads of Python 3.11 cannot do at once


@lru_cache(maxsize=4)
def patterns(count: int = COUNT, seed: int = 0) -> tuple[Pattern, ...]:
    """The corners and what Hypothesis draws, without repeats; the same for a seed, to be cached.

    They are drawn once: to import Hypothesis takes longer than to check a small model.
    """

    def draw(folder: Path) -> None:
        with _drawing:
            drawn = _draw(count, seed)
        (folder / _FILE).write_bytes(msgspec.json.encode(drawn))

    key = {
        "count": count,
        "seed": seed,
        "hypothesis": version("hypothesis"),
        "code": sha256_file(Path(__file__)),
    }
    stored = (default_cache().get_or_build("patterns", key, draw) / _FILE).read_bytes()
    return msgspec.json.decode(stored, type=tuple[Pattern, ...])


def _draw(count: int, seed: int) -> tuple[Pattern, ...]:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st

    # Hypothesis also draws floats, and integers from 100 up, that it finds in whichever modules are
    # loaded: from smaller integers alone, every process draws the same.
    nibble = st.integers(0, 15)
    level = st.builds(lambda high, low: 16 * high + low, nibble, nibble)
    colour = st.tuples(level, level, level)
    fraction = st.integers(0, 50).map(lambda value: value / 50)
    strategy = st.builds(
        Pattern,
        kind=st.sampled_from(["constant", "one_hot", "checkerboard", "noise"]),
        low=colour,
        high=colour,
        period=st.sampled_from([1, 2, 3, 4, 7, 8, 16, 32]),
        position=st.tuples(fraction, fraction),
        seed=st.integers(0, 99),
    ).filter(lambda pattern: pattern.kind == "constant" or pattern.low != pattern.high)
    drawn: list[Pattern] = []

    @settings(
        derandomize=not seed,
        max_examples=4 * count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(pattern: Pattern) -> None:
        drawn.append(pattern)

    (seeded(seed)(draw) if seed else draw)()
    # By its description: two photos of one level are one, whatever their unused fields hold.
    distinct: dict[str, Pattern] = {}
    for pattern in (*CORNERS, *drawn):
        distinct.setdefault(str(pattern), pattern)
    return tuple(distinct.values())[:count]


def photos(height: int, width: int, count: int = COUNT, seed: int = 0) -> Pixels:
    """The patterns as (count, height, width, 3) uint8 photos."""
    return np.stack([pattern.render(height, width) for pattern in patterns(count, seed)])

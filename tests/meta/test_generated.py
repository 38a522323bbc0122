"""Generated photos: the corners of the input space, the same in every process."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from suite import generated
from suite.generated import CORNERS, COUNT, Pattern, patterns, photos

PRINT = """
import hashlib, sys
sys.path.insert(0, ".")
for name in sys.argv[1:]:
    __import__(name)
from suite.generated import photos
print(hashlib.sha256(photos(16, 16).tobytes()).hexdigest())
"""


def test_every_kind_is_there_and_the_corners_come_first() -> None:
    assert {pattern.kind for pattern in patterns()} == {"constant", "one_hot", "checkerboard", "noise"}
    assert patterns()[: len(CORNERS)] == CORNERS
    assert len(patterns()) == COUNT > len(CORNERS)


def test_no_photo_is_there_twice() -> None:
    assert len({str(pattern) for pattern in patterns()}) == COUNT
    assert len({photo.tobytes() for photo in photos(224, 224)}) == COUNT


def test_photos_are_pixels_and_reach_both_ends() -> None:
    made = photos(20, 30)
    assert (made.shape, made.dtype) == ((COUNT, 20, 30, 3), np.uint8)
    assert (made.min(), made.max()) == (0, 255)


def test_every_process_draws_the_same_whatever_it_has_loaded(
    script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    # Hypothesis mixes in constants that it finds in the modules of the user.
    numbers = ", ".join(str(number) for number in range(100, 256))
    (tmp_path / "constants.py").write_text(f"LEVELS = [{numbers}]\nPARTS = [0.11, 0.37, 0.73]\n")
    # Each draws for itself, into a cache of its own.
    answers = {
        script(PRINT, *modules, POCKETPROOF_CACHE=str(tmp_path / f"cache{len(modules)}")).stdout
        for modules in ((), ("constants", "suite.api"))
    }
    assert len(answers) == 1
    assert len(answers.pop().strip()) == 64


def test_they_are_drawn_once_and_then_read(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = patterns()
    generated.patterns.cache_clear()
    monkeypatch.setattr(generated, "_draw", None)
    assert patterns() == drawn


def test_a_constant_is_one_level() -> None:
    photo = Pattern("constant", low=(1, 2, 3)).render(4, 5)
    np.testing.assert_array_equal(photo, np.broadcast_to([1, 2, 3], (4, 5, 3)))


@pytest.mark.parametrize(
    ("position", "place"), [((0.0, 0.0), (0, 0)), ((1.0, 1.0), (3, 4)), ((0.5, 0.5), (1, 2))]
)
def test_one_pixel_is_hot(position: tuple[float, float], place: tuple[int, int]) -> None:
    photo = Pattern("one_hot", position=position).render(4, 5)
    assert np.argwhere(photo.any(axis=2)).tolist() == [list(place)]


def test_a_checkerboard_alternates_in_both_directions() -> None:
    board = Pattern("checkerboard", period=2).render(4, 6)[..., 0] // 255
    np.testing.assert_array_equal(board, [[0, 0, 1, 1, 0, 0]] * 2 + [[1, 1, 0, 0, 1, 1]] * 2)


def test_noise_stays_between_its_levels_whichever_is_lower() -> None:
    noise = Pattern("noise", low=(10, 200, 5), high=(20, 100, 6), seed=3).render(40, 40)
    np.testing.assert_array_equal(noise.min(axis=(0, 1)), [10, 100, 5])
    np.testing.assert_array_equal(noise.max(axis=(0, 1)), [20, 200, 6])
    again = Pattern("noise", low=(10, 200, 5), high=(20, 100, 6), seed=3).render(40, 40)
    np.testing.assert_array_equal(noise, again)


@pytest.mark.parametrize("pattern", CORNERS, ids=str)
def test_a_pattern_names_its_recipe(pattern: Pattern) -> None:
    assert str(pattern).startswith(f"{pattern.kind} (")


def test_threads_that_draw_at_once_draw_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETPROOF_CACHE", str(tmp_path))
    generated.patterns.cache_clear()
    with ThreadPoolExecutor(4) as threads:
        drawn = list(threads.map(lambda seed: generated.patterns(seed=seed), [3, 4, 3, 4] * 3))
    assert len(set(drawn)) == 2

"""How many samples the evaluator answers: all that it is quick on, else the fewest that parity rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from suite import checks, generated, lab
from suite.cache import Cache
from suite.discovery import load_fixture
from suite.matrix import Case
from suite.spec import VARIANTS, Target
from suite.thresholds import Thresholds
from tests.meta.coreml.conftest import Fixture


@pytest.mark.parametrize(
    ("gmacs", "patience", "real", "made"),
    [
        (0.0, 1e9, 240, generated.COUNT),
        (0.0, 0.0, 64, len(generated.CORNERS)),
        (0.1, 0.0, 240, generated.COUNT),  # a stated size decides, however slow the machine is
        (5.0, 1e9, 64, len(generated.CORNERS)),
    ],
)
def test_a_slow_pass_is_cut(
    photo: Callable[[str], Fixture],
    shared_cache: Cache,
    monkeypatch: pytest.MonkeyPatch,
    gmacs: float,
    patience: float,
    real: int,
    made: int,
) -> None:
    monkeypatch.setattr(lab, "EVALUATOR_SECONDS", patience)
    spec = replace(load_fixture(photo("tf").original.ref.path), gmacs=gmacs)
    case = Case(spec, VARIANTS["mlprogram_float32"], Target("host", "coreml-evaluator"))
    place = lab.Lab(shared_cache, Thresholds())
    try:
        path, facts = place.artifact(case)
        found = checks.parity(place, case, path, facts.sha256)
    finally:
        place.close()
    assert (found.real.n, found.generated.n) == (real, made)
    assert found.real.sqnr_db > 80

"""How many samples the evaluator answers: all that it is quick on, else the fewest that parity rests on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from suite import generated, lab
from suite.cache import Cache
from suite.discovery import load_fixture
from suite.matrix import Case
from suite.spec import VARIANTS, Target
from suite.thresholds import Thresholds
from tests.meta.coreml.conftest import Fixture


@pytest.mark.parametrize(
    ("patience", "real", "made"), [(1e9, 240, generated.COUNT), (0.0, 64, len(generated.CORNERS))]
)
def test_a_slow_pass_is_cut(
    photo: Callable[[str], Fixture],
    shared_cache: Cache,
    monkeypatch: pytest.MonkeyPatch,
    patience: float,
    real: int,
    made: int,
) -> None:
    monkeypatch.setattr(lab, "EVALUATOR_SECONDS", patience)
    spec = load_fixture(photo("tf").original.ref.path)
    case = Case(spec, VARIANTS["mlprogram_float32"], Target("host", "coreml-evaluator"))
    place = lab.Lab(shared_cache, Thresholds())
    try:
        path, facts = place.artifact(case)
        found = place.parity(case, path, facts.sha256)
    finally:
        place.close()
    assert (found.real.n, found.generated.n) == (real, made)
    assert found.real.sqnr_db > 80

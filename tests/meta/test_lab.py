"""The lab makes each part once, and keeps none of them for another model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from suite.cache import Cache
from suite.discovery import BUNDLED, load_fixture
from suite.lab import Lab
from suite.matrix import Case
from suite.spec import VARIANTS, Target
from suite.thresholds import Thresholds

ONE, OTHER = (
    Case(load_fixture(BUNDLED / f"{name}.py"), VARIANTS["float32"], Target("host", "litert-xnnpack"))
    for name in ("digits_cnn", "squeezenet")
)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Whose models and samples are not looked into."""
    made = Lab(Cache(tmp_path), Thresholds())
    monkeypatch.setattr(made, "_original", lambda spec: SimpleNamespace(spec=spec))
    monkeypatch.setattr(made, "_feeds", lambda original: SimpleNamespace(discard=lambda: None))
    yield made
    made.close()


def test_answers_are_shared_by_the_checks_of_a_model_and_not_by_another_of_the_same_file(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two fixtures may bring the same weights and other samples."""
    lab.subject(ONE.spec)
    lab._answers = "the file's hash", {str(ONE.target): ({"scores": "of one"}, {})}
    assert lab.answers(ONE, Path("model.tflite"), "the file's hash")[0] == {"scores": "of one"}

    def opened(*_: object, **__: object) -> None:
        raise LookupError("it is asked anew")

    monkeypatch.setattr(lab.sessions, "open", opened)
    with pytest.raises(LookupError):
        lab.answers(OTHER, Path("model.tflite"), "the file's hash")

"""The numbers that coremltools' own tests hold Core ML to: core_ml.jsonl has a call and its answer a line.

They are what its tests of MIL's operators (coremltools 9.0, iOS14 to iOS18) state of programs in
float32; `place` is that of the answer among several.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.meta.coreml.ops.asking import run

CASES = [json.loads(line) for line in Path(__file__).with_name("core_ml.jsonl").read_text().splitlines()]


def _given(value: Any) -> Any:
    """A string, a list of tensors, or a tensor by the name of its type."""
    if isinstance(value, list):
        return [_given(one) for one in value]
    return np.array(*reversed(next(iter(value.items())))) if isinstance(value, dict) else value


def _differ(found: Any, expected: Any) -> bool:
    """Whether by more than what the tests' authors rounded away."""
    assert np.shape(found) == np.shape(expected)
    return not np.allclose(np.asarray(found, np.float64), expected, rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize("told", CASES, ids=lambda told: told["op"])
def test_an_operator_answers_what_core_ml_does(told: dict[str, Any]) -> None:
    found = run(told["op"], **{name: _given(value) for name, value in told["of"].items()})
    found = found[told["place"]] if "place" in told else found
    expected = np.asarray(told["answer"], np.float64)
    assert not _differ(found, expected)
    off = expected.copy()
    off.flat[-1] += 0.01 * max(1.0, abs(off.flat[-1]))
    assert _differ(found, off)

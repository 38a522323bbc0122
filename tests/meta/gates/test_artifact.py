"""What an artifact is: its size, and what was read from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.gates import (
    SIZE_ALLOWANCE_BYTES,
    Gate,
    check_size,
    check_static,
)
from suite.record import StaticCheck, Status
from suite.spec import Budget
from tests.meta import records


@pytest.mark.parametrize(
    ("changes", "budget", "found"),
    [
        ({"size_bytes": 1_500_000 + SIZE_ALLOWANCE_BYTES}, Budget(max_bytes_per_parameter=1.5), 0),
        ({"size_bytes": 1_500_001 + SIZE_ALLOWANCE_BYTES}, Budget(max_bytes_per_parameter=1.5), 1),
        ({"size_bytes": 10**12, "parameters": 1}, Budget(max_bytes_per_parameter=1.5), 1),
        ({"size_bytes": 10**12, "parameters": 0}, Budget(max_bytes_per_parameter=1.5), 0),  # a caution
        ({"size_bytes": 5001, "parameters": 0}, Budget(max_bytes=5000), 1),
        ({"size_bytes": 5000}, Budget(max_bytes=5000), 0),
        ({"size_bytes": 5001}, Budget(max_bytes=5000), 1),
        ({"size_bytes": 9_000_000}, Budget(max_bytes_per_parameter=1.5, max_bytes=5000), 2),
        ({"size_bytes": 10**12}, Budget(), 0),
        ({"size_bytes": 0}, Budget(), 1),
        ({"parameters": -1}, Budget(), 1),
    ],
)
def test_size(changes: dict[str, int], budget: Budget, found: int) -> None:
    artifact = replace(records.artifact("unknown", "int8"), **changes)  # type: ignore[arg-type]
    assert [finding.gate for finding in check_size(artifact, budget)] == [Gate.SIZE] * found


def test_no_artifact_fails() -> None:
    assert [finding.gate for finding in check_size(None, Budget())] == [Gate.SIZE]


def test_a_failed_static_check_holds_a_release_and_none_at_all_proves_nothing() -> None:
    good = StaticCheck(status=Status.PASSED, message="RGB")
    bad = StaticCheck(status=Status.FAILED, message="taken as BGR")
    assert check_static({"image": good}, "mlprogram_float32") == []
    (finding,) = check_static({"image": bad, "labels": good}, "mlprogram_float32")
    assert (finding.gate, finding.message) == (Gate.STATIC, "image: taken as BGR")
    (finding,) = check_static({}, "neuralnetwork")
    assert "no static check was recorded: this proves nothing" in finding.message.lower()
    assert check_static({}, "float32") == []

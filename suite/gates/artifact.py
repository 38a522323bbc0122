"""What can be said of an artifact's file without running it: its size, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping

from suite.gates.findings import Finding, Gate, bound, unproven
from suite.record import OK, Artifact, StaticCheck
from suite.spec import COREML, Budget

SIZE_ALLOWANCE_BYTES = 100_000  # graph and metadata, which a small model has too


def check_size(artifact: Artifact | None, budget: Budget) -> list[Finding]:
    """Findings on the bytes of an artifact, per parameter of the original and in all.

    SIZE_ALLOWANCE_BYTES are granted on top of the bytes per parameter; where nothing
    told how many parameters there are, that bound says nothing.
    """
    if artifact is None:
        return [unproven(Gate.SIZE, "no artifact was recorded")]
    size = artifact.size_bytes
    if not size > 0 or not artifact.parameters >= 0:
        return [unproven(Gate.SIZE, f"a size of {size} bytes, {artifact.parameters} parameters")]
    found = []
    if (rate := budget.max_bytes_per_parameter) is not None and artifact.parameters:
        limit = rate * artifact.parameters + SIZE_ALLOWANCE_BYTES
        found = bound(Gate.SIZE, "size in bytes", size, limit, lambda: _granted(rate, artifact))
    smaller = "Choose a narrower variant or a smaller model."
    return found + bound(Gate.SIZE, "size in bytes", size, budget.max_bytes, lambda: smaller)


def _granted(rate: float, artifact: Artifact) -> str:
    return (
        f"That is {rate:g} bytes for each of {artifact.parameters} parameters, and {SIZE_ALLOWANCE_BYTES} "
        "for the graph. See which operators kept a wider precision."
    )


def check_static(static: Mapping[str, StaticCheck], variant: str) -> list[Finding]:
    """Findings on what was read from a saved artifact."""
    if not static and variant in COREML:
        return [unproven(Gate.STATIC, "no static check was recorded")]
    return [
        Finding(gate=Gate.STATIC, message=f"{name}: {one.message}")
        for name, one in static.items()
        if one.status not in OK
    ]

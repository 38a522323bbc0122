"""What an artifact costs: within its budget it passes; what cannot carry a verdict carries none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.gates import (
    Gate,
    check_latency,
    check_memory,
    judge,
)
from suite.record import Check, Status
from suite.record.costs import Latency
from suite.spec import Budget
from suite.thresholds import Thresholds
from tests.meta import records


@pytest.mark.parametrize(
    ("samples_ns", "limit", "found"),
    [
        ((9_900_000, 10_000_000, 10_100_000) * 10, 10.0, 0),
        ((9_900_000, 10_000_001, 10_100_000) * 10, 10.0, 1),
        ((9_000_000, 10_000_000, 10_000_000), 10.0, 1),  # too few to lie so near
        ((10**12,), None, 0),
        ((), None, 1),
        ((0, 1), None, 1),
    ],
)
def test_latency(samples_ns: tuple[int, ...], limit: float | None, found: int) -> None:
    latency = replace(records.latency(), samples_ns=samples_ns)
    assert [finding.gate for finding in check_latency(latency, Budget(max_p50_ms=limit))] == [
        Gate.LATENCY
    ] * found


def test_no_latency_fails() -> None:
    assert [finding.gate for finding in check_latency(None, Budget())] == [Gate.LATENCY]


@pytest.mark.parametrize(("peak", "limit", "found"), [(5, 5, 0), (6, 5, 1), (10**12, None, 0), (0, None, 1)])
def test_memory(peak: int, limit: int | None, found: int) -> None:
    memory = records.passed().memory
    assert memory is not None
    memory = replace(memory, peak_bytes=peak)
    assert [finding.gate for finding in check_memory(memory, Budget(max_peak_bytes=limit))] == [
        Gate.MEMORY
    ] * found


def wide(p50_ms: float, spread: float = 0.5, **changes: object) -> Latency:
    samples = tuple(int(1e6 * p50_ms * factor) for factor in (1 - spread, 1, 1 + spread)) * 20
    return replace(records.latency(p50_ms), samples_ns=samples, **changes)


def few(p50_ms: float) -> Latency:
    """Of a model so slow that the time was up after nine."""
    return replace(records.latency(p50_ms), samples_ns=(int(1e6 * p50_ms),) * 9)


def told(**summary_ms: float) -> Latency:
    """Of a tool that keeps no samples: a mean of 10 ms."""
    summary = {"n": 50.0, "mean": 10.0, "min": 9.0, "max": 11.0, **summary_ms}
    return replace(records.latency(10), samples_ns=(), summary_ms=summary)


@pytest.mark.parametrize(
    ("latency", "limit", "outcome"),
    [
        (wide(10), 20, "holds"),  # nearly every sample keeps it
        (wide(10), 12, "inconclusive"),
        (wide(10), 8, "inconclusive"),
        (records.latency(10), 8, "fails"),
        (few(10), 12, "inconclusive"),
        (few(10), 9, "inconclusive"),
        (few(10), 13, "holds"),  # far below
        (few(10), 7, "fails"),  # far above
        (wide(10), 3, "fails"),
        (wide(10), 4.5, "inconclusive"),
        (told(p50=10.0, p5=9.9, p95=10.2), 10.1, "holds"),
        (told(p50=10.0, p5=9.9, p95=10.2), 9, "fails"),
        (told(p50=10.0, p5=8.0, p95=15.0), 12, "inconclusive"),
        (told(p50=10.0, p5=8.0, p95=15.0), 9, "inconclusive"),
        (told(std=0.5), 11, "holds"),
        (told(std=0.5), 9, "fails"),
        (told(std=4.0), 11, "inconclusive"),
        (told(std=0.1, n=3.0), 11, "inconclusive"),
        (told(std=0.1, n=3.0), 15, "holds"),
        (told(std=0.1, n=3.0), 7, "fails"),
        (replace(records.latency(10), others_cpu_ns=10**12, cores=2), 8, "inconclusive"),
        (replace(records.latency(10), others_cpu_ns=10**12, cores=2), 10.3, "holds"),  # noise only slows
    ],
)
def test_an_unsound_latency_is_not_gated_as_if_it_were_good(
    latency: Latency, limit: float, outcome: str
) -> None:
    found = check_latency(latency, Budget(max_p50_ms=limit))
    seen = "holds" if not found else "inconclusive" if found[0].inconclusive else "fails"
    assert seen == outcome
    if outcome == "inconclusive":
        assert "measure again" in found[0].message


def test_a_verdict_is_inconclusive_only_where_nothing_is_shown_to_be_wrong() -> None:
    unsound = replace(records.passed(), latency=wide(10), override={"max_p50_ms": 12, "reason": "app"})
    verdict = judge([unsound], Thresholds())
    assert (verdict.passed, verdict.inconclusive) == (False, True)
    bad = records.with_check(records.passed("resnet50"), Check.PARITY, Status.FAILED, "off")
    assert not judge([unsound, bad], Thresholds()).inconclusive
    assert not judge([records.passed()], Thresholds()).inconclusive
    assert any("latency is unstable" in text for text in verdict.warnings)

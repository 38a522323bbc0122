"""A pytest plugin for runs whose latencies are all measured in doubt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from suite import measurements


def pytest_configure() -> None:
    """Change what the run is made of; to import this module changes nothing."""
    measure = measurements.speed

    def doubtful(*given: Any) -> Any:
        speed = measure(*given)
        return replace(speed, latency=replace(speed.latency, contaminated="the machine was hot"))

    measurements.speed = doubtful

"""Minutes on end, in tenths of a second: windows, a planted slow-down, and sensors there and not there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from suite.record.costs import Sustained
from suite.runtimes import endurance
from suite.stats import sustained_drop


def test_every_inference_is_in_a_window_and_the_windows_are_the_time() -> None:
    calls: list[int] = []
    use = endurance.sustained(lambda: calls.append(time.sleep(0.01) or 1), 0.35, 0.1)
    assert sum(use.inferences) == len(calls)
    assert len(use.inferences) == len(use.window_ns) >= 3
    assert sum(use.window_ns) > 0.3e9
    assert all(len(series) == len(use.window_ns) for series in use.temperatures.values())


def test_an_inference_longer_than_a_window_is_a_window() -> None:
    use = endurance.sustained(lambda: time.sleep(0.05), 0.06, 0.01)
    assert set(use.inferences) == {1}
    assert min(use.window_ns) >= 50_000_000


def over(*rates: float) -> Sustained:
    """Ten-second windows of so many inferences a second."""
    return Sustained(
        threads=1,
        window_seconds=10,
        inferences=tuple(round(rate * 10) for rate in rates),
        window_ns=(10_000_000_000,) * len(rates),
    )


def test_the_drop_is_from_the_first_minute_to_the_last() -> None:
    assert sustained_drop(over(*[100] * 6, *[90] * 6, *[80] * 6)) == pytest.approx(0.2)
    assert sustained_drop(over(*[100] * 12)) == 0
    assert sustained_drop(over(*[100] * 6, *[120] * 6)) == pytest.approx(-0.2)
    assert sustained_drop(over(*[100] * 11)) is None  # under two minutes


def test_sensors_are_read_where_there_are_some(tmp_path: Path) -> None:
    for number, (name, value) in enumerate([("cpu", "45500"), ("gpu", "not a number")]):
        zone = tmp_path / f"thermal_zone{number}"
        zone.mkdir()
        (zone / "type").write_text(name + "\n")
        (zone / "temp").write_text(value + "\n")
    assert endurance.temperatures(tmp_path) == {"cpu (thermal_zone0)": 45.5}
    assert endurance.temperatures(tmp_path / "none") == {}
    for core, clock in ((0, 1_000_000), (1, 2_000_000)):
        folder = tmp_path / f"cpu{core}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(str(clock))
    assert endurance.frequency_mhz(tmp_path) == 1500
    assert endurance.frequency_mhz(tmp_path / "none") is None

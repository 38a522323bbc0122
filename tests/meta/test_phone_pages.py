"""What a phone says of its heat, GPU and battery stands on a card; what it does not, with the reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from suite.record.costs import Energy
from tests.meta import records
from tests.meta.pages import EVIL, build

PLACE = "android:R58M/xnnpack"
WARM = {"before": {"battery_c": 28.5}, "after": {"battery_c": 31.0}, "contaminated": ""}
ENERGY = Energy(watts=1.4, joules_per_inference=0.0123, seconds=2.05, readings=8, source="current_now")


def test_what_a_phone_tells_is_shown(tmp_path: Path) -> None:
    gpu = {"mean_percent": 42.0, "max_percent": 55.0, "n": 8, "source": "gpu_busy_percentage"}
    realtime = replace(records.realtime(), gpu=gpu, thermal=WARM)
    sustained = replace(
        records.sustained(), energy=replace(ENERGY, joules_per_inference=1.5), thermal_status=(0, 0, 2)
    )
    page = build(
        tmp_path,
        [records.passed(target=PLACE, energy=ENERGY, realtime=realtime, sustained=sustained)],
    )
    assert "1.40 W of the whole phone, 12.3 mJ an inference; over 2.05 s, n 8" in page
    assert "1.50 J an inference" in page
    assert "Behind the camera the GPU was busy 42.0 % of the time, at most 55.0 %" in page
    assert 'aria-label="heat and clocks behind the camera"' in page
    assert "<td>28.5 °C</td><td>31.0 °C</td>" in page
    assert "Thermal status: 0 to 2." in page
    assert "energy not measured" not in page


def test_what_a_phone_does_not_tell_stands_with_its_reason(tmp_path: Path) -> None:
    realtime = replace(records.realtime(), reasons={"gpu": "denied"}, contaminated="the phone was hot")
    sustained = replace(
        records.sustained(), reasons={"energy": "fed by a cable"}, contaminated="the phone was warm"
    )
    memory = records.passed().memory
    assert memory is not None
    page = build(
        tmp_path,
        [
            records.passed(
                target=PLACE,
                realtime=realtime,
                sustained=sustained,
                memory=replace(memory, reasons={"first": "the tool does not tell it"}),
                reasons={"energy": "dumpsys: not found"},
            )
        ],
    )
    assert "gpu not measured behind the camera: denied." in page
    assert "This run is contaminated: the phone was hot" in page
    assert "energy not measured: fed by a cable." in page
    assert "The first minute is none to compare with: the phone was warm." in page
    assert "first: the tool does not tell it." in page
    assert "energy not measured: dumpsys: not found" in page


def test_what_a_phone_says_is_never_markup(tmp_path: Path) -> None:
    realtime = replace(records.realtime(), reasons={"gpu": EVIL}, contaminated=EVIL)
    sustained = replace(records.sustained(), reasons={"energy": EVIL}, contaminated=EVIL)
    energy = replace(ENERGY, source=EVIL)
    record = records.passed(target=PLACE, energy=energy, realtime=realtime, sustained=sustained)
    assert EVIL not in build(tmp_path, [record])

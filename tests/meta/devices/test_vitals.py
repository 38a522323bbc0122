"""What a phone says of its heat, clocks, GPU and battery: real-shaped text, and what stand-ins say."""

from __future__ import annotations

import pytest

from suite.devices import facts, readings, vitals
from suite.devices.adb import DIRECTORY, Device
from suite.devices.standin import StandIn
from suite.devices.vitals import Vitals, Watch
from suite.errors import StagedError
from suite.record import Stage
from tests.meta.devices.synthetic import BATTERY, CLOCKS, THERMAL, asked

POWER = "/sys/class/power_supply/battery"


def printed(
    thermal: str = THERMAL,
    battery: str = BATTERY.format(tenths=285),
    clocks: str = CLOCKS,
    power: str = "-350000 4000000",
) -> str:
    return (
        f"\n@@ thermal\n{thermal}\n@@ 0\n\n@@ battery\n{battery}\n@@ 0\n\n@@ clocks\n{clocks}\n@@ 0\n"
        "\n@@ gpu /sys/class/kgsl/kgsl-3d0/gpu_busy_percentage\n37 %\n\n@@ 0\n"
        f"\n@@ power {POWER}\n{power}\n@@ 0\n"
    )


def test_a_phone_that_says_all_is_read() -> None:
    seen = vitals.parse(printed())
    assert seen.thermal_status == 0
    assert seen.temperatures_c == {"BIG": 44.2, "VIRTUAL-SKIN": 36.5, "battery (outside)": -25.6}
    assert seen.skin_c == 36.5
    assert seen.battery_c == 28.5
    assert seen.clocks_khz == {"0,1,2,3": (576000, 1803000), "4,5,6,7": (2000000, 2850000)}
    assert seen.gpu_file == "/sys/class/kgsl/kgsl-3d0/gpu_busy_percentage"
    assert (seen.charging, seen.charge_uah, seen.voltage_mv) == (False, 2843000, 4237)
    assert seen.power_folder == POWER
    assert not seen.reasons
    assert not seen.silent
    assert seen.heat == ""


def test_a_phone_that_says_nothing_says_why() -> None:
    text = "".join(f"\n@@ {name}\nsh: dumpsys: not found\n@@ 127\n" for name in ("thermal", "battery"))
    seen = vitals.parse(f"{text}\n@@ clocks\n\n@@ 0\n")
    assert seen.silent
    assert seen.reasons["battery_c"] == "dumpsys battery: sh: dumpsys: not found"
    assert set(seen.reasons) == {
        "thermal_status",
        "temperatures_c",
        "skin_c",
        "battery_c",
        "clocks_khz",
        "gpu_file",
        "charging",
        "charge_uah",
        "voltage_mv",
        "power_folder",
    }
    section, why = Watch(before=seen, after=seen, waited_seconds=0).record()
    assert section is None
    assert "sh: dumpsys: not found" in why


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"battery": BATTERY.format(tenths=412)}, "its battery is at 41.2 °C"),
        ({"thermal": THERMAL.replace("mValue=36.5", "mValue=40.1")}, "its skin is at 40.1 °C"),
        ({"thermal": THERMAL.replace("Status: 0", "Status: 2")}, "its thermal status is 2"),
    ],
)
def test_a_hot_phone_is_told_by_its_temperature_and_by_its_status(
    changes: dict[str, str], words: str
) -> None:
    hot, cool = vitals.parse(printed(**changes)), vitals.parse(printed())
    assert words in hot.heat
    assert "hot before" in Watch(before=hot, after=cool, waited_seconds=30).contaminated
    assert "30 s of waiting did not cool it" in Watch(before=hot, after=cool, waited_seconds=30).contaminated
    assert "hot after" in Watch(before=cool, after=hot, waited_seconds=0).contaminated
    assert Watch(before=cool, after=cool, waited_seconds=0).contaminated == ""


@pytest.mark.parametrize(
    ("text", "percent"),
    [
        ("37 %\n", 37.0),
        ("5", 5.0),
        ("  250000 1000000\n", 25.0),
        ("0 0", 0.0),
        ("101", None),
        ("cat: /sys/kernel/gpu/gpu_busy: Permission denied", None),
        ("", None),
    ],
)
def test_readings_of_a_gpu(text: str, percent: float | None) -> None:
    assert readings.busy_percent(text) == percent


def test_a_gpu_that_never_answered_is_null() -> None:
    assert readings.gpu_record("file", "") is None
    assert readings.gpu_record("file", "file idle\nother 10 %\n") is None
    assert readings.gpu_record("file", "file 10 %\nother 99 %\nfile 30 %\n") == {
        "mean_percent": 20.0,
        "max_percent": 30.0,
        "n": 2,
        "source": "file",
    }


def test_a_gpu_that_idled_while_the_model_was_loaded_was_busy() -> None:
    seen = readings.gpu_record("file", "file 0 %\n" * 20 + "file 80 %\n" * readings.LAST)
    assert seen is not None
    assert seen["mean_percent"] == 80.0


@pytest.mark.parametrize(
    ("text", "watts"),
    [
        ("-350000 4000000", 1.4),
        ("350000 4000000", 1.4),  # makers do not agree on the sign
        ("350 4000000", None),  # thousandths of amperes
        ("350000", None),
        ("sh: can't open /sys/class/power_supply/battery/current_now: Permission denied", None),
        ("", None),
    ],
)
def test_readings_of_a_battery(text: str, watts: float | None) -> None:
    assert readings.watts(text) == watts
    seen = vitals.parse(printed(power=text))
    assert (seen.power_folder == POWER) is (watts is not None)
    assert ("power_folder" in seen.reasons) is (watts is None)


@pytest.mark.parametrize(
    ("battery", "charging"),
    [
        (BATTERY.format(tenths=285), False),
        (BATTERY.format(tenths=285).replace("status: 3", "status: 2"), True),
        (BATTERY.format(tenths=285).replace("USB powered: false", "USB powered: true"), True),
        ("temperature: 285", None),
    ],
)
def test_a_battery_that_is_fed_is_told_from_one_that_gives(battery: str, charging: bool | None) -> None:
    assert vitals.parse(printed(battery=battery)).charging is charging


# --- on a stand-in ------------------------------------------------------------------------------


def test_a_stand_in_shows_no_heat_and_no_gpu(device: Device) -> None:
    seen = vitals.look(device)
    assert (seen.thermal_status, seen.temperatures_c, seen.battery_c, seen.gpu_file) == (None,) * 4
    assert all(seen.reasons[name] for name in ("thermal_status", "battery_c", "gpu_file"))
    assert facts.is_stand_in(device)
    assert "say nothing about phones" in facts.notes(device)[0]


def test_fixed_performance_is_switched_off_again(synthetic: StandIn) -> None:
    with Device(synthetic.serial, synthetic.adb) as device:
        device.fix_performance()
        assert asked(synthetic) == ["true"]
    assert asked(synthetic) == ["true", "false"]


def test_whoever_comes_next_switches_it_off_where_the_first_was_killed(synthetic: StandIn) -> None:
    killed = Device(synthetic.serial, synthetic.adb)  # never leaves
    killed.fix_performance()
    with Device(synthetic.serial, synthetic.adb):
        assert asked(synthetic) == ["true", "false"]
    assert asked(synthetic) == ["true", "false"]


def test_a_phone_that_cannot_fix_its_performance_says_so(synthetic: StandIn, device: Device) -> None:
    (synthetic.folder / "data" / "local" / "refuses").write_text("255")
    with Device(synthetic.serial, synthetic.adb) as refusing:
        with pytest.raises(StagedError, match="fixed-performance mode cannot be set") as caught:
            refusing.fix_performance()
        assert caught.value.stage is Stage.LOAD
    with pytest.raises(StagedError, match=r"cmd.*not found.*leave out --fixed-performance"):
        device.fix_performance()
    assert device.shell(f"ls {DIRECTORY}", stage=Stage.RUN).stdout.count("fixed-performance") == 0


def test_the_report_shows_both_sides() -> None:
    from suite.report import words

    watch = Watch(before=vitals.parse(printed()), after=Vitals(battery_c=31.0), waited_seconds=0)
    section, _ = watch.record()
    assert section is not None
    rows = words.vitals(section)
    assert ("battery", "28.5 °C", "31.0 °C") in rows
    assert ("cores 0,1,2,3", "576 of 1803 MHz", words.NOT_MEASURED) in rows
    assert ("thermal status", "0", words.NOT_MEASURED) in rows

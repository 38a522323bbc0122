"""What a phone says of its heat, clocks and GPU: real-shaped text, and a stand-in with synthetic programs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from suite import benchmark, gates, stats
from suite.devices import facts, standin, vitals
from suite.devices.adb import DIRECTORY, Device
from suite.devices.session import DeviceSession
from suite.devices.standin import StandIn
from suite.devices.vitals import Vitals, Watch
from suite.errors import StagedError
from suite.record import Stage
from suite.runtimes.base import TimingPolicy
from suite.spec import Budget
from tests.meta.devices.conftest import Artifact

# As `dumpsys thermalservice` prints it on Android 13; the cached block is of another time.
THERMAL = """\
IsStatusOverride: false
ThermalEventListeners:
	callbacks: 2
Thermal Status: 0
Cached temperatures:
	Temperature{mValue=31.0, mType=3, mName=VIRTUAL-SKIN, mStatus=0}
HAL Ready: true
HAL connection:
	ThermalHAL 2.0 connected: yes
Current temperatures from HAL:
	Temperature{mValue=44.2, mType=0, mName=BIG, mStatus=0}
	Temperature{mValue=36.5, mType=3, mName=VIRTUAL-SKIN, mStatus=0}
	Temperature{mValue=-25.6, mType=2, mName=battery (outside), mStatus=0}
Current cooling devices from HAL:
	CoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}
Temperature static thresholds from HAL:
	TemperatureThreshold{mType=3, mName=VIRTUAL-SKIN, mHotThrottlingThresholds=[NaN, 39.0, 43.0]}
"""
BATTERY = """\
Current Battery Service state:
  AC powered: false
  USB powered: true
  level: 87
  scale: 100
  voltage: 4237
  temperature: {tenths}
  technology: Li-ion
"""
CLOCKS = "0 1 2 3 576000 1803000\n4 5 6 7 2000000 2850000\n"


def printed(thermal: str = THERMAL, battery: str = BATTERY.format(tenths=285), clocks: str = CLOCKS) -> str:
    return (
        f"\n@@ thermal\n{thermal}\n@@ 0\n\n@@ battery\n{battery}\n@@ 0\n\n@@ clocks\n{clocks}\n@@ 0\n"
        "\n@@ gpu /sys/class/kgsl/kgsl-3d0/gpu_busy_percentage\n37 %\n\n@@ 0\n"
    )


def test_a_phone_that_says_all_is_read() -> None:
    seen = vitals.parse(printed())
    assert seen.thermal_status == 0
    assert seen.temperatures_c == {"BIG": 44.2, "VIRTUAL-SKIN": 36.5, "battery (outside)": -25.6}
    assert seen.skin_c == 36.5
    assert seen.battery_c == 28.5
    assert seen.clocks_khz == {"0,1,2,3": (576000, 1803000), "4,5,6,7": (2000000, 2850000)}
    assert seen.gpu_file == "/sys/class/kgsl/kgsl-3d0/gpu_busy_percentage"
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
    assert vitals.busy_percent(text) == percent


def test_a_gpu_that_never_answered_is_null() -> None:
    assert vitals.gpu_record("file", "cat: file: Permission denied\n") is None
    assert vitals.gpu_record("file", "10 %\n30 %\n") == {
        "mean_percent": 20.0,
        "max_percent": 30.0,
        "n": 2,
        "source": "file",
    }


# --- the whole path, on a stand-in whose `dumpsys` and `cmd` are synthetic ---------------------

DUMPSYS = f"""#!/system/bin/sh
# synthetic: answers as a phone would whose battery is as warm as the file says
case $1 in
  thermalservice) cat <<'END'
{THERMAL}END
  ;;
  battery) echo "  temperature: $(cat /data/local/tenths)";;
esac
"""
CMD = """#!/system/bin/sh
# synthetic: keeps what was asked of it
echo "$@" >> /data/local/asked
exit $(cat /data/local/refuses 2>/dev/null || echo 0)
"""


@pytest.fixture
def synthetic(phone: StandIn) -> Iterator[StandIn]:
    """A stand-in that answers as a phone would; what it says is made up."""
    with standin.standins() as (made,):
        programs = made.folder / "data" / "local" / "bin"
        programs.mkdir()
        for name, script in (("dumpsys", DUMPSYS), ("cmd", CMD)):
            (programs / name).write_text(script)
            (programs / name).chmod(0o755)
        tenths(made, 285)
        yield made


def tenths(phone: StandIn, value: int) -> None:
    (phone.folder / "data" / "local" / "tenths").write_text(str(value))


def asked(phone: StandIn) -> list[str]:
    file = phone.folder / "data" / "local" / "asked"
    return [line.split()[-1] for line in file.read_text().splitlines()] if file.exists() else []


POLICY = TimingPolicy(warmup_min_runs=1, warmup_min_seconds=0, min_runs=50, min_seconds=0.5)


def test_the_whole_path_from_a_phone_to_a_verdict(
    synthetic: StandIn, digits_cnn: Artifact, digits: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = synthetic.folder / "data" / "local" / "busy"
    busy.write_text("42 %\n")
    monkeypatch.setattr(vitals, "GPU_FILES", ("/sys/absent", "/data/local/busy"))
    monkeypatch.setattr(vitals, "POLL_SECONDS", 0.1)
    with Device(synthetic.serial, synthetic.adb) as device:
        session = DeviceSession(device, digits_cnn.path, tensors=digits_cnn.tensors)
        sample = {"image": digits[:1]}
        cool = benchmark.speed_on_phone(session, sample, POLICY, 0.3)
        tenths(synthetic, 431)
        hot = benchmark.speed_on_phone(session, sample, POLICY, 0.3)
    assert cool.gpu is not None
    assert (cool.gpu["mean_percent"], cool.gpu["source"]) == (42.0, "/data/local/busy")
    assert cool.gpu["n"] >= 1
    assert cool.thermal is not None
    assert cool.thermal["before"]["battery_c"] == 28.5
    assert cool.thermal["contaminated"] == cool.latency.contaminated == ""
    assert hot.thermal is not None
    assert hot.thermal["waited_seconds"] >= 0.3
    assert "its battery is at 43.1 °C" in hot.latency.contaminated
    assert stats.soundness(hot.latency)[0] is stats.Soundness.CONTAMINATED
    tight = Budget(max_p50_ms=1e-6)
    assert [finding.inconclusive for finding in gates.check_latency(hot.latency, tight)] == [True]


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

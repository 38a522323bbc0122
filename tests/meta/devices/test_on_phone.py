"""What an artifact costs on a phone: the whole path, on a stand-in with a synthetic battery and GPU."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from suite import frames, gates, on_phone, stats
from suite.devices import power, standin, vitals
from suite.devices.adb import Answer, Device
from suite.devices.session import DeviceSession
from suite.devices.standin import StandIn
from suite.devices.vitals import Vitals
from suite.record.camera import RealTime
from suite.record.costs import Energy
from suite.runtimes.base import CameraPlan, TimingPolicy
from suite.spec import Budget, ImageInput
from tests.meta.devices.conftest import Artifact
from tests.meta.devices.synthetic import GPU_FILE, POWER_FOLDER, arrange, settle, tell

POLICY = TimingPolicy(warmup_min_runs=1, warmup_min_seconds=0, min_runs=50, min_seconds=0.5)
CAMERA = CameraPlan(fps=30, seconds=0.3, inferences=1, max_seconds=1)
CONTRACT = ImageInput(height=32, width=32, preprocessing="unit")


@pytest.fixture(scope="module")
def synthetic(phone: StandIn) -> Iterator[StandIn]:
    """One for all tests here: to bring the runner to a phone takes longest."""
    with standin.standins() as (made,):
        arrange(made)
        yield made


@pytest.fixture(scope="module")
def warm(synthetic: StandIn, digits_cnn: Artifact) -> Iterator[DeviceSession]:
    with Device(synthetic.serial, synthetic.adb) as held:
        yield DeviceSession(held, digits_cnn.path, tensors=digits_cnn.tensors)


@pytest.fixture
def session(warm: DeviceSession, synthetic: StandIn, monkeypatch: pytest.MonkeyPatch) -> DeviceSession:
    """On a cool phone that lives on its battery, and is mute about GPU and current until told otherwise."""
    monkeypatch.setattr(vitals, "GPU_FILES", ("/sys/absent", GPU_FILE))
    monkeypatch.setattr(vitals, "POWER_FOLDERS", ("/sys/absent", POWER_FOLDER))
    monkeypatch.setattr(vitals, "POLL_SECONDS", 0.1)
    settle(synthetic)
    return warm


@pytest.fixture
def sample(digits: np.ndarray) -> dict[str, np.ndarray]:
    return {"image": digits[:1]}


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What phones are told, as it is told."""
    told: list[str] = []
    shell = Device.shell

    def noted(self: Device, command: str, **named: object) -> Answer:
        told.append(command)
        return shell(self, command, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Device, "shell", noted)
    return told


def test_from_a_phone_to_a_verdict(
    session: DeviceSession, synthetic: StandIn, sample: dict[str, np.ndarray]
) -> None:
    cool = on_phone.speed(session, sample, POLICY, 0.3)
    tell(synthetic, tenths=431)
    hot = on_phone.speed(session, sample, POLICY, 0.3)
    assert cool.thermal is not None
    assert cool.thermal["before"]["battery_c"] == 28.5
    assert cool.thermal["contaminated"] == cool.latency.contaminated == ""
    assert cool.latency.others_cpu_ns is not None
    assert hot.thermal is not None
    assert hot.thermal["waited_seconds"] >= 0.3
    assert "its battery is at 43.1 °C" in hot.latency.contaminated
    assert stats.soundness(hot.latency)[0] is stats.Soundness.CONTAMINATED
    tight = Budget(max_p50_ms=1e-6)
    assert [finding.inconclusive for finding in gates.check_latency(hot.latency, tight)] == [True]


# --- the GPU and the battery, apart from what is timed ------------------------------------------


def test_nothing_is_read_beside_the_timed_run(
    session: DeviceSession, synthetic: StandIn, sample: dict[str, np.ndarray], commands: list[str]
) -> None:
    tell(synthetic, busy="42 %", current_now=-350000, voltage_now=4000000)
    on_phone.speed(session, sample, POLICY, 0.3)
    on_phone.consumption(session, sample)
    runs = [command.partition("@@ after")[0] for command in commands if "device_runner" in command]
    assert [GPU_FILE in run for run in runs] == [False, True]
    assert [f"{POWER_FOLDER}/current_now" in run for run in runs] == [False, True]
    assert ["kill -0" in run for run in runs] == [False, True]


def test_what_a_phone_tells_of_its_gpu_and_its_battery_is_measured(
    session: DeviceSession, synthetic: StandIn, sample: dict[str, np.ndarray]
) -> None:
    tell(synthetic, busy="42 %", current_now=-350000, voltage_now=4000000)
    seen = on_phone.consumption(session, sample)
    assert seen.gpu is not None
    assert (seen.gpu["mean_percent"], seen.gpu["source"]) == (42.0, GPU_FILE)
    assert seen.gpu["n"] >= 5
    assert seen.energy is not None
    assert seen.energy.watts == pytest.approx(1.4)
    assert seen.energy.seconds >= 2
    rate = on_phone.speed(session, sample, POLICY, 0).throughput.inferences_per_second
    assert 0.2 < seen.energy.joules_per_inference * rate / 1.4 < 5  # the same inferences, in a noisier pass
    assert not seen.reasons


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({}, "/data/local/current_now: open: No such file"),
        ({"current_now": 350, "voltage_now": 4000000}, "'350 4000000', in unknown units"),
        ({"fed": "true", "current_now": 350000, "voltage_now": 4000000}, "connect adb over Wi-Fi"),
    ],
)
def test_what_a_phone_does_not_tell_is_null_with_its_reason(
    session: DeviceSession,
    synthetic: StandIn,
    sample: dict[str, np.ndarray],
    commands: list[str],
    told: dict[str, object],
    why: str,
) -> None:
    tell(synthetic, **told)
    seen = on_phone.consumption(session, sample)
    assert (seen.gpu, seen.energy) == (None, None)
    assert why in seen.reasons["energy"]
    assert "No such file" in seen.reasons["gpu"]
    assert not any(
        "device_runner" in command for command in commands
    )  # no run where there is nothing to read


def test_a_gpu_is_measured_where_the_battery_is_mute(
    session: DeviceSession, synthetic: StandIn, sample: dict[str, np.ndarray]
) -> None:
    tell(synthetic, busy="42 %")
    seen = on_phone.consumption(session, sample)
    assert seen.gpu is not None
    assert list(seen.reasons) == ["energy"]


# --- behind a camera --------------------------------------------------------------------------


def behind_a_camera(session: DeviceSession) -> RealTime:
    photos = list(np.random.default_rng(0).integers(0, 255, (2, 48, 64, 3), np.uint8))
    return on_phone.realtime(session, photos, CONTRACT, 0.3, plan=CAMERA)


def test_a_cool_phone_behind_a_camera(
    session: DeviceSession, synthetic: StandIn, commands: list[str]
) -> None:
    tell(synthetic, busy="42 %")
    seen = behind_a_camera(session)
    assert seen.contaminated == ""
    assert seen.thermal is not None
    assert seen.thermal["after"]["battery_c"] == 28.5
    assert seen.gpu is not None
    assert seen.gpu["mean_percent"] == 42.0
    assert not seen.reasons
    assert all(scheme.others_cpu_ns is not None for scheme in seen.schemes)
    runs = [command.partition("@@ after")[0] for command in commands if "device_runner" in command]
    assert GPU_FILE in runs.pop()
    assert runs  # a second look, where the first is a close call
    assert not any(GPU_FILE in run for run in runs)


def test_a_hot_phone_behind_a_camera_carries_no_verdict(session: DeviceSession, synthetic: StandIn) -> None:
    tell(synthetic, tenths=431)
    seen = behind_a_camera(session)
    assert seen.thermal is not None
    assert seen.thermal["waited_seconds"] >= 0.3
    sound, why = frames.soundness(seen)
    assert sound is stats.Soundness.CONTAMINATED
    assert "its battery is at 43.1 °C" in why
    assert "No such file" in seen.reasons["gpu"]
    findings = gates.check_realtime(seen, Budget(min_processed_fps=1e6))
    assert [finding.inconclusive for finding in findings] == [True]


# --- for minutes --------------------------------------------------------------------------------


def test_minutes_on_a_phone(
    session: DeviceSession,
    synthetic: StandIn,
    sample: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(power, "FEWEST_STEPS", 1)
    seen = on_phone.sustained(session, sample, 0.3, minutes=3 / 60, window_seconds=0.3)
    count = len(seen.window_ns)
    assert all(wall >= 3e8 for wall in seen.window_ns[:-1])
    assert min(seen.inferences) > 0
    assert set(seen.temperatures) == {"BIG", "VIRTUAL-SKIN", "battery (outside)", "battery"}
    assert seen.temperatures["battery"] == (28.5,) * count
    assert seen.thermal_status == (0,) * count
    assert seen.energy is not None  # each look costs 1000 µAh, at 4 V
    assert seen.energy.watts * seen.energy.seconds == pytest.approx(count * 1000 * 3600e-6 * 4)
    assert seen.energy.joules_per_inference == pytest.approx(count * 14.4 / sum(seen.inferences))
    assert seen.contaminated == ""


def test_minutes_on_a_phone_that_was_hot_or_is_mute(
    session: DeviceSession,
    synthetic: StandIn,
    device: Device,
    digits_cnn: Artifact,
    sample: dict[str, np.ndarray],
) -> None:
    tell(synthetic, tenths=431, fed="true")
    hot = on_phone.sustained(session, sample, 0.2, minutes=0.4 / 60, window_seconds=0.2)
    assert "the phone was hot before the measurement: its battery is at 43.1 °C" in hot.contaminated
    assert hot.energy is None
    assert "connect adb over Wi-Fi" in hot.reasons["energy"]
    stand_in = DeviceSession(device, digits_cnn.path, tensors=digits_cnn.tensors)
    mute = on_phone.sustained(stand_in, sample, 0, minutes=0.4 / 60, window_seconds=0.2)
    assert mute.inferences
    assert (mute.temperatures, mute.thermal_status, mute.energy) == ({}, (), None)
    assert all("dumpsys" in mute.reasons[name] for name in ("temperatures", "thermal_status", "energy"))


def looked(*charges: int) -> list[Vitals]:
    return [Vitals(charging=False, charge_uah=charge, voltage_mv=4000) for charge in charges]


def test_a_charge_counter_counts_only_where_it_falls_often_enough() -> None:
    found = power.over(looked(9000, 8000, 7000, 6000, 5000, 4000), 100, 60)
    assert isinstance(found, Energy)
    assert found.watts == pytest.approx(5000 * 3600e-6 * 4 / 60)
    for charges in ((9000, 8000, 7000, 7000, 7000, 7000), (4000, 5000, 6000, 7000, 8000, 9000)):
        said = power.over(looked(*charges), 100, 60)
        assert isinstance(said, str)
        assert "measure for longer" in said

"""Sessions on a stand-in phone: right answers, and an end with stage and reason for all that goes wrong."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import suite
from suite import realtime, runtimes
from suite.devices import adb, answers, session, standin, wire
from suite.devices.adb import Device
from suite.devices.bundle import Bundle
from suite.devices.session import DeviceSession
from suite.devices.standin import StandIn
from suite.devices.wire import Address
from suite.errors import CaseError, StagedError, WorkerCrashed
from suite.record import Stage
from suite.runtimes.base import CameraPlan, TensorInfo, TimingPolicy
from suite.spec import ImageInput
from tests.meta.conftest import Subject
from tests.meta.devices.moments import runs, sent_to, unplugged
from tests.meta.devices.relay import relay

QUICK = TimingPolicy(warmup_min_runs=2, warmup_min_seconds=0, min_runs=5, max_runs=5, min_seconds=0)
# What the classifier's artifact is, for runners that never look at it.
TENSORS = (
    (TensorInfo(name="image", shape=(1, 16, 16, 3), dtype="float32"),),
    (TensorInfo(name="scores", shape=(1, 10), dtype="float32"),),
)
SAID = (
    '{"batch_ns": [1], "inputs": [{"shape": [1, 16, 16, 3], "dtype": "float32"}], '
    '"outputs": [{"shape": [1, 10], "dtype": "float32"}]}'
)
BYTES = ("baseline", "loaded", "first_resident", "resident", "peak")
UNIQUE = ("baseline_unique", "loaded_unique", "first_unique", "unique")
USED = json.loads(SAID) | {"threads": 1} | {f"{name}_bytes": 1 for name in (*BYTES, *UNIQUE)}
CLOCK = {"cpu_ns": 1, "wall_ns": 1, "all_cpu_ns": None, "cores": 1}
TIMED = USED | CLOCK | {"samples_ns": [1], "warmup_ns": [], "load_ns": 1}
SCHEME = CLOCK | {
    **{"threaded": False, "fps": 30, "offered": 2, "taken": [[0, 1, 1, 1, 1]], "shown_ns": [1]},
    **{"resident_bytes": 1, "unique_bytes": None},
}
SHOWN = USED | {"schemes": [SCHEME, SCHEME | {"threaded": True}]}


@pytest.fixture
def artifact(classifier: Subject) -> Path:
    return classifier.artifact("float32")


def planted(folder: Path, script: str) -> Bundle:
    """A runner that does something else."""
    (folder / "planted.sh").write_text(script)
    return Bundle(files={"planted.sh": folder / "planted.sh"}, command=("/system/bin/sh", "./planted.sh"))


def hold_to_host(device: Device, variant: str, digits: np.ndarray) -> None:
    """float32 within 1e-4 of LiteRT on this machine, int8 within one step."""
    path = suite.convert("digits_cnn", variant)
    with runtimes.open_session("litert-xnnpack", path, threads=1) as host:
        expected = host.run_many({"image": digits})
    with DeviceSession(device, path) as there:
        answered = there.run_many({"image": digits})
        (step,) = (info.scale for info in there.outputs)
    assert answered.keys() == expected.keys()
    for name, values in expected.items():
        assert answered[name].dtype == values.dtype
        np.testing.assert_allclose(answered[name], values, atol=step * 1.001 or 1e-4, rtol=0)


@pytest.mark.parametrize("variant", ["float32", "int8_io"])
def test_a_phone_answers_as_this_machine_does(device: Device, variant: str, digits: np.ndarray) -> None:
    hold_to_host(device, variant, digits)


@pytest.mark.parametrize("variant", ["float32", "int8_io"])
def test_an_arm64_phone_answers_as_this_machine_does(
    arm64: StandIn, variant: str, digits: np.ndarray
) -> None:
    with Device(arm64.serial, arm64.adb) as device:
        assert device.abi == "arm64-v8a"
        hold_to_host(device, variant, digits)


@pytest.mark.parametrize("variant", ["float32", "dynamic_int8", "int8", "int8_io"])
def test_one_run_is_one_sample_of_many(
    device: Device, classifier: Subject, images: np.ndarray, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BATCH_BYTES", 5000)  # one image a batch, or six of bytes
    path = classifier.artifact(variant)
    with runtimes.open_session("litert-xnnpack", path, threads=1) as host:
        one = {info.name: np.zeros(info.shape, info.dtype) for info in host.inputs}
        expected, expected_one = host.run_many({"image": images}), host.run(one)
        there = DeviceSession(device, path, tensors=(host.inputs, host.outputs))
        for name, values in there.run_many({"image": images}).items():
            np.testing.assert_allclose(values, expected[name], atol=1e-4, rtol=0)
        for name, values in there.run(one).items():
            assert values.shape == expected_one[name].shape
            np.testing.assert_allclose(values, expected_one[name], atol=1e-4, rtol=0)


def test_it_is_timed_on_the_phone(device: Device, artifact: Path, images: np.ndarray) -> None:
    there = DeviceSession(device, artifact, threads=2, tensors=TENSORS)
    timing = there.time({"image": images[:1]}, QUICK)
    assert (timing.threads, len(timing.samples_ns)) == (2, 5)
    assert len(timing.warmup_ns) >= 2
    assert 0 < min(timing.samples_ns) <= sum(timing.samples_ns) <= timing.wall_ns
    assert timing.load_ns > 0
    assert timing.cpu_ns > 0
    assert timing.others_cpu_ns is not None
    assert timing.cores


def test_memory_on_a_phone_is_told_by_phase(device: Device, artifact: Path, images: np.ndarray) -> None:
    use = DeviceSession(device, artifact, threads=2, tensors=TENSORS).memory({"image": images[:1]}, 3)
    assert 0 < use.baseline_bytes <= use.loaded_bytes <= use.peak_bytes
    assert list(use.phases) == ["load", "first", "steady"]
    for resident, unique in use.phases.values():
        assert unique is not None
        assert use.baseline_bytes <= resident <= use.peak_bytes
        assert unique <= resident
    assert use.phases["load"][0] == use.loaded_bytes
    assert use.phases["steady"][1] == use.unique_bytes


def test_a_phone_that_hides_a_phase_is_told_so(
    device: Device, artifact: Path, images: np.ndarray, tmp_path: Path
) -> None:
    said = json.dumps(TIMED | {"first_resident_bytes": None})
    script = f"head -c 40 /dev/zero > ../output.bin; echo '{said}'"
    there = DeviceSession(device, artifact, tensors=TENSORS, runner=planted(tmp_path, script))
    with pytest.raises(StagedError, match="does not show first_resident_bytes in /proc") as caught:
        there.memory({"image": images[:1]}, 3)
    assert caught.value.stage is Stage.MEASURE


def test_it_runs_behind_a_camera_on_the_phone(device: Device, artifact: Path) -> None:
    there = DeviceSession(device, artifact, threads=2, tensors=TENSORS)
    photos = list(np.random.default_rng(0).integers(0, 255, (2, 48, 64, 3), np.uint8))
    plan = CameraPlan(fps=30, seconds=0.3, inferences=1, max_seconds=1)
    seen = realtime.recorded(
        there.realtime(photos, ImageInput(height=16, width=16, preprocessing="unit"), plan),
        photos[0],
        2,
        plan,
    )
    assert (seen.frame, seen.threads) == ("48x64x3", 2)
    assert [scheme.offered for scheme in seen.schemes] == [9, 9]
    assert seen.peak_bytes is not None
    assert seen.peak_bytes > 0
    samples = there.realtime([np.zeros((16, 16, 3), np.float32)], None, plan)
    assert all(stream.taken for stream in samples.streams)
    with pytest.raises(CaseError, match=r"takes float32 \(1, 16, 16, 3\), found float32 \(1, 8, 8, 3\)"):
        there.realtime([np.zeros((8, 8, 3), np.float32)], None, plan)


def test_a_warm_phone_is_sent_nothing_twice(
    device: Device, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DeviceSession(device, artifact, tensors=TENSORS)
    sent: list[str] = []
    monkeypatch.setattr(Device, "push", lambda self, source, name, *, stage: sent.append(name))
    DeviceSession(device, artifact, tensors=TENSORS)
    device.forget()
    DeviceSession(device, artifact, tensors=TENSORS)
    assert sent == []


def test_an_artifact_altered_on_the_phone_is_sent_anew(
    device: Device, artifact: Path, images: np.ndarray
) -> None:
    first = DeviceSession(device, artifact, tensors=TENSORS).run_many({"image": images})
    device.checked(f"for f in {adb.DIRECTORY}/*.tflite; do echo x > $f; done", stage=Stage.RUN)
    again = DeviceSession(device, artifact, tensors=TENSORS).run_many({"image": images})
    np.testing.assert_array_equal(first["scores"], again["scores"])


def test_an_artifact_altered_on_the_way_is_told_by_its_hash(
    spare: StandIn, artifact: Path, tmp_path: Path
) -> None:
    sent = tmp_path / "sent.tflite"
    sent.write_bytes(artifact.read_bytes() + b"one bit of this " * 4096)
    with (
        relay(spare.adb, lambda piece: piece.replace(b"one bit", b"one byt", 1)) as line,
        Device(spare.serial, line) as device,
        pytest.raises(StagedError, match="was altered on the way: the phone has SHA-256") as caught,
    ):
        DeviceSession(device, sent, tensors=TENSORS, runner=Bundle(files={}, command=("false",)))
    assert caught.value.stage is Stage.LOAD
    with relay(spare.adb, bytes) as line, Device(spare.serial, line) as device:
        DeviceSession(device, sent, tensors=TENSORS, runner=Bundle(files={}, command=("false",)))


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ("kill -SEGV $$", WorkerCrashed, "the runner was ended by SIGSEGV. It said nothing"),
        ("echo what >&2; kill -9 $$", WorkerCrashed, "ended by SIGKILL. Its last words: what"),
        ("echo hello", StagedError, r"ended with 0 and said what is no answer: 'hello'"),
        ("exit 3", StagedError, "ended with 3 and said what is no answer: ''"),
        ("echo '{\"batch_ns\": [1]}'", StagedError, "said what is no answer"),
        ('echo \'{"batch_ns": 1, "inputs": 1, "outputs": 1}\'', StagedError, "said what is no answer"),
        ("echo '[1]'", StagedError, r"said what is no answer: '\[1\]'"),
        (f"echo x > ../output.bin; echo '{SAID}'", StagedError, "holds 2 bytes, expected 1 answers of 40"),
        (f"echo '{SAID}'", StagedError, "holds 0 bytes, expected 1 answers of 40"),
        (f"rm ../output.bin; echo '{SAID}'", StagedError, "fetching output.bin failed"),
        (f"echo '{SAID}'; exit 1", StagedError, "the runner ended with 1"),
        (f"echo '{SAID.replace('10', '11')}'", CaseError, r"outputs are \[\(\(1, 11\), 'float32'\)\] there"),
        ('echo \'{"error": "no", "stage": "load"}\'; exit 1', CaseError, ": no"),
    ],
)
def test_a_runner_that_goes_wrong_is_explained(
    device: Device,
    artifact: Path,
    images: np.ndarray,
    tmp_path: Path,
    script: str,
    kind: type[StagedError],
    message: str,
) -> None:
    there = DeviceSession(device, artifact, tensors=TENSORS, runner=planted(tmp_path, script))
    with pytest.raises(StagedError, match=message) as caught:
        there.run_many({"image": images[:1]})
    assert type(caught.value) is kind
    assert caught.value.stage in (Stage.RUN, Stage.LOAD)
    assert device.serial in str(caught.value)


RUBBISH: dict[str, tuple[dict[str, Any], type[answers.Ran]]] = {
    "a number for samples": (TIMED | {"samples_ns": 1}, answers.Timed),
    "no samples": (TIMED | {"samples_ns": []}, answers.Timed),
    "words for a sample": (TIMED | {"samples_ns": ["quick"]}, answers.Timed),
    "less than no time": (TIMED | {"load_ns": -1}, answers.Timed),
    "more than C counts to": (TIMED | {"cpu_ns": 1 << 70}, answers.Timed),
    "no time at all": (TIMED | {"wall_ns": 0}, answers.Timed),
    "no threads": ({name: said for name, said in TIMED.items() if name != "threads"}, answers.Timed),
    "a tensor without a shape": (TIMED | {"inputs": [{"dtype": "float32"}]}, answers.Timed),
    "an error that is none": ({"error": 1}, answers.Timed),
    "one scheme": (SHOWN | {"schemes": [SCHEME]}, answers.Shown),
    "a frame without its times": (SHOWN | {"schemes": [SCHEME | {"taken": [[0, 1]]}] * 2}, answers.Shown),
    "a camera that stands": (SHOWN | {"schemes": [SCHEME | {"fps": 0}] * 2}, answers.Shown),
}


@pytest.mark.parametrize(("said", "kind"), [(TIMED, answers.Timed), (SHOWN, answers.Shown)])
def test_an_answer_is_read_with_what_else_it_says(said: dict[str, Any], kind: type[answers.Ran]) -> None:
    seen = answers.read(json.dumps(said | {"own_ns": 7}), kind)
    assert seen.inputs[0].shape == (1, 16, 16, 3)


@pytest.mark.parametrize("fault", RUBBISH)
def test_rubbish_with_the_right_names_is_no_answer(fault: str) -> None:
    said, kind = RUBBISH[fault]
    with pytest.raises(ValueError, match=r"Expected|missing"):
        answers.read(json.dumps(said), answers.Failure if "error" in said else kind)
    with pytest.raises(ValueError, match="nested without end"):
        answers.read('{"else": ' + "[" * 300_000, kind)


def test_a_timed_run_and_a_camera_that_are_told_rubbish_fail_as_runs(
    device: Device, artifact: Path, images: np.ndarray, tmp_path: Path
) -> None:
    rubbish = json.dumps(TIMED | SHOWN | {"samples_ns": 1, "schemes": 1})
    there = DeviceSession(device, artifact, tensors=TENSORS, runner=planted(tmp_path, f"echo '{rubbish}'"))
    frame = np.zeros((16, 16, 3), np.float32)
    plan = CameraPlan(fps=30, seconds=0.1, inferences=1, max_seconds=1)
    for ask in (
        lambda: there.time({"image": images[:1]}, QUICK),
        lambda: there.memory({"image": images[:1]}, 1),
        lambda: there.realtime([frame], None, plan),
    ):
        with pytest.raises(StagedError, match=r"said what is no answer: .*Expected `array`") as caught:
            ask()
        assert caught.value.stage is Stage.RUN


def test_a_runner_that_hangs_is_ended(
    device: Device, artifact: Path, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_SILENCE", 0.0)
    runner = planted(tmp_path, "exec sleep 77")
    there = DeviceSession(device, artifact, tensors=TENSORS, runner=runner, run_seconds=1)
    with pytest.raises(StagedError, match="It did not answer in time") as caught:
        there.run_many({"image": images})
    assert caught.value.stage is Stage.RUN
    assert "sleep" not in device.shell("ps -A", stage=Stage.RUN).stdout


def test_a_runner_that_talks_without_end_is_ended(
    device: Device, artifact: Path, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_SILENCE", 0.0)
    runner = planted(tmp_path, "while :; do echo yes; sleep 0.01; done")
    there = DeviceSession(device, artifact, tensors=TENSORS, runner=runner, run_seconds=1)
    with pytest.raises(StagedError, match="It did not answer in time"):
        there.run_many({"image": images})
    assert "planted" not in device.shell("ps -A -o ARGS=", stage=Stage.RUN).stdout


def test_a_runner_that_says_too_much_is_ended(
    device: Device, artifact: Path, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MOST_WORDS", 4 << 20)
    there = DeviceSession(device, artifact, tensors=TENSORS, runner=planted(tmp_path, "exec cat /dev/zero"))
    with pytest.raises(StagedError, match=r"it printed more than 4 MB. What runs there") as caught:
        there.run_many({"image": images})
    assert caught.value.stage is Stage.RUN
    assert "cat" not in device.shell("exec ps -A -o NAME=", stage=Stage.RUN).stdout.split()
    much = device.shell(f"head -c {4_000_000} /dev/zero", stage=Stage.RUN)
    assert len(much.stdout) == 4_000_000


def test_an_answer_that_is_too_long_is_not_fetched(
    device: Device, artifact: Path, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = planted(tmp_path, f"truncate -s 1G ../output.bin; echo '{SAID}'")
    monkeypatch.setattr(session, "scratch", lambda: contextlib.nullcontext(tmp_path))
    there = DeviceSession(device, artifact, tensors=TENSORS, runner=runner)
    with pytest.raises(StagedError, match="holds more than the 40 bytes that were expected") as caught:
        there.run_many({"image": images[:1]})
    assert caught.value.stage is Stage.RUN
    assert (tmp_path / "output.bin").stat().st_size <= 1 << 20


def test_a_timed_run_with_an_answer_of_the_wrong_size_is_explained(
    device: Device, artifact: Path, images: np.ndarray, tmp_path: Path
) -> None:
    runner = planted(tmp_path, f"echo x > ../output.bin; echo '{json.dumps(TIMED)}'")
    there = DeviceSession(device, artifact, tensors=TENSORS, runner=runner)
    with pytest.raises(StagedError, match="holds 2 bytes, expected 1 answers of 40"):
        there.time({"image": images[:1]}, QUICK)


def test_an_artifact_that_is_none_fails_at_load(device: Device, tmp_path: Path, images: np.ndarray) -> None:
    rubbish = tmp_path / "rubbish.tflite"
    rubbish.write_bytes(os.urandom(1000))
    with pytest.raises(CaseError) as caught:
        DeviceSession(device, rubbish, tensors=TENSORS).run_many({"image": images})
    assert caught.value.stage is Stage.LOAD


def test_what_the_artifact_does_not_take_is_said(device: Device, artifact: Path) -> None:
    there = DeviceSession(device, artifact, tensors=TENSORS)
    with pytest.raises(CaseError, match=r"takes float32 \(1, 16, 16, 3\), found float32 \(1, 8, 8, 3\)"):
        there.run_many({"image": np.zeros((2, 8, 8, 3), np.float32)})
    with pytest.raises(CaseError, match="found float64"):
        there.run({"image": np.zeros((1, 16, 16, 3))})


def test_a_phone_killed_while_it_runs_comes_back(
    phone: StandIn, artifact: Path, images: np.ndarray, tmp_path: Path
) -> None:
    with standin.standins() as (other,), Device(other.serial, other.adb) as device:
        there = DeviceSession(device, artifact, tensors=TENSORS, runner=planted(tmp_path, "exec sleep 77"))
        with (
            unplugged(other, lambda: runs(other)),
            pytest.raises(StagedError, match=f"{other.serial}: running") as caught,
        ):
            there.run_many({"image": images})
        assert caught.value.stage is Stage.RUN
        for _ in range(2):  # as the first case that comes after, and as all others while it is away
            with pytest.raises(StagedError) as caught:
                DeviceSession(device, artifact, tensors=TENSORS)
            assert caught.value.stage is Stage.LOAD
        other.plug()
        again = DeviceSession(device, artifact, tensors=TENSORS)
        assert again.run_many({"image": images})["scores"].shape == (16, 10)


def test_a_phone_killed_while_it_is_sent_to_is_explained(phone: StandIn, tmp_path: Path) -> None:
    endless = tmp_path / "endless"
    with endless.open("wb") as file:
        file.truncate(2 << 30)
    with standin.standins() as (other,), Device(other.serial, other.adb) as device:
        with (
            unplugged(other, lambda: sent_to(other, "endless")),
            pytest.raises(StagedError, match="sending endless failed") as caught,
        ):
            device.push(endless, "endless", stage=Stage.LOAD)
        assert caught.value.stage is Stage.LOAD


def test_a_server_killed_is_explained_and_none_is_started(
    phone: StandIn, artifact: Path, images: np.ndarray
) -> None:
    with standin.standins() as (other,), Device(other.serial, other.adb) as device:
        there = DeviceSession(device, artifact, tensors=TENSORS)
        wire.client(other.adb).server_kill()
        while _answers(other.adb):  # it may take a connection or two while it ends
            time.sleep(0.05)
        with pytest.raises(StagedError, match="No adb server answers there"):
            there.run_many({"image": images})


def _answers(server: Address) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((server.host, server.port), timeout=5):
        return True
    return False


def test_nothing_is_left_on_the_phone(spare: StandIn, artifact: Path, images: np.ndarray) -> None:
    with Device(spare.serial, spare.adb) as device:
        DeviceSession(device, artifact, tensors=TENSORS).run_many({"image": images})
        assert device.shell(f"ls {adb.DIRECTORY}", stage=Stage.RUN).stdout
    assert left_on(spare) == ("", [])


def left_on(spare: StandIn) -> tuple[str, list[str]]:
    """Files in the place for everybody's, and what runs beside adbd and this very look."""
    bare = Device(spare.serial, spare.adb)  # neither holds nor cleans
    files = bare.shell("ls /data/local/tmp", stage=Stage.RUN).stdout
    running = bare.shell("exec ps -A -o NAME=", stage=Stage.RUN).stdout.split()
    return files, sorted(set(running) - {"bwrap", "adbd", "ps"})

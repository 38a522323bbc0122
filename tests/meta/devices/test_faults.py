"""What can go wrong with a phone while pytest runs on it: each ends in a record, the other cases go on."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from suite import store
from suite.cache import Cache
from suite.devices import adb, standin, wire
from suite.devices.adb import Device
from suite.devices.bundle import bundle
from suite.devices.rootfs import native_abi
from suite.devices.standin import StandIn
from suite.errors import StagedError
from suite.record import Check, Stage, Status
from tests.meta.devices.conftest import skipped_where_lacking
from tests.meta.devices.moments import ours, runs, sent_to, unplugged
from tests.meta.devices.test_benchmark_model import said, tool
from tests.meta.devices.test_device_session import left_on
from tests.meta.product import ROOT, Product

ON_PHONES = ("--models", "digits_cnn", "--profile", "smoke", "-v", "-p", "no:cacheprovider")


@pytest.fixture
def other(phone: StandIn) -> Iterator[StandIn]:
    """A stand-in to be treated badly."""
    with standin.standins() as (made,):
        yield made


@contextmanager
def running(
    product: Product,
    *arguments: str,
    **environment: str,
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A run in the background, and where it reports."""
    command, report = product.command(*ON_PHONES, *arguments)
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=product.environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process, report
        finally:
            process.kill()


def until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait for something to happen while the run goes on."""
    deadline = time.monotonic() + 300
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            said = process.communicate()[0] if process.poll() is not None else "it goes on"
            pytest.fail(f"it did not happen: {said}")
        time.sleep(0.002)


def errors(report: Path) -> list[tuple[Stage, str]]:
    """Stage and message of every check that has ended badly so far."""
    results = report / store.RESULTS
    records = store.load(results).records if results.exists() else []
    seen = (result for record in records for result in record.checks.values())
    return [
        (one.stage, one.message) for one in seen if one.status is Status.ERROR and one.stage is not Stage.PLAN
    ]


def pushing(phone: StandIn) -> bool:
    """Whether the library is on its way."""
    return sent_to(phone, "runner/liblitert-lm.so")


@pytest.mark.parametrize(
    ("moment", "check", "stage", "said"),
    [
        (pushing, Check.PARITY, Stage.LOAD, "sending runner/liblitert-lm.so failed"),
        (runs, Check.BENCHMARK, Stage.RUN, "running `cd /data/local/tmp/pocketproof/runner"),
    ],
)
def test_a_phone_that_goes_costs_its_case_and_is_used_again_when_it_comes_back(
    other: StandIn,
    product: Product,
    moment: Callable[[StandIn], bool],
    check: Check,
    stage: Stage,
    said: str,
) -> None:
    with running(product, "-m", f"android and {check}", "--adb-host", str(other.adb)) as (process, report):
        until(lambda: moment(other), process)
        other.unplug()
        until(lambda: errors(report), process)
        other.plug()
        text = process.communicate(timeout=300)[0]
    assert process.returncode == 1, text
    first = errors(report)[0]
    assert first[0] is stage, text
    assert other.serial in first[1]
    assert said in first[1]
    last = store.load(report).records[-1]
    assert last.checks[check].status is Status.PASSED, text
    assert left_on(other) == ("", [])


# Answers of a quarter of a megabyte each, so that it takes a while to fetch them.
WIDE = """
from suite.spec import ImageInput, ModelSpec

def build(weights):
    import keras
    keras.utils.set_random_seed(1)
    return keras.Sequential([
        keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.UpSampling2D(32),
    ])

SPEC = ModelSpec(build=build, input=ImageInput(height=8, width=8, preprocessing="tf"))
"""
ONE_ANSWER_BYTES = 1 << 20  # a first run of one sample, whose answer is fetched in no time, has less


def test_a_phone_that_goes_while_its_answers_are_fetched(
    other: StandIn,
    product: Product,
    tmp_path: Path,
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    arguments = ("-m", "android and (parity or host_parity)", "--adb-host", str(other.adb))
    wide = ("--models", "wide", "--variants", "float32", "--fixtures-dir", str(product.fixtures(wide=WIDE)))

    def fetching() -> bool:
        with contextlib.suppress(FileNotFoundError):
            files = scratch.glob("pocketproof-*/output.bin")
            return any(file.stat().st_size > ONE_ANSWER_BYTES for file in files)
        return False

    with running(product, *arguments, *wide, TMPDIR=str(scratch)) as (process, report):
        until(fetching, process)
        other.unplug()
        until(lambda: errors(report), process)
        other.plug()
        text = process.communicate(timeout=300)[0]
    assert process.returncode == 1, text
    ((stage, said),) = errors(report)
    assert stage is Stage.RUN
    assert f"{other.serial}: fetching output.bin failed" in said
    last = store.load(report).records[-1]
    assert last.checks[Check.HOST_PARITY].status is Status.PASSED, text
    assert left_on(other) == ("", [])


def test_what_is_wrong_with_some_phones_costs_their_cases_alone(
    phone: StandIn,
    product: Product,
) -> None:
    with (
        standin.standins(3) as (good, closed, gone),
        standin.standins(storage_bytes=1 << 20) as (full,),
    ):
        (closed.folder / "data" / "local" / "tmp").chmod(0o555)
        gone.unplug()
        hosts = (f"--adb-host={good.adb}", f"--adb-host={full.adb}")
        serials = ",".join(one.serial for one in (gone, closed, full, good))
        run = product.run(
            *ON_PHONES, "-m", "android and host_parity", "--variants=float32", f"--serial={serials}", *hosts,
            "--require-device",
        )  # fmt: skip
        seen = {
            one.serial: run.records[f"digits_cnn/float32/android:{one.serial}/xnnpack"]
            for one in (gone, closed, full, good)
        }
        assert run.status == 1, run.text
        assert seen[good.serial].status is Status.PASSED, run.text
        for one, said in (
            (gone, "offline|no phone of this serial"),
            (closed, "mkdir.*Permission denied"),
            (full, "sending runner/.* failed.*see whether its storage is full"),
        ):
            record = seen[one.serial]
            assert (record.status, record.stage) == (Status.ERROR, Stage.LOAD), run.text
            assert re.search(said, record.message), record.message
            assert one.serial in record.message
        for one in (good, closed, full):
            assert left_on(one) == ("", [])
    assert "Traceback" not in run.text


# --- answers that are wrong ---------------------------------------------------------------


def test_a_phone_that_answers_something_else_fails(
    other: StandIn,
    product: Product,
    tmp_path: Path,
) -> None:
    some_pixels = "tail -c +6200 ../input-0.bin | head -c 40 > ../output.bin"
    program = tool(tmp_path, said(""), some_pixels).files["benchmark_model"]
    run = product.run(
        *ON_PHONES, "-m", "android and host_parity", "--variants=float32", f"--adb-host={other.adb}",
        f"--benchmark-model={program}",
    )  # fmt: skip
    assert run.status == 1, run.text
    (record,) = run.records.values()
    assert (record.status, record.stage) == (Status.FAILED, Stage.COMPARE), run.text
    assert record.host_parity is not None, run.text
    assert record.host_parity.real.max_abs_diff > 0.01


def test_all_is_built_and_sent_where_nothing_is_there_yet(phone: StandIn, tmp_path: Path) -> None:
    fresh = Product(tmp_path / "empty", tmp_path)
    with skipped_where_lacking():
        bundle(native_abi(), Cache(fresh.cache))
    run = fresh.run(*ON_PHONES, "-m", "android and host_parity", "--variants=int8", "--stand-in=native")
    assert run.status == 0, run.text
    (record,) = run.records.values()
    assert record.status is Status.PASSED
    assert record.host_parity is not None
    assert record.host_parity.max_steps is not None
    assert record.host_parity.max_steps <= 1
    assert {entry.name for entry in fresh.cache.iterdir()} >= {
        "phone",
        "program",
        "tflite-library",
        "artifact",
    }


# --- in the middle of it ------------------------------------------------------------------


def test_a_server_that_goes_costs_the_cases_that_come_after(
    other: StandIn,
    product: Product,
) -> None:
    with running(product, "-m", "android and benchmark", "--adb-host", str(other.adb)) as (process, report):
        until(lambda: runs(other), process)
        wire.client(other.adb).server_kill()
        text = process.communicate(timeout=300)[0]
    assert process.returncode == 1, text
    assert "Traceback" not in text
    seen = errors(report)
    assert len(seen) == 2
    assert all("No adb server answers there" in message for _, message in seen[1:])
    assert [stage for stage, _ in seen] == [Stage.RUN, Stage.LOAD]


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_ctrl_c_leaves_nothing_on_the_phone(
    other: StandIn,
    product: Product,
    workers: tuple[str, ...],
) -> None:
    with running(product, "-m", "android and benchmark", "--adb-host", str(other.adb), *workers) as (
        process,
        report,
    ):
        until(lambda: runs(other), process)
        process.send_signal(signal.SIGINT)
        text = process.communicate(timeout=300)[0]
    assert process.returncode == 2, text
    assert left_on(other) == ("", [])
    assert (report / "index.html").exists()


def test_two_runs_at_once_take_turns(other: StandIn, product: Product) -> None:
    arguments = ("-m", "android and host_parity", "--adb-host", str(other.adb))
    with running(product, *arguments) as (one, _), running(product, *arguments) as (two, _):
        for process in (one, two):
            text = process.communicate(timeout=300)[0]
            assert process.returncode == 0, text
    assert left_on(other) == ("", [])


def test_phones_are_shared_out_among_workers(phone: StandIn, product: Product) -> None:
    with standin.standins(2) as pair:
        twice = (f"--adb-host={pair[0].adb}", f"--adb-host=localhost:{pair[0].adb.port}")
        run = product.run(*ON_PHONES, "-m", "android", "-n", "2", *twice)
    assert run.status == 0, run.text
    assert len(run.records) == 4
    written = json.loads((run.report / "benchmark.json").read_text())["benchmarks"]
    found = {(entry["extra_info"]["case_id"], entry["extra_info"]["threads"]) for entry in written}
    assert found == {(case_id, count) for case_id in run.records for count in (1, 2, 4)}
    assert len(written) == len(found)
    for entry in written:
        (latency,) = (
            one
            for one in run.records[entry["extra_info"]["case_id"]].scaling
            if one.threads == entry["extra_info"]["threads"]
        )
        assert entry["stats"]["data"] == pytest.approx([sample / 1e9 for sample in latency.samples_ns])
        assert entry["fullname"].startswith("tests/validate/test_benchmark.py::test_benchmark[digits_cnn/")
    found = re.findall(
        r"^\[(gw\d)\] .*? PASSED .*?\[digits_cnn/\w+/android:(\S+?)/xnnpack", run.text, re.MULTILINE
    )
    found = found or re.findall(
        r"^\[(gw\d)\] .*PASSED.*\[digits_cnn/\w+/android:(\S+?)/xnnpack", run.text, re.MULTILINE
    )
    users = {serial: {worker for worker, other in found if other == serial} for _, serial in found}
    assert set(users) == {one.serial for one in pair}, run.text
    assert sorted(len(workers) for workers in users.values()) == [1, 1]
    assert len(set.union(*users.values())) == 2


def test_a_phone_that_does_not_know_this_machine_is_listed_with_the_remedy(
    other: StandIn,
    product: Product,
) -> None:
    with asking_for_a_key() as serial:
        adb.connect(other.adb, serial)
        states = {one.serial: one.state for one in adb.attached(other.adb)}
        assert states == {other.serial: "device", serial: "unauthorized"}
        arguments = (*ON_PHONES, "-m", "android and conversion", "--adb-host", str(other.adb))
        run = product.run(*arguments)
        required = product.run(*arguments, "--require-device", "--variants", "float32")
    assert run.status == 0, run.text
    remedy = f"{serial} at {other.adb}: the phone is unauthorized: unlock the phone and allow USB debugging"
    assert remedy in run.text
    status = {case_id: record.status for case_id, record in run.records.items()}
    assert status == {
        f"digits_cnn/{variant}/android:{phone}/xnnpack": ending
        for variant in ("float32", "int8")
        for phone, ending in ((other.serial, Status.PASSED), (serial, Status.SKIPPED))
    }
    assert required.status == 1
    record = required.records[f"digits_cnn/float32/android:{serial}/xnnpack"]
    assert (record.status, record.stage) == (Status.ERROR, Stage.LOAD)
    assert remedy in record.message


@contextmanager
def asking_for_a_key() -> Iterator[str]:
    """What a phone says over the network to a machine it does not know, to the real adb: its serial."""

    def speak(listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        token = os.urandom(20)
        asked = struct.pack("<6I", *(AUTH, 1, 0, len(token), sum(token), AUTH ^ 0xFFFFFFFF)) + token
        with connection, contextlib.suppress(OSError):
            while header := connection.recv(24, socket.MSG_WAITALL):
                command, kind, _, length, *_ = struct.unpack("<6I", header)
                connection.recv(length, socket.MSG_WAITALL)
                if (command, kind) != (AUTH, 3):  # a key is offered: now the owner would be asked
                    connection.sendall(asked)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=speak, args=(listening,), daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


AUTH = 0x48545541  # "AUTH" as adb's protocol has it


# --- on the phone itself ------------------------------------------------------------------


def test_a_directory_that_is_read_only_is_explained(other: StandIn, tmp_path: Path) -> None:
    (other.folder / "data" / "local" / "tmp").chmod(0o555)
    file = tmp_path / "file"
    file.write_text("x")
    with Device(other.serial, other.adb) as device:
        with pytest.raises(StagedError, match=r"mkdir.*Permission denied") as caught:
            device.install({"file": file})
        assert caught.value.stage is Stage.LOAD
        assert device.serial in str(caught.value)


def test_a_phone_killed_while_it_is_fetched_from_is_explained(other: StandIn, tmp_path: Path) -> None:
    with Device(other.serial, other.adb) as device:
        device.checked(f"mkdir -p {adb.DIRECTORY}", stage=Stage.RUN)
        with (ours(other) / "endless").open("wb") as file:
            file.truncate(4 << 30)
        target = tmp_path / "endless"
        with (
            unplugged(other, lambda: target.exists() and target.stat().st_size > 0),
            pytest.raises(StagedError, match="fetching endless failed") as caught,
        ):
            device.pull("endless", target, stage=Stage.RUN)
        assert caught.value.stage is Stage.RUN


def test_the_storage_of_killed_stand_ins_is_swept(phone: StandIn) -> None:
    stale = phone.folder.parent.parent / "run-999999999-stale"
    stale.mkdir(exist_ok=True)
    with standin.standins() as (made,):
        assert not stale.exists()
        assert made.folder.parent.name.startswith(f"run-{os.getpid()}-")
        assert phone.folder.exists()

"""A phone has one user at a time: on one machine, on two, by two adb servers, however they are spelt."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from suite.devices import adb, fleet, lease, wire
from suite.devices.adb import Device
from suite.devices.lease import leased
from suite.devices.standin import StandIn
from suite.devices.wire import Address
from suite.errors import StagedError, UsageError
from suite.record import Stage
from tests.meta.conftest import ROOT
from tests.meta.devices.relay import relay
from tests.meta.devices.test_device_session import left_on

USER = """
import sys, time
from pathlib import Path
from suite.devices.adb import Device
from suite.devices.wire import Address
from suite.record import Stage
with Device(sys.argv[1], Address.parse(sys.argv[2])) as device:
    device.install({"file": Path(sys.argv[3])})
    print("ready", flush=True)
    device.shell(
        "cd /data/local/tmp/pocketproof && echo $$ > runner.pid && exec sleep 77", stage=Stage.RUN
    )
"""


@contextmanager
def used(phone: StandIn, folder: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the phone, and something running on it."""
    (folder / "file").write_text("x")
    process = subprocess.Popen(
        [sys.executable, "-c", USER, phone.serial, str(phone.adb), str(folder / "file")],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.fixture
def user(spare: StandIn, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with used(spare, tmp_path) as process:
        yield process


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_GRACE_SECONDS", 0.2)
    monkeypatch.setattr(adb, "_RETURN_SECONDS", 0.2)


BUSY = ("pocketproof\n", ["sh", "sleep"])  # what it holds the phone with, and what it runs


@pytest.mark.parametrize("spelt", ["127.0.0.1", "localhost"])
def test_two_processes_never_share_a_phone(spare: StandIn, user: subprocess.Popen[str], spelt: str) -> None:
    server = Address(spelt, spare.adb.port)
    with pytest.raises(
        StagedError, match=f"{spare.serial} is in use by process {user.pid}, for more than 0 s"
    ):
        Device(spare.serial, server, wait_seconds=0.2).__enter__()
    assert left_on(spare) == BUSY
    with leased("another phone", server.identity, wait_seconds=0):
        pass


def test_one_server_has_one_identity() -> None:
    here = {
        Address(host, 5037).identity for host in ("127.0.0.1", "localhost", "LOCALHOST", "::1", "127.0.1.1")
    }
    assert here == {Address().identity}
    elsewhere = [Address("198.51.100.1", 5037), Address("203.0.113.1", 5037), Address("lab.invalid", 5037)]
    others = {one.identity for one in [*elsewhere, Address("localhost", 5038)]}
    assert len(others - here) == 4
    assert Address("Lab.invalid", 5037).identity in others


@pytest.mark.parametrize(("given", "port"), [(None, 5037), ("", 5037), ("5038", 5038)])
def test_a_users_own_server_is_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, given: str | None, port: int
) -> None:
    monkeypatch.delenv("ANDROID_ADB_SERVER_PORT", raising=False)
    monkeypatch.setenv("ANDROID_ADB_SERVER_HOST", "")
    if given is not None:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", given)
    assert Address.own() == Address("127.0.0.1", port)


@pytest.mark.parametrize("given", ["abc", "0", "65536", "-1", "²", " ", "5037.0"])
def test_a_port_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", given)
    for ask in (Address.own, lambda: wire.client(None), lambda: fleet.find([], [])):
        with pytest.raises(UsageError, match=f"^ANDROID_ADB_SERVER_PORT={given}: the number of a port"):
            ask()
    with pytest.raises(UsageError, match="HOST:PORT is expected, such as"):
        Address.parse(f"localhost:{given}")


def test_a_phone_is_listed_once_however_its_server_is_spelt(spare: StandIn, phone: StandIn) -> None:
    port = spare.adb.port
    spelt = [f"localhost:{port}", f"127.0.0.1:{port}", str(phone.adb)]
    found = [(one.serial, one.server) for one in fleet.find([], spelt)]
    assert sorted(found) == sorted([(spare.serial, f"localhost:{port}"), (phone.serial, str(phone.adb))])


def test_a_phone_is_never_shared_with_another_machine(
    spare: StandIn, tmp_path: Path, impatient: None
) -> None:
    with used(spare, tmp_path, TMPDIR=str(tmp_path)) as stranger:  # whose locks are not this machine's
        who = rf"in use by process {stranger.pid} of \S+ on {re.escape(socket.gethostname())}, for more than"
        with pytest.raises(StagedError, match=who) as caught:
            Device(spare.serial, spare.adb, wait_seconds=0).__enter__()
        assert caught.value.stage is Stage.LOAD
        with relay(spare.adb, bytes) as line, pytest.raises(StagedError, match=who):  # by another server
            Device(spare.serial, line, wait_seconds=0).__enter__()
        assert left_on(spare) == BUSY
        stranger.kill()
        with Device(spare.serial, spare.adb, wait_seconds=10):
            pass
    assert left_on(spare) == ("", [])


def test_whoever_is_not_heard_of_loses_the_phone_until_it_is_free_again(
    spare: StandIn, tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    monkeypatch.setattr(lease, "UNHEARD_SECONDS", 1)
    with relay(spare.adb, bytes) as line, Device(spare.serial, line) as asleep:
        asleep.install({"file": file})
        asleep.shell("true", stage=Stage.RUN, timeout=3)  # how long it may be silent goes by its last words
        while not asleep._lock.lost:
            time.sleep(0.05)
        monkeypatch.undo()
        monkeypatch.setattr(lease, "_GRACE_SECONDS", 0.2)
        monkeypatch.setattr(adb, "_RETURN_SECONDS", 0.2)
        with Device(spare.serial, spare.adb) as other:
            other.install({"other": file})
            for do in (
                lambda: asleep.install({"file": file}, trusting=True),
                lambda: asleep.push(file, "other", stage=Stage.LOAD),
                asleep.clean,
            ):
                with pytest.raises(StagedError, match=f"in use by process {os.getpid()} of"):
                    do()
            assert other.hashes(["other"], stage=Stage.RUN, timeout=10).keys() == {"other"}
        asleep.install({"file": file}, trusting=True)
        assert asleep.hashes(["file"], stage=Stage.RUN, timeout=10).keys() == {"file"}
    assert left_on(spare) == ("", [])


def test_whoever_is_heard_of_keeps_it(spare: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "UNHEARD_SECONDS", 3)
    with Device(spare.serial, spare.adb) as awake:
        for _ in range(16):  # longer in all than UNHEARD_SECONDS and the time that one may take
            awake.shell("sleep 0.4", stage=Stage.RUN, timeout=3)
        assert not awake._lock.lost
        awake.shell("sleep 4", stage=Stage.RUN)  # which may take as long as SILENCE_SECONDS
        assert not awake._lock.lost


def test_a_phone_without_locks_is_used_all_the_same(phone: StandIn, spare: StandIn) -> None:
    programs = spare.folder / "data" / "local" / "bin"
    programs.mkdir()
    try:
        (programs / "flock").write_text("#!/system/bin/sh\nexit 127\n")
        (programs / "flock").chmod(0o755)
        with Device(spare.serial, spare.adb) as device:
            assert device.shell("echo here", stage=Stage.RUN).stdout == "here\n"
            assert left_on(spare) == ("pocketproof\n", [])
    finally:
        shutil.rmtree(programs)
    assert left_on(spare) == ("", [])


def test_the_phone_of_a_killed_process_is_free_and_cleaned(
    spare: StandIn, user: subprocess.Popen[str]
) -> None:
    started = time.monotonic()
    user.kill()
    with Device(spare.serial, spare.adb, wait_seconds=10):
        assert time.monotonic() - started < 10
    assert left_on(spare) == ("", [])


def test_ctrl_c_leaves_nothing_behind(spare: StandIn, user: subprocess.Popen[str]) -> None:
    time.sleep(0.3)
    user.send_signal(signal.SIGINT)
    assert user.wait(20) != 0
    assert left_on(spare) == ("", [])

"""Stand-in phones: a real adbd, from the command line and as a fixture, gone when they should be."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from suite.cache import default_cache
from suite.devices import packages, standin, tools
from suite.devices.adb import Device, attached
from suite.devices.standin import StandIn
from suite.devices.wire import Address
from suite.errors import StagedError, UsageError
from suite.record import Stage
from tests.meta.conftest import ROOT
from tests.meta.product import PHONE_PARTS


@pytest.fixture
def elsewhere(phone: StandIn, tmp_path: Path) -> Path:
    """A cache with nobody's phones, and all that phones are built of."""
    cache = tmp_path / "cache"
    cache.mkdir()
    for kind in PHONE_PARTS:
        (cache / kind).symlink_to(default_cache().root / kind)
    return cache


@pytest.fixture
def command(elsewhere: Path) -> Iterator[Callable[..., str]]:
    """`python -m suite phone`, each time in a process of its own."""

    def run(*words: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "suite", "phone", *words],
            cwd=ROOT,
            env={**os.environ, "POCKETPROOF_CACHE": str(elsewhere)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    yield run
    run("down")


def test_phones_stay_from_one_command_to_the_next_until_down(command: Callable[..., str]) -> None:
    assert command("list").startswith("no stand-in phone runs")
    up = command("up", "--count", "2")
    serials = re.findall(r"^(127\.0\.0\.1:\d+)  ", up, re.M)
    assert len(serials) == 2
    server = Address.parse(re.search(r"pytest -m android --adb-host (\S+)", up)[1])  # type: ignore[index]
    assert sorted(re.findall(r"^(127\.0\.0\.1:\d+)  ", command("list"), re.M)) == sorted(serials)
    seen = {other.serial: other for other in attached(server)}
    assert sorted(seen) == sorted(serials)
    assert all(other.ready and other.details["device"] == "standin" for other in seen.values())
    assert command("down") == "2 stand-in phones ended\n"
    assert command("list").startswith("no stand-in phone runs")
    with pytest.raises(StagedError, match="No adb server answers there"):
        attached(server)


def test_a_second_up_joins_the_server_of_the_first(command: Callable[..., str]) -> None:
    servers = {command("up").splitlines()[0].split()[-1] for _ in range(2)}
    assert len(servers) == 1
    assert command("down") == "2 stand-in phones ended\n"


def test_wrong_words_are_usage_errors(command: Callable[..., str]) -> None:
    assert "--count 0: one or more is expected" in command("up", "--count", "0", status=2)
    with pytest.raises(UsageError, match="unknown ABI 'mips'"):
        standin.check("mips")
    with pytest.raises(UsageError, match="HOST:PORT is expected"):
        Address.parse("somewhere")


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(tools.Lacking, match=r"a stand-in phone needs the program bwrap.*install bubblewrap"):
        standin.check(standin.ABIS[0])


def test_a_mirror_that_does_not_answer_is_explained(
    tmp_path: Path, phone: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setattr(packages, "mirror", lambda: f"http://127.0.0.1:{probe.getsockname()[1]}/debian")
        with pytest.raises(tools.Lacking, match="connect to a network with a Debian mirror"):
            packages.Apt(tmp_path / "apt").download(["adbd"], tmp_path / "debs", dependencies=True)


def test_it_looks_like_a_phone(spare: StandIn) -> None:
    with Device(spare.serial, spare.adb) as device:
        assert device.abi == spare.abi
        assert device.properties["ro.build.version.sdk"] == "34"
        answer = device.shell("id; echo to-stderr >&2; exit 5", stage=Stage.RUN)
        assert answer.stdout.startswith("uid=2000(shell)")
        assert (answer.stderr, answer.status) == ("to-stderr\n", 5)
        assert device.shell("echo x > /system/x", stage=Stage.RUN).status != 0


def test_it_listens_on_loopback_alone(phone: StandIn) -> None:
    ports = {int(phone.serial.rpartition(":")[2]), phone.adb.port}
    listening = [
        connection.laddr
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port in ports
    ]
    assert {address.port for address in listening} == ports
    assert {address.ip for address in listening} <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_files_come_back_as_they_went(spare: StandIn, tmp_path: Path) -> None:
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(os.urandom(3 << 20))
    with Device(spare.serial, spare.adb) as device:
        device.install({"folder/a file": sent})
        device.pull("folder/a file", back, stage=Stage.RUN)
        assert back.read_bytes() == sent.read_bytes()
        with pytest.raises(StagedError, match="fetching absent failed") as caught:
            device.pull("absent", back, stage=Stage.RUN)
        assert caught.value.stage is Stage.RUN


def test_a_full_phone_is_explained(tmp_path: Path, phone: StandIn) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(4 << 20))
    with standin.standins(storage_bytes=1 << 20) as (small,), Device(small.serial, small.adb) as device:
        with pytest.raises(StagedError) as caught:
            device.install({"large": large})
        assert caught.value.stage is Stage.LOAD
        assert device.shell("echo still there", stage=Stage.RUN).stdout == "still there\n"


def test_an_unplugged_phone_is_told_from_one_that_was_never_there(phone: StandIn) -> None:
    with standin.standins() as (other,):
        other.unplug()
        while any(one.ready and one.serial == other.serial for one in attached(other.adb)):
            time.sleep(0.05)  # until its server has noticed
        with pytest.raises(StagedError, match=rf"{other.serial}.* offline|no phone {other.serial}"):
            Device(other.serial, other.adb).__enter__()
        again = other.plug()
        assert again.serial == other.serial
        with Device(again.serial, again.adb) as device:
            assert device.abi == again.abi
    assert not again.alive()
    with pytest.raises(StagedError, match=r"no phone emulator-1 is attached: plug it in"):
        Device("emulator-1", phone.adb).__enter__()


def test_nothing_outlives_a_killed_process(phone: StandIn) -> None:
    code = (
        "import time\nfrom suite.devices.standin import standins\n"
        "with standins() as (phone,):\n print(phone.process.pid, phone.serial, phone.adb, flush=True)\n"
        " time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        process.kill()
    assert len(words) == 3, "the stand-in did not start"
    pid, ports = int(words[0]), [int(word.rpartition(":")[2]) for word in words[1:]]
    with pytest.raises(psutil.NoSuchProcess):
        _end_of(pid)
    for port in ports:
        _freed(port)


def _freed(port: int) -> None:
    """Wait for nothing to listen there."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return
        time.sleep(0.05)
    pytest.fail(f"something still listens on port {port}")


def _end_of(pid: int) -> None:
    """Wait for a process that is nobody's child here; NoSuchProcess when it has gone."""
    for _ in range(100):
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            raise psutil.NoSuchProcess(pid)
        time.sleep(0.05)

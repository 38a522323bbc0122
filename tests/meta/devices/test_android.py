"""`pytest -m android` as its user runs it: on stand-ins, on none, and on phones that are not ready."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.devices import server
from suite.devices.rootfs import native_abi
from suite.devices.standin import StandIn
from suite.record import Check, Stage, Status
from tests.meta.product import Product, no_traceback

PLACE = f"android:stand-in-1-{native_abi()}"
ONE = ("-m", "android", "--models", "digits_cnn", "--profile", "smoke", "-v")
NOBODY = "127.0.0.1:9"  # the discard port: no adb server listens there


def test_collecting_without_phones_asks_no_adb_server(product: Product) -> None:
    for arguments in ((), ("-m", "parity"), ("-m", "not (android or benchmark)")):
        run = product.run("--collect-only", "-q", *arguments, ADBUTILS_ADB_PATH="/nonexistent/adb")
        assert run.status == 0, run.text
        assert "phone" not in run.text
        assert "android" not in run.text.replace("tests/meta", "")


NO_ADB = {"ADBUTILS_ADB_PATH": "/nonexistent/adb", "ANDROID_ADB_SERVER_PORT": "9"}


def test_without_a_phone_the_tests_are_skipped_with_the_reason_and_the_remedy(product: Product) -> None:
    run = product.run(*ONE, **NO_ADB)
    assert run.status == 0, run.text
    assert "nothing proven: no phone is ready" in run.text
    assert "There is no adb here: install Android's platform-tools" in run.text
    assert {record.status for record in run.records.values()} == {Status.SKIPPED}
    assert {record.stage for record in run.records.values()} == {Stage.LOAD}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "There is no adb here: install Android's platform-tools"),
        (("--adb-host", NOBODY), f"{NOBODY}: listing phones failed"),
        (("--serial", "R58M,R59N", "--adb-host", NOBODY), "R59N: "),
    ],
)
def test_where_a_phone_is_required_they_fail(product: Product, arguments: tuple[str, ...], said: str) -> None:
    run = product.run(*ONE, *arguments, "--require-device", **NO_ADB)
    assert run.status == 1, run.text
    assert said in run.text
    assert {(record.status, record.stage) for record in run.records.values()} == {(Status.ERROR, Stage.LOAD)}


def test_a_server_without_phones_says_so(product: Product, phone: StandIn, tmp_path: Path) -> None:
    own = server.start(tmp_path, stays=False)
    try:
        run = product.run(*ONE, "--adb-host", str(own.address), "--require-device")
    finally:
        own.stop()
    assert run.status == 1, run.text
    assert {(record.status, record.stage) for record in run.records.values()} == {(Status.ERROR, Stage.LOAD)}
    assert "no phone is attached: plug one in and switch on USB debugging" in run.text


def test_wrong_words_end_the_run_at_once(product: Product) -> None:
    for arguments, said in (
        (("--adb-host", "somewhere"), "HOST:PORT is expected"),
        (("--stand-in", "mips"), "unknown ABI 'mips'"),
        (("--engines", "tpu", "--adb-host", NOBODY), "--engines tpu: known on phones are xnnpack, cpu"),
    ):
        run = product.run(*ONE, *arguments)
        assert run.status == 4, run.text
        assert said in run.text


def test_a_port_of_the_environment_that_is_none_ends_the_run_at_once(product: Product) -> None:
    run = product.run(*ONE, ANDROID_ADB_SERVER_PORT="abc")
    assert run.status == 4, run.text
    assert "ANDROID_ADB_SERVER_PORT=abc: the number of a port is expected, such as 5037" in run.text
    no_traceback(run.text)


def test_an_empty_port_of_the_environment_is_none(product: Product) -> None:
    run = product.run(*ONE, "--collect-only", "-q", **(NO_ADB | {"ANDROID_ADB_SERVER_PORT": ""}))
    assert run.status == 0, run.text
    no_traceback(run.text)


def test_a_machine_that_lacks_something_says_what(product: Product) -> None:
    run = product.run(*ONE, "--stand-in", "native", PATH="/nonexistent")
    assert run.status == 4, run.text
    assert "a stand-in phone needs the program bwrap" in run.text
    assert "apt-get install bubblewrap" in run.text


def test_the_smoke_models_are_proven_on_a_stand_in(phone: StandIn, product: Product) -> None:
    run = product.run("-m", "android", "--profile", "smoke", "--stand-in", "native", "-v")
    assert run.status == 0, run.text
    assert "verdict: may ship" in run.text
    assert "our files are on it still" not in run.text
    assert len(run.records) == 6
    for case_id, record in run.records.items():
        assert case_id.endswith(f"/{PLACE}/xnnpack")
        assert record.status is Status.PASSED
        assert set(record.checks) == set(Check) - {Check.REALTIME, Check.CONTRACT}
        assert record.parity is not None
        assert record.parity.real.n >= 64
        assert record.host_parity is not None
        assert (record.host_parity.max_steps is None) == (record.variant == "float32")
        assert record.accuracy is not None
        assert [entry.threads for entry in record.scaling] == [1, 2, 4]
        assert record.latency is not None
        assert len(record.latency.samples_ns) >= 50
        assert record.throughput is not None
        assert record.cpu is not None
        assert record.memory is not None
        assert record.memory.peak_bytes > 0
        assert (record.gpu, record.thermal) == (None, None)
        assert record.reasons["gpu"]
        assert record.reasons["thermal"]
        assert record.environment["device"]["model"].startswith("Standin")
        assert any("stand-in" in note for note in record.notes)
    page = (run.report / "index.html").read_text()
    assert "On the phone against this machine" in page


def test_a_phone_is_measured_behind_a_camera(phone: StandIn, product: Product) -> None:
    one = ("--models", "digits_cnn", "--variants", "int8", "-m", "android and realtime")
    run = product.run(*one, "--stand-in", "native")
    assert run.status == 0, run.text
    (record,) = run.records.values()
    assert record.checks[Check.REALTIME].status is Status.PASSED
    assert record.realtime is not None
    assert record.realtime.threads == 4
    assert [scheme.threaded for scheme in record.realtime.schemes] == [False, True]
    assert all(scheme.taken for scheme in record.realtime.schemes)
    assert "real time at 30 fps: " in run.text + (run.report / "index.html").read_text()


def test_a_phone_runs_for_minutes(phone: StandIn, product: Product) -> None:
    one = ("--models", "digits_cnn", "--variants", "int8", "-m", "android and benchmark")
    run = product.run(*one, "--stand-in", "native", "--sustained", "0.03", "-v")
    assert run.status == 0, run.text
    assert "inferences a second over 0.03 minutes" in run.text
    (record,) = run.records.values()
    assert record.sustained is not None
    assert record.sustained.threads == 4
    assert sum(record.sustained.inferences) > 0
    assert (record.energy, record.sustained.energy) == (None, None)
    assert "dumpsys" in record.reasons["energy"]
    assert "dumpsys" in record.sustained.reasons["energy"]
    page = (run.report / "index.html").read_text()
    assert "energy not measured: dumpsys battery" in page

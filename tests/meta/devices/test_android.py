"""`pytest -m android` as its user runs it: on stand-ins, on none, and on phones that are not ready."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from suite.devices.rootfs import native_abi
from suite.devices.standin import StandIn
from suite.record import Check, Stage, Status
from tests.meta.product import Product

PLACE = f"android:stand-in-1-{native_abi()}"
ONE = ("-m", "android", "--models", "digits_cnn", "--profile", "smoke", "-v")
NOBODY = "127.0.0.1:9"  # the discard port: no adb server listens there


@pytest.fixture
def product(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Product:
    """Runs that share what was converted, and what phones are built of."""
    base = tmp_path_factory.getbasetemp()
    made = Product((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "product-cache", tmp_path)
    made.share_phone_parts()
    return made


def test_collecting_without_phones_asks_no_adb_server(product: Product) -> None:
    for arguments in ((), ("-m", "parity"), ("-m", "not android")):
        run = product.run("--collect-only", "-q", *arguments, ADBUTILS_ADB_PATH="/nonexistent/adb")
        assert run.status == 0, run.text
        assert "phone" not in run.text
        assert "android" not in run.text.replace("tests/meta", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "There is no adb here: install Android's platform-tools"),
        (("--adb-host", NOBODY), f"{NOBODY}: listing phones failed"),
        (("--serial", "R58M,R59N", "--adb-host", NOBODY), "R59N: "),
    ],
)
def test_without_a_phone_the_tests_are_skipped_and_where_one_is_required_they_fail(
    product: Product, arguments: tuple[str, ...], said: str
) -> None:
    environment = {"ADBUTILS_ADB_PATH": "/nonexistent/adb", "ANDROID_ADB_SERVER_PORT": "9"}
    run = product.run(*ONE, *arguments, **environment)
    assert run.status == 0, run.text
    assert "nothing proven: no phone is ready" in run.text
    assert said in run.text
    assert {record.status for record in run.records.values()} == {Status.SKIPPED}
    assert {record.stage for record in run.records.values()} == {Stage.LOAD}
    required = product.run(*ONE, *arguments, "--require-device", **environment)
    assert required.status == 1, required.text
    assert {record.status for record in required.records.values()} == {Status.ERROR}
    assert all(said.split(":")[-1] in required.text for _ in required.records)


def test_wrong_words_end_the_run_at_once(product: Product) -> None:
    for arguments, said in (
        (("--adb-host", "somewhere"), "HOST:PORT is expected"),
        (("--stand-in", "mips"), "unknown ABI 'mips'"),
        (("--engines", "tpu", "--adb-host", NOBODY), "--engines tpu: known on phones are xnnpack, cpu"),
    ):
        run = product.run(*ONE, *arguments)
        assert run.status == 4, run.text
        assert said in run.text


def test_a_machine_that_lacks_something_says_what(product: Product) -> None:
    run = product.run(*ONE, "--stand-in", "native", PATH="/nonexistent")
    assert run.status == 4, run.text
    assert "a stand-in phone needs the program bwrap" in run.text
    assert "apt-get install bubblewrap" in run.text


def test_the_smoke_models_are_proven_on_a_stand_in(phone: StandIn, product: Product) -> None:
    run = product.run("-m", "android", "--profile", "smoke", "--stand-in", "native", "-v")
    assert run.status == 0, run.text
    assert "verdict: may ship" in run.text
    assert len(run.records) == 6
    for case_id, record in run.records.items():
        assert case_id.endswith(f"/{PLACE}/xnnpack")
        assert record.status is Status.PASSED
        assert set(record.checks) == set(Check) - {Check.REALTIME}  # which is the host's
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

"""Runners that go wrong in the midst of a run: each costs its own check, and the next goes well."""

from __future__ import annotations

import json
import re

from suite.devices import standin
from suite.devices.standin import StandIn
from suite.record import Check, Stage, Status
from tests.meta.devices.relay import relay
from tests.meta.devices.test_device_session import left_on
from tests.meta.product import Product

TOLD = {
    "batch_ns": [1],
    "inputs": [{"shape": [1, 32, 32, 3], "dtype": "float32"}],
    "outputs": [{"shape": [1, 10], "dtype": "float32"}],
}
TRUE = None  # the runner that is not planted
FAULTS: dict[tuple[str, Check], tuple[str | None, Status, Stage, str]] = {  # in the order of the run
    ("float32", Check.PARITY): (
        "kill -SEGV $$", Status.CRASHED, Stage.RUN, "the runner was ended by SIGSEGV",
    ),
    ("float32", Check.ACCURACY): (
        "exec sleep 77", Status.ERROR, Stage.RUN, "It did not answer in time",
    ),
    ("float32", Check.HOST_PARITY): (TRUE, Status.PASSED, Stage.COMPARE, ""),
    ("dynamic_int8", Check.PARITY): (  # the second artifact, which the cable alters
        TRUE, Status.ERROR, Stage.LOAD, r"\.tflite was altered on the way: the phone has SHA-256",
    ),
    ("dynamic_int8", Check.ACCURACY): (
        "echo hello", Status.ERROR, Stage.RUN, "ended with 0 and said what is no answer: 'hello'",
    ),
    ("dynamic_int8", Check.HOST_PARITY): (TRUE, Status.PASSED, Stage.COMPARE, ""),
    ("int8", Check.PARITY): (
        f"echo x > ../output.bin; echo '{json.dumps(TOLD)}'",
        Status.ERROR, Stage.RUN, r"the runner's output holds 2 bytes, expected \d+ answers of 40",
    ),
    ("int8", Check.ACCURACY): (TRUE, Status.PASSED, Stage.COMPARE, ""),
}  # fmt: skip


class Cable:
    """Alters the artifact of this number among those that go over it, once."""

    def __init__(self, number: int) -> None:
        self.number, self.seen, self.altered = number, 0, False

    def __call__(self, piece: bytes) -> bytes:
        self.seen += piece.count(b".tflite,")  # as a file's name begins its way
        if self.seen == self.number and not self.altered and b"TFL3" in piece:
            self.altered = True
            return piece.replace(b"TFL3", b"TFL2", 1)
        return piece


def test_each_fault_of_a_runner_costs_its_check_alone(phone: StandIn, product: Product) -> None:
    planted = product.folder / "planted.json"
    planted.write_text(json.dumps([runner for runner, *_ in FAULTS.values()]))
    cable = Cable(2)
    with standin.standins() as (other,), relay(other.adb, cable) as line:
        run = product.run(
            *("--models", "digits_cnn", "--variants", "float32,dynamic_int8,int8", "-v"),
            *("-m", "android and (parity or accuracy or host_parity)", f"--adb-host={line}"),
            *("-p", "tests.meta.devices.planted"),
            PLANTED=str(planted),
        )
        assert left_on(other) == ("", [])
    assert run.status == 1, run.text
    assert "Traceback" not in run.text
    assert cable.altered
    for (variant, check), (_, status, stage, said) in FAULTS.items():
        result = run.records[f"digits_cnn/{variant}/android:{other.serial}/xnnpack"].checks[check]
        assert (result.status, result.stage) == (status, stage), run.text
        assert re.search(said, result.message), result.message

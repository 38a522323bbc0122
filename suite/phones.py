"""Which phones a run is for: its options, and the fleet that they name, found once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from suite import selection
from suite.devices import fleet, standin
from suite.devices.benchmark_model import DELEGATES
from suite.devices.fleet import Fleet, Phone
from suite.devices.rootfs import native_abi
from suite.devices.vitals import COOL_SECONDS

TESTS = "test_android.py"  # that only phones can take
_TESTS = f"validate/{TESTS}"
NATIVE = "native"


def add_options(add: Callable[..., None]) -> None:
    """Which phones, and what to do where there is none."""
    add(
        "--serial",
        metavar="SERIAL[,SERIAL]",
        action="append",
        default=[],
        help="these phones of those that adb lists (default: all); repeatable",
    )
    add(
        "--adb-host",
        metavar="HOST:PORT",
        action="append",
        default=[],
        help="phones of this adb server instead of this user's own; repeatable, for a lab of many machines",
    )
    add(
        "--engines",
        metavar="LIST",
        default="",
        help=f"what computes on a phone: {', '.join(fleet.ENGINES)} (default: {fleet.DEFAULT_ENGINE})",
    )
    add(
        "--benchmark-model",
        metavar="PATH",
        default="",
        help="measure with this benchmark_model of Google's (a program, or a folder that holds it and its "
        f"libraries); without it {', '.join(DELEGATES)} fetch it, and the others use device_runner",
    )
    add(
        "--cool-wait",
        metavar="SECONDS",
        type=float,
        default=COOL_SECONDS,
        help="wait so long for a hot phone to cool, before it is measured all the same and its latency gates "
        "say inconclusive (default: %(default)g)",
    )
    add(
        "--fixed-performance",
        action="store_true",
        help="hold the phones' clocks steady meanwhile (Android 11 and newer); switched off again at the end",
    )
    add("--require-device", action="store_true", help="fail where no phone is ready, instead of skipping")
    add(
        "--stand-in",
        metavar="ABI",
        action="append",
        default=[],
        help=f"start a stand-in phone for this run: {NATIVE}, {' or '.join(standin.ABIS)}; repeatable",
    )


def asked(config: Any) -> bool:
    """Whether this run is for phones: only then is adb's server started or asked."""
    option = config.option
    named = any((option.serial, option.adb_host, option.stand_in, option.require_device))
    cases = any(_TESTS in argument or "/android:" in argument for argument in config.args)
    return selection.asked(option, "android", named=named or cases)


def made_of(config: Any) -> Fleet:
    """The phones of this run; a worker of xdist is told by the process that started it.

    Stand-ins end with the run. UsageError, or Lacking where this machine cannot have one.
    """
    option = config.option
    given = getattr(config, "workerinput", {}).get("pocketproof_phones")
    wishes = {
        "required": option.require_device,
        "cool_seconds": option.cool_wait,
        "fixed_performance": option.fixed_performance,
        "benchmark_model": option.benchmark_model,
    }
    if given is not None:
        return Fleet([Phone(**phone) for phone in given], **wishes)
    if not asked(config):
        return Fleet()
    stack = ExitStack()
    config.add_cleanup(stack.close)
    found = [_started(stack, abi, number) for number, abi in enumerate(option.stand_in, 1)]
    serials = _names(option.serial)
    if serials or option.adb_host or not found:
        found += fleet.find(serials, _names(option.adb_host))
    return Fleet(found, **wishes)


def _started(stack: ExitStack, abi: str, number: int) -> Phone:
    """A stand-in for this run, with a place that is the same in the next one."""
    abi = native_abi() if abi == NATIVE else abi
    (made,) = stack.enter_context(standin.standins(1, abi))
    return Phone(
        place=f"android:stand-in-{number}-{abi}",
        serial=made.serial,
        server=str(made.adb),
        title=f"a stand-in, {abi}",
    )


def _names(given: list[str]) -> list[str]:
    return [name.strip() for text in given for name in text.split(",") if name.strip()]

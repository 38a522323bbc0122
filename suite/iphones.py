"""Which iPhones a run is for: `pytest -m ios` on a Mac with one plugged in; elsewhere why there is none."""

from __future__ import annotations

from typing import Any

from suite import selection
from suite.devices.ios import IPhone
from suite.errors import CaseError, PocketproofError
from suite.record import Stage, Status
from suite.runtimes.worker import Worker
from suite.spec import Target

TESTS = "test_ios.py"  # that only iPhones can take
LIST_SECONDS = 300.0
_NONE = Target("ios", "coreml")
_why: dict[int, str] = {}  # by configuration: why no device is ready


def asked(config: Any) -> bool:
    """Whether this run is for iPhones: only then is anything asked of Xcode's tools."""
    named = any(TESTS in argument or "/ios:" in argument for argument in config.args)
    return selection.asked(config.option, "ios", named=named)


def targets(config: Any) -> tuple[Target, ...]:
    """A target for each device that is ready; one that says why there is none, where none is."""
    if not asked(config):
        return ()
    ready, why = connected()
    if not ready:
        _why[id(config)] = why
        return (_NONE,)
    return tuple(Target(f"ios:{phone.udid}", "coreml") for phone in ready)


def missing(config: Any) -> str:
    """Why no device is ready for this run; empty where one is, or none was asked for."""
    return _why.get(id(config), "")


def check(target: Target, config: Any) -> None:
    """CaseError where there is no device: skipped, or failed with --require-device."""
    if target == _NONE:
        required = config.option.require_device
        raise CaseError(
            missing(config) or "no iPhone is ready",
            stage=Stage.PLAN,
            status=Status.FAILED if required else Status.SKIPPED,
        )


def connected() -> tuple[list[IPhone], str]:
    """The devices that are ready, and where there is none why, with the remedy."""
    try:
        with Worker("iPhone") as worker:
            found: list[IPhone] = worker.call(
                "suite.devices.ios:listed", stage=Stage.PLAN, timeout=LIST_SECONDS
            )
    except PocketproofError as error:
        return [], f"no iPhone: {error}; or replay a golden bundle on any Mac: python -m suite bundle MODEL"
    ready = [phone for phone in found if phone.ready]
    if ready:
        return ready, ""
    if not found:
        return [], "no iPhone: devicectl lists none. Plug one in, unlock it, and trust this Mac"
    states = ", ".join(f"{phone.name} is {phone.state}" for phone in found)
    return [], (
        f"no iPhone is ready: {states}. A device that is plugged in can say so all the same: unlock it, "
        "open Xcode's Devices window once, and run again"
    )

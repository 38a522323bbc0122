"""What a phone is: the facts that make two runs on it comparable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from suite.cache import digest
from suite.devices.adb import Device
from suite.record import Stage

_PROPERTIES: Mapping[str, str] = {
    "manufacturer": "ro.product.manufacturer",
    "model": "ro.product.model",
    "device": "ro.product.device",
    "abi": "ro.product.cpu.abi",
    "soc_manufacturer": "ro.soc.manufacturer",
    "soc_model": "ro.soc.model",
    "board": "ro.board.platform",
    "android": "ro.build.version.release",
    "sdk": "ro.build.version.sdk",
    "build": "ro.build.fingerprint",
}
EMULATED = "ro.pocketproof.emulated"  # set by a stand-in whose processor is not this machine's


def environment(device: Device) -> dict[str, Any]:
    """The phone's own words for itself; what it does not say is null. With its clocks held it is another."""
    said = {name: device.properties.get(key) for name, key in _PROPERTIES.items()}
    cores = device.shell("nproc", stage=Stage.LOAD).stdout.strip()
    known = {**said, "cores": int(cores) if cores.isdigit() else None}
    mode = {"fixed_performance": device.fixed_performance}
    alike = {**known, **mode} if device.fixed_performance else known
    return {"fingerprint": digest(alike)[:12], "device": {"serial": device.serial, **known, **mode}}


def notes(device: Device) -> tuple[str, ...]:
    """What a reader must know of where this was measured."""
    if not is_stand_in(device):
        return ()
    words = "a stand-in for a phone, in a sandbox of this machine: its latencies say nothing about phones"
    if device.properties.get(EMULATED) == "1":
        words += ", the less so as its processor is emulated"
    return (words,)


def is_stand_in(device: Device) -> bool:
    """Whether it is one of Pocketproof's own."""
    return device.properties.get("ro.product.device") == "standin"

"""A plugin for runs whose phones are away when they are to be cleaned, for `-p tests.meta.devices.away`."""

from __future__ import annotations

from suite.devices import fleet, wire
from suite.devices.adb import Device
from suite.devices.wire import Address

_NOWHERE = Address("127.0.0.1", 9)  # the discard port: no adb server listens there


def pytest_configure() -> None:
    """Change what the run is made of; to import this module changes nothing."""
    leave = Device._leave

    def gone(self: Device) -> None:
        self._adb = wire.phone(_NOWHERE, self.serial)
        leave(self)

    fleet.RETURN_SECONDS = 0.1
    Device._leave = gone  # type: ignore[method-assign]
    fleet.Fleet.sweep = lambda self: None  # type: ignore[method-assign]  # they are away for all

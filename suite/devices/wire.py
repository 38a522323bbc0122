"""How adb is spoken to: adbutils' protocol, with an end to every wait and no pause after every command."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

from suite.errors import UsageError

DEFAULT_PORT = 5037
SILENCE_SECONDS = 60.0  # without a byte, before a phone counts as gone
_CONNECT_SECONDS = 10
_STDOUT, _STDERR, _STATUS = 1, 2, 3  # packets of adb's shell protocol


@dataclass(frozen=True, slots=True)
class Address:
    """Where an adb server listens."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT

    @classmethod
    def parse(cls, text: str) -> Address:
        """`HOST:PORT`, as --adb-host takes it; UsageError for anything else."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise UsageError(f"--adb-host {text}: HOST:PORT is expected, such as 127.0.0.1:{DEFAULT_PORT}")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def client(server: Address | None) -> Any:
    """A client of a server; one that is named is never started by us, this user's own is."""
    from adbutils import AdbClient  # type: ignore[import-untyped]
    from adbutils._adb import AdbConnection  # type: ignore[import-untyped]
    from adbutils.errors import AdbConnectionError  # type: ignore[import-untyped]

    class Connection(AdbConnection):  # type: ignore[misc]
        def _safe_connect(self) -> Any:
            if server is None:
                return super()._safe_connect()
            try:
                return socket.create_connection((server.host, server.port), timeout=_CONNECT_SECONDS)
            except OSError as error:
                raise AdbConnectionError(f"connect to adb server failed: {error}") from None

        def close(self) -> None:
            if not self.closed:
                self.conn.close()  # at once: adbutils waits for 10 ms each time, most of a short command

    class Client(AdbClient):  # type: ignore[misc]
        def make_connection(self, timeout: float | None = None) -> Any:
            connection = Connection(self.host, self.port)
            connection.conn.settimeout(timeout or SILENCE_SECONDS)
            return connection

    return Client(server.host, server.port) if server else Client()


def phone(server: Address | None, serial: str) -> Any:
    """One phone of a server, as adbutils has it."""
    from adbutils import AdbDevice

    class Patient(AdbDevice):  # type: ignore[misc]
        """With an end to its patience where adbutils has none, in `sync`; closes what it could not open."""

        def open_transport(self, command: str | None = None, timeout: float | None = None) -> Any:
            connection = self._client.make_connection(timeout)
            try:
                _ask_for(connection, serial, command)
                if timeout is None:  # a Python time-out would cut what is sent short; the kernel's does not
                    connection.conn.settimeout(None)
                    limit = struct.pack("ll", int(SILENCE_SECONDS), 0)
                    connection.conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
                    connection.conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            except BaseException:
                connection.close()
                raise
            return connection

    return Patient(client(server), serial=serial)


def _ask_for(connection: Any, serial: str, command: str | None) -> None:
    """Ask the server something of a phone, or, without a command, to be put through to it."""
    connection.send_command(f"host-serial:{serial}:{command}" if command else f"host:tport:serial:{serial}")
    connection.check_okay()
    if not command:
        connection.read_exact(8)  # the transport's number


def shell(device: Any, command: str, seconds: float) -> tuple[bytes, bytes, int]:
    """What a command on a `phone` says on either stream, and its exit status; TimeoutError after `seconds`.

    adb's shell protocol, which Android 7 and newer speak. A phone that talks
    without end is cut off as one is that says nothing.
    """
    deadline = time.monotonic() + seconds
    said = {_STDOUT: bytearray(), _STDERR: bytearray()}
    with device.open_transport(timeout=seconds) as connection:
        connection.send_command(f"shell,v2,raw:{command}")
        connection.check_okay()
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timeout")
            connection.conn.settimeout(left)
            kind, length = struct.unpack("<BI", connection.read_exact(5))
            words = connection.read_exact(length)
            if kind == _STATUS:
                return bytes(said[_STDOUT]), bytes(said[_STDERR]), words[0]
            if kind in said:
                said[kind] += words

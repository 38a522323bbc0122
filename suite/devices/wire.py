"""How adb is spoken to: adbutils' protocol, with an end to every wait and no pause after every command."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import select
import socket
import struct
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from suite.errors import UsageError

DEFAULT_PORT = 5037
_LOOPBACK = "127.0.0.1"
_OWN_HOST, _OWN_PORT = "ANDROID_ADB_SERVER_HOST", "ANDROID_ADB_SERVER_PORT"  # empty ones count as unset
SILENCE_SECONDS = 60.0  # without a byte, before a phone counts as gone
MOST_WORDS = 64 << 20  # bytes that a command may print: the longest honest answer has a few million
_CONNECT_SECONDS = 10
_STDIN, _STDOUT, _STDERR, _STATUS = range(4)  # packets of adb's shell protocol


class TooMuch(OSError):
    """A phone gives more bytes than can be right."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where an adb server listens."""

    host: str = _LOOPBACK
    port: int = DEFAULT_PORT

    @classmethod
    def parse(cls, text: str) -> Address:
        """`HOST:PORT`, as --adb-host takes it; UsageError for anything else."""
        host, _, port = text.rpartition(":")
        if not host or not _is_port(port):
            raise UsageError(f"--adb-host {text}: HOST:PORT is expected, such as {_LOOPBACK}:{DEFAULT_PORT}")
        return cls(host, int(port))

    @classmethod
    def own(cls) -> Address:
        """This user's, as adb finds it; UsageError where the environment names a port that is none."""
        host = os.environ.get(_OWN_HOST) or _LOOPBACK
        port = os.environ.get(_OWN_PORT) or str(DEFAULT_PORT)
        if not _is_port(port):
            raise UsageError(
                f"{_OWN_PORT}={port}: the number of a port is expected, such as {DEFAULT_PORT}; "
                f"unset it, and {DEFAULT_PORT} is taken"
            )
        return cls(host, int(port))

    @property
    def identity(self) -> str:
        """The same for every way to write the address of one server."""
        return f"{_number(self.host)}:{self.port}"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def _is_port(text: str) -> bool:
    return bool(re.fullmatch("[0-9]{1,5}", text)) and 0 < int(text) < 65536


@cache
def _number(host: str) -> str:
    """The number of a host, where its name stands for one; that of loopback for all that is this machine."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return host.lower()
    own = {one.address for addresses in psutil.net_if_addrs().values() for one in addresses}
    if any(number in own or ipaddress.ip_address(number).is_loopback for number in found):
        return _LOOPBACK
    return min(found)


def settle() -> None:
    """To be done before adbutils is imported, which makes a number of the environment's port as it is.

    UsageError as of `Address.own`.
    """
    os.environ[_OWN_PORT] = str(Address.own().port)


def client(server: Address | None) -> Any:
    """A client of a server; one that is named is never started by us, this user's own is."""
    settle()
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

    asked = server or Address.own()
    return Client(asked.host, asked.port)


def phone(server: Address | None, serial: str) -> Any:
    """One phone of a server, as adbutils has it."""
    known_by = client(server)
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

    return Patient(known_by, serial=serial)


def _ask_for(connection: Any, serial: str, command: str | None) -> None:
    """Ask the server something of a phone, or, without a command, to be put through to it."""
    connection.send_command(f"host-serial:{serial}:{command}" if command else f"host:tport:serial:{serial}")
    connection.check_okay()
    if not command:
        connection.read_exact(8)  # the transport's number


def shell(device: Any, command: str, seconds: float) -> tuple[bytes, bytes, int]:
    """What a command on a `phone` says on either stream, and its exit status; TimeoutError after `seconds`.

    adb's shell protocol, which Android 7 and newer speak. A phone that talks
    without end is cut off as one is that says nothing, or, as TooMuch, after
    MOST_WORDS.
    """
    deadline = time.monotonic() + seconds
    said = {_STDOUT: bytearray(), _STDERR: bytearray()}
    with _begun(device, command, seconds) as connection:
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timeout")
            connection.conn.settimeout(left)
            kind, length = _header(connection)
            if sum(map(len, said.values())) + length > MOST_WORDS:
                raise TooMuch(f"it printed more than {MOST_WORDS >> 20} MB")
            words = connection.read_exact(length)
            if kind == _STATUS:
                return bytes(said[_STDOUT]), bytes(said[_STDERR]), words[0]
            if kind in said:
                said[kind] += words


def _begun(device: Any, command: str, seconds: float) -> Any:
    """A connection on which a command runs."""
    connection = device.open_transport(timeout=seconds)
    try:
        connection.send_command(f"shell,v2,raw:{command}")
        connection.check_okay()
    except BaseException:
        connection.close()
        raise
    return connection


def _header(connection: Any) -> tuple[int, int]:
    """Kind and length of the next packet."""
    kind, length = struct.unpack("<BI", connection.read_exact(5))
    return kind, length


class Talk:
    """A command on a phone that goes on, and is spoken to a line at a time; it ends with this process."""

    def __init__(self, device: Any, command: str, seconds: float) -> None:
        """Begin it; each answer is waited for `seconds` at most."""
        self._connection = _begun(device, command, seconds)

    def say(self, line: str) -> None:
        """Give it a line to read."""
        words = f"{line}\n".encode()
        self._connection.conn.sendall(struct.pack("<BI", _STDIN, len(words)) + words)

    def hear(self) -> str:
        """The next that it prints; empty when it has ended."""
        while True:
            kind, length = _header(self._connection)
            words = self._connection.read_exact(min(length, MOST_WORDS))
            if kind == _STATUS:
                return ""
            if kind == _STDOUT and words:
                return str(words.decode(errors="replace"))

    @property
    def over(self) -> bool:
        """Whether it has ended, or its phone has gone: there is something to read where nothing is said."""
        return bool(select.select([self._connection.conn], [], [], 0)[0])

    def close(self) -> None:
        """Hang up; the command gets a SIGHUP where it runs still."""
        self._connection.close()


def pull(device: Any, path: str, target: Path, most_bytes: int | None) -> None:
    """Fetch a file of a `phone`; TooMuch as soon as it is longer than `most_bytes`."""
    with contextlib.closing(device.sync.iter_content(path)) as pieces, target.open("wb") as file:
        for piece in pieces:
            file.write(piece)
            if most_bytes is not None and file.tell() > most_bytes:
                raise TooMuch(f"it holds more than the {most_bytes} bytes that were expected")

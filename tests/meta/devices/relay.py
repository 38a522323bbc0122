"""A line between adb's client and its server on which bits can change: what a bad cable does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from suite.devices.wire import Address


@contextmanager
def relay(server: Address, change: Callable[[bytes], bytes]) -> Iterator[Address]:
    """Where the server answers too; what is sent to it goes through `change`, piece by piece."""

    def serve(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=connect, args=(listening.accept()[0],), daemon=True).start()

    def connect(ours: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            ours,
            socket.create_connection((server.host, server.port)) as theirs,
        ):
            back = threading.Thread(target=pump, args=(theirs, ours, bytes), daemon=True)
            back.start()
            pump(ours, theirs, change)
            back.join()

    def pump(source: socket.socket, sink: socket.socket, through: Callable[[bytes], bytes]) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                sink.sendall(through(piece))
            sink.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        try:
            yield Address("127.0.0.1", listening.getsockname()[1])
        finally:
            listening.shutdown(socket.SHUT_RDWR)

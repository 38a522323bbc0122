"""Moments at which a phone is taken away: what has happened by then, not how long it took."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from suite.devices.standin import StandIn

POLL_SECONDS = 0.002


def ours(phone: StandIn) -> Path:
    """Our directory on the phone, as this machine sees it."""
    return phone.folder / "data" / "local" / "tmp" / "pocketproof"


def sent_to(phone: StandIn, name: str) -> bool:
    """Whether a file of that name is on its way."""
    return (ours(phone) / name).exists()


def runs(phone: StandIn) -> bool:
    """Whether the runner runs."""
    number = ours(phone) / "runner.pid"
    return number.exists() and number.stat().st_size > 0


@contextmanager
def unplugged(phone: StandIn, happened: Callable[[], bool]) -> Iterator[None]:
    """Within it, the phone is taken away once something has happened; which it must have by its end."""
    over = threading.Event()
    seen: list[bool] = []

    def watch() -> None:
        while not over.wait(POLL_SECONDS):
            if happened():
                seen.append(True)
                phone.unplug()
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    assert seen, "the moment never came"

"""A thread that makes ready what comes next while a worker answers, and whoever needs quiet waits for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable


class Ahead:
    """One piece of work at a time. What it fails at is told by whoever does the same in earnest."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def begin(self, work: Callable[[], None]) -> None:
        """Do it beside; wait for what was begun before."""
        self.wait()

        def quietly() -> None:
            with contextlib.suppress(Exception):
                work()

        self._thread = threading.Thread(target=quietly, name="ahead", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until nothing is being done."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

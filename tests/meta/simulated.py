"""Time that passes only while every thread waits: how busy the machine is changes nothing that is measured.

`on_simulated_time` puts it in the place of the modules `time` and `threading`
in a module under test. Its threads wait by `sleep`, on a `Condition` without a
time-out, or for a thread's end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

LEAST_NS = 10_000  # that a sleep takes, of nothing too: whoever looks at the clock over and over gets on


class SimulatedTime:
    """A clock in nanoseconds, and the threads that live by it; the one that makes it is the first."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._turn = threading.Condition(threading.RLock())
        self._busy = 1
        self._dues: list[int] = []

    def sleep(self, seconds: float) -> None:
        """Until that much later."""
        with self._turn:
            due = self.now_ns + max(round(seconds * 1e9), LEAST_NS)
            self._dues.append(due)
            self.wait(lambda: self.now_ns >= due)

    def wait(self, over: Callable[[], bool]) -> None:
        """Let time pass until `over`; whoever makes it so has counted this thread among the busy again."""
        with self._turn:
            self._busy -= 1
            self._pass()
            while not over():
                self._turn.wait()

    def wake(self, threads: int = 1) -> None:
        """That many threads have something to do again."""
        self._busy += threads
        self._turn.notify_all()

    def _pass(self) -> None:
        """On to when the next thread is due, where none has anything to do."""
        if self._busy == 0 and self._dues:
            self.now_ns = min(self._dues)
            later = [due for due in self._dues if due > self.now_ns]
            woken, self._dues = len(self._dues) - len(later), later
            self.wake(woken)

    def condition(self) -> Any:
        """In the place of threading.Condition."""
        return _Condition(self, self._turn)

    def thread(self, target: Callable[[], None], **options: Any) -> Any:
        """In the place of threading.Thread."""
        return _Thread(self, self._turn, target, **options)


class _Condition:
    """One lock for all: nothing of what is tested takes time but its sleeps."""

    def __init__(self, time: SimulatedTime, turn: threading.Condition) -> None:
        self._time, self._turn, self._waiting = time, turn, []

    def __enter__(self) -> None:
        self._turn.acquire()

    def __exit__(self, *_: object) -> None:
        self._turn.release()

    def wait(self) -> None:
        told: list[bool] = []
        self._waiting.append(told)
        self._time.wait(lambda: bool(told))

    def notify(self) -> None:
        if self._waiting:
            self._waiting.pop(0).append(True)
            self._time.wake()


class _Thread:
    def __init__(
        self, time: SimulatedTime, turn: threading.Condition, target: Callable[[], None], **options: Any
    ) -> None:
        self._time, self._turn, self._target = time, turn, target
        self._thread = threading.Thread(target=self._run, **options)
        self._ended, self._joiners = False, 0

    def start(self) -> None:
        with self._turn:
            self._time.wake()
        self._thread.start()

    def _run(self) -> None:
        try:
            self._target()
        finally:
            with self._turn:
                self._ended = True
                self._time.wake(self._joiners)
                self._time.wait(lambda: True)  # it does nothing any more

    def join(self) -> None:
        with self._turn:
            if not self._ended:
                self._joiners += 1
                self._time.wait(lambda: self._ended)
        self._thread.join()


def on_simulated_time(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> SimulatedTime:
    """The time that a module lives by from now on; its `_clock` too."""
    time = SimulatedTime()
    monkeypatch.setattr(module, "_clock", lambda: time.now_ns)
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=time.sleep))
    monkeypatch.setattr(module, "threading", SimpleNamespace(Thread=time.thread, Condition=time.condition))
    return time

"""Work beside: one piece at a time, waited for where quiet is needed, and silent where it fails."""

from __future__ import annotations

import threading

import pytest

from suite.ahead import Ahead


def test_work_is_done_beside_and_waited_for() -> None:
    ahead, may_end, ended = Ahead(), threading.Event(), []

    def work() -> None:
        may_end.wait(30)
        ended.append(threading.current_thread())

    ahead.wait()  # for nothing
    ahead.begin(work)
    assert not ended
    may_end.set()
    ahead.wait()
    (thread,) = ended
    assert thread is not threading.current_thread()
    assert not thread.is_alive()


def test_the_next_work_begins_when_the_last_has_ended() -> None:
    ahead, order = Ahead(), []
    first = threading.Event()
    ahead.begin(lambda: order.append(first.wait(30)))
    threading.Timer(0.05, first.set).start()
    ahead.begin(lambda: order.append("second"))
    ahead.wait()
    assert order == [True, "second"]


def test_what_it_fails_at_is_not_told(recwarn: pytest.WarningsRecorder) -> None:
    ahead = Ahead()
    ahead.begin(lambda: 1 / 0)  # type: ignore[arg-type]
    ahead.wait()
    assert not recwarn.list

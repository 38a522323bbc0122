"""Workers, one of a kind; and those that start ahead, so that nothing timed has to wait or to share."""

from __future__ import annotations

import os
import signal
import sys
from types import SimpleNamespace

import psutil
import pytest

from suite.errors import PocketproofError, WorkerCrashed
from suite.record import Stage
from suite.runtimes import ENGINES, Pool
from suite.runtimes.pool import _IMPORTS, LITERT, SPARE_BYTES, TFLITE_RUNTIME
from suite.runtimes.worker import Worker

BAD = "tests.meta.misbehaviour:"


def ask(worker: Worker, function: str, *args: object) -> object:
    return worker.call(function, *args, stage=Stage.RUN, timeout=30)


def waiting(pool: Pool) -> list[Worker]:
    return [spare for spares in pool._spares.values() for spare in spares]


def seconds(worker: Worker) -> float:
    return sum(psutil.Process(worker.pid).cpu_times()[:2])


# --- one of a kind ----------------------------------------------------------------------


def test_a_pool_holds_one_worker_of_a_kind_and_replaces_the_dead(pool: Pool) -> None:
    first = pool.worker("steady")
    assert pool.worker("steady") is first
    assert pool.worker("other") is not first
    with pytest.raises(WorkerCrashed):
        ask(first, BAD + "segfault")
    second = pool.worker("steady")
    assert second is not first
    assert ask(second, BAD + "echo", 4) == 4
    pool.close()
    pool.close()
    assert not second.alive()


def test_a_pool_opens_a_new_worker_and_the_one_after_a_crash(pool: Pool) -> None:
    for _ in range(2):
        worker = pool.worker("counting", BAD + "Counter")
        assert pool.worker("counting", BAD + "Counter") is worker
        assert ask(worker, ".add", 1) == 1
        os.kill(worker.pid, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(worker.pid)], timeout=10)


def test_a_worker_that_could_not_open_is_not_kept(pool: Pool) -> None:
    for _ in range(2):  # the second says the same, and not that nothing was opened
        with pytest.raises(PocketproofError, match="no such library here"):
            pool.worker("refusing", BAD + "refuse")


def test_workers_that_are_started_ahead_are_those_that_are_asked(pool: Pool) -> None:
    kept = pool.worker("one")
    pool.expect(["one", "two", "three"], {})
    pool.stock(1)
    ahead = pool._workers["two"]
    assert "three" not in pool._workers
    assert pool.worker("one") is kept
    assert pool.worker("two") is ahead
    pool.settle()
    assert seconds(ahead) > 0.02
    os.kill(ahead.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(ahead.pid)], timeout=10)
    assert ask(pool.worker("two"), "os:getpid") != ahead.pid
    pool.stock(5)
    assert ask(pool._workers["three"], "os:getpid")


@pytest.mark.parametrize("kind", _IMPORTS)
def test_a_worker_has_imported_what_its_kind_needs_before_it_is_asked(pool: Pool, kind: str) -> None:
    assert kind in {engine.worker for engine in ENGINES.values()}
    found = ask(pool.worker(kind), BAD + "imported")
    assert set(_IMPORTS[kind]) <= set(found)  # type: ignore[call-overload]
    assert "tensorflow" not in found  # type: ignore[operator]


def test_a_worker_whose_imports_fail_says_so_when_it_is_asked(
    monkeypatch: pytest.MonkeyPatch, pool: Pool
) -> None:
    monkeypatch.setitem(_IMPORTS, "lacking", ("no.such.module", "json"))  # type: ignore[arg-type]
    worker = pool.worker("lacking")
    assert "json" in ask(worker, BAD + "imported")  # type: ignore[operator]
    with pytest.raises(PocketproofError, match="No module named 'no'"):
        ask(worker, "no.such.module:function")


# --- the first to open an artifact ------------------------------------------------------


def test_a_fresh_worker_is_no_other(pool: Pool) -> None:
    with pool.fresh("test") as first, pool.fresh("test") as second:
        assert len({first.pid, second.pid, pool.worker("test").pid}) == 3
    assert not first.alive()
    assert not second.alive()


def test_no_worker_waits_that_nobody_will_ask_for(pool: Pool) -> None:
    pool.stock(9)
    assert not waiting(pool)
    pool.expect([], {"test": 1})
    pool.fresh("test").close()
    pool.stock(9)
    assert not waiting(pool)


def test_expected_workers_have_started_when_the_pool_is_settled_and_are_given(pool: Pool) -> None:
    pool.expect([], {LITERT: 2, TFLITE_RUNTIME: 1})
    pool.stock(9)
    spares = waiting(pool)
    pool.settle()
    before = [seconds(spare) for spare in spares]
    assert all(one > 0.02 for one in before)  # NumPy is imported
    given = [pool.fresh(kind) for kind in (LITERT, LITERT, TFLITE_RUNTIME)]
    assert given == spares
    for worker in given:
        assert "numpy" in ask(worker, BAD + "imported")  # type: ignore[operator]
        worker.close()
    assert not waiting(pool)


def test_only_so_many_wait_at_a_time(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[Pool.__module__]
    monkeypatch.setattr(module, "_started", lambda kind: FakeWorker())
    monkeypatch.setattr(module, "_room", lambda waiting: 100 - waiting)
    pool.expect(["a kind"], {"one": 5, "two": 100})
    pool.stock(3)
    assert pool.waiting == len(waiting(pool)) == 2
    pool.stock(6)
    assert {kind: len(spares) for kind, spares in pool._spares.items()} == {"one": 5, "two": 3}
    pool.fresh("one")
    pool.stock(0)
    pool.stock(-2)
    assert pool.waiting == 7
    pool.stock(1000)
    assert pool.waiting == 100


@pytest.mark.parametrize(
    ("available", "waiting", "room"),
    [(16 << 30, 0, 32), (2 << 30, 0, 4), (100 << 20, 0, 0), (1 << 30, 32, -28)],
)
def test_those_that_wait_take_a_small_share_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, available: int, waiting: int, room: int
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=available))
    assert sys.modules[Pool.__module__]._room(waiting) == room


def test_a_worker_that_waits_takes_no_more_than_is_reckoned_with(pool: Pool) -> None:
    pool.expect([], {LITERT: 1})
    pool.stock(1)
    pool.settle()
    (spare,) = waiting(pool)
    assert psutil.Process(spare.pid).memory_full_info().uss < 1.25 * SPARE_BYTES


class FakeWorker:
    """What is counted, in place of a process."""

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        pass


def test_a_spare_worker_that_died_is_not_given_and_one_that_is_left_ends_with_the_pool(pool: Pool) -> None:
    pool.expect([], {"test": 3})
    pool.stock(3)
    for settled in (True, False):
        dead, *_ = (spare for spare in waiting(pool) if spare.alive())
        os.kill(dead.pid, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(dead.pid)], timeout=10)
        if settled:
            pool.settle()
    with pool.fresh("test") as fresh:
        assert ask(fresh, "os:getpid") == fresh.pid
    pool.expect([], {"test": 1})
    pool.stock(1)
    left, *_ = waiting(pool)
    pool.close()
    assert not left.alive()

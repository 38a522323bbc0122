"""A runtime in its own process: whatever happens to it is an answer or an error here, and soon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import psutil
import pytest

from suite.errors import CaseError, StagedError, Unsupported, WorkerCrashed, WorkerStopped
from suite.record import Stage, Status
from suite.runtimes.worker import Worker
from tests.meta.conftest import ROOT

BAD = "tests.meta.misbehaviour:"


@pytest.fixture(scope="module")
def steady() -> Iterator[Worker]:
    """One for the tests that leave it alive."""
    with Worker("steady") as worker:
        yield worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    with Worker("LiteRT") as made:
        yield made


def call(worker: Worker, function: str, *args: object, timeout: float = 30) -> object:
    return worker.call(BAD + function, *args, stage=Stage.RUN, timeout=timeout)


# --- answers --------------------------------------------------------------------


def test_a_call_is_answered_from_another_process(steady: Worker) -> None:
    assert steady.call("os:getpid", stage=Stage.RUN, timeout=30) == steady.pid != os.getpid()


def test_large_arrays_cross_both_ways(steady: Worker) -> None:
    sent = np.random.default_rng(0).normal(size=(500, 1000))
    np.testing.assert_array_equal(call(steady, "echo", sent), sent)


def test_what_open_makes_is_held_until_the_next(steady: Worker) -> None:
    def add(number: int) -> object:
        return steady.call(".add", number, stage=Stage.RUN, timeout=30)

    steady.call("open", BAD + "Counter", 5, stage=Stage.LOAD, timeout=30)
    assert (add(2), add(2)) == (7, 9)
    assert steady.call(".unit", stage=Stage.RUN, timeout=30) == "pieces"
    steady.call("open", BAD + "Counter", stage=Stage.LOAD, timeout=30)
    assert add(2) == 2


def test_environment_and_name_are_the_workers_own() -> None:
    with Worker("other", {"CUDA_VISIBLE_DEVICES": "7"}) as worker:
        assert call(worker, "environment", "CUDA_VISIBLE_DEVICES") == "7"
        assert call(worker, "environment", "TF_CPP_MIN_LOG_LEVEL") == "3"


# --- errors that leave the process alive --------------------------------------------


def test_an_ordinary_exception_is_a_failed_case_that_says_where(steady: Worker) -> None:
    with pytest.raises(CaseError, match="ValueError: seven is not a size") as caught:
        call(steady, "ordinary")
    assert "misbehaviour.py" in str(caught.value)
    assert "in ordinary" in str(caught.value)
    assert (caught.value.stage, caught.value.status) == (Stage.RUN, Status.FAILED)


@pytest.mark.parametrize(
    ("function", "kind", "stage", "status"),
    [
        ("unsupported", Unsupported, Stage.LOAD, Status.UNSUPPORTED),
        ("staged", CaseError, Stage.MEASURE, Status.SKIPPED),
        ("private", StagedError, Stage.BUILD, Status.UNSUPPORTED),
    ],
)
def test_an_error_of_ours_keeps_its_stage_and_status(
    steady: Worker, function: str, kind: type[StagedError], stage: Stage, status: Status
) -> None:
    with pytest.raises(kind) as caught:
        call(steady, function)
    assert type(caught.value) is kind
    assert (caught.value.stage, caught.value.status) == (stage, status)


def test_an_error_class_that_only_the_worker_knows_keeps_its_words(steady: Worker) -> None:
    with pytest.raises(StagedError, match=r"^private matter 5$"):
        call(steady, "private")


@pytest.mark.parametrize("function", ["unpicklable", "foreign"])
def test_an_answer_that_cannot_be_sent_is_an_error_and_no_crash(steady: Worker, function: str) -> None:
    with pytest.raises(CaseError, match=r"Pickl|pickle"):
        call(steady, function)
    assert call(steady, "echo", 1) == 1


def test_an_argument_that_cannot_be_sent_leaves_the_worker_in_step(steady: Worker) -> None:
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        call(steady, "echo", lambda: None)
    assert call(steady, "echo", 2) == 2


@pytest.mark.parametrize("function", ["suite.nowhere:nothing", BAD + "nothing", ".nothing"])
def test_a_name_that_is_not_there_is_an_error_and_no_crash(steady: Worker, function: str) -> None:
    with pytest.raises(CaseError, match=r"nowhere|nothing|session"):
        steady.call(function, stage=Stage.LOAD, timeout=30)
    assert call(steady, "echo", 3) == 3


# --- the end of a process -------------------------------------------------------------


def test_a_segfault_names_its_signal_and_the_last_words(worker: Worker) -> None:
    with pytest.raises(WorkerCrashed, match="LiteRT was ended by SIGSEGV") as caught:
        call(worker, "segfault")
    assert not isinstance(caught.value, WorkerStopped)
    assert "about to read address zero" in str(caught.value)
    assert (caught.value.stage, caught.value.status) == (Stage.RUN, Status.CRASHED)
    assert not worker.alive()


def test_an_exit_names_its_status_and_the_last_words(worker: Worker) -> None:
    with pytest.raises(WorkerCrashed, match=r"ended with exit status 3\..*arena exhausted"):
        call(worker, "leave", 3, "arena exhausted")


def test_noise_in_the_log_is_not_shown(worker: Worker) -> None:
    with pytest.raises(WorkerCrashed) as caught:
        call(worker, "leave", 3, "INFO: Created delegate\nthe reason\nWARNING: All log messages")
    assert "the reason" in str(caught.value)
    assert "delegate" not in str(caught.value)


def test_a_kill_from_outside_suspects_the_memory(worker: Worker) -> None:
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerStopped, match=r"SIGKILL \(out of memory, perhaps\)"):
        call(worker, "echo", 1)


def test_a_hang_is_ended_at_its_time_out(worker: Worker) -> None:
    call(worker, "echo", 1)  # it is up: the second is the call's alone
    start = time.monotonic()
    with pytest.raises(WorkerStopped, match="did not answer within 2 s and was ended") as caught:
        call(worker, "hang", "loading op 17", timeout=2)
    assert time.monotonic() - start < 10
    assert "loading op 17" in str(caught.value)
    assert not psutil.pid_exists(worker.pid)


def test_a_worker_that_has_ended_says_so(worker: Worker) -> None:
    worker.close()
    worker.close()
    assert not worker.alive()
    with pytest.raises(WorkerCrashed, match="has ended: open it again"):
        call(worker, "echo", 1)


def test_an_answer_that_came_too_late_is_not_the_next_calls(worker: Worker) -> None:
    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(Interrupted):
            call(worker, "slow", 1.0, "late")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(WorkerCrashed, match="open it again"):
        call(worker, "echo", "next")


PARENT = """
import sys
from suite.record import Stage
from suite.runtimes.worker import Worker
worker = Worker("orphan")
print(worker.pid, flush=True)
worker.call(sys.argv[1], *sys.argv[2:], stage=Stage.RUN, timeout=600)
"""


def test_a_worker_dies_with_its_parent_also_within_a_call() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, BAD + "hang"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        time.sleep(0.5)  # until it is inside the call
        parent.kill()
    gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone or child.status() == psutil.STATUS_ZOMBIE  # where no init reaps it


def test_a_worker_that_nobody_holds_is_ended() -> None:
    worker = Worker("forgotten")
    child = psutil.Process(worker.pid)
    worker._log.close()  # what an interpreter would warn of
    worker._connection.close()
    del worker
    assert not child.is_running()

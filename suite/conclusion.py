"""How a run ends: what was left for when all is quiet, then report and verdict, whatever went wrong."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from suite import run
from suite.errors import PocketproofError
from suite.run import Run

_BROKEN_OFF = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)


class Conclusion:
    """A plugin of its own for its place: around what others write at the end, within the terminal's summary.

    To have that place it is registered while pytest configures itself.
    """

    def __init__(self, current: Run) -> None:
        self._run = current

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Let the others finish; then conclude, where any case was examined."""
        current, result = self._run, None
        try:
            result = yield
        except OSError as error:  # of pytest's cache, its XML or pytest-benchmark's file
            if not current.begun:
                current.abandon()
                raise
            current.stop(
                f"{error.filename or 'a file of pytest'}: cannot write: {error.strerror}. "
                "Free some space, then run again: what is cached is not computed twice"
            )
        if not current.begun:
            current.abandon()
            return result
        try:
            _conclude(session, current)
        except PocketproofError as error:
            current.stop(str(error))
        except KeyboardInterrupt:
            current.stop(
                "interrupted before the report was written: "
                f"python -m suite report {current.open()} writes it"
            )
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        if current.stopped and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return result


def _conclude(session: pytest.Session, current: Run) -> None:
    if run.is_parallel(session.config):
        current.phones.sweep()
        if session.exitstatus not in _BROKEN_OFF and not current.stopped:
            _measure_alone(session, current)
    current.notes += current.phones.left.values()
    if current.stopped and session.exitstatus == pytest.ExitCode.INTERRUPTED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED  # nobody interrupted it; xdist says so of a stop
    if current.continues:
        return
    passed = current.conclude().passed
    if session.exitstatus == pytest.ExitCode.OK and not passed and not current.waits_for_a_phone:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _measure_alone(session: pytest.Session, current: Run) -> None:
    """What workers left out, in a process of its own."""
    status = current.run_benchmarks_alone()
    current.add_phones_to_benchmark_file()
    if status == pytest.ExitCode.INTERRUPTED:
        current.notes.append("interrupted while the timed checks ran alone: what is missing of them fails")
    if status == pytest.ExitCode.INTERRUPTED or session.exitstatus in (
        pytest.ExitCode.OK,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    ):
        session.exitstatus = status

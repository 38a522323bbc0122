"""A runtime in a process of its own: a native crash or a hang costs one case, not the run.

The parent calls functions by name and gets their answer or their error. The
worker is started by `python -m suite.runtimes.worker`, holds what it opened
between calls, and dies with its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from suite.cache import UNWRITABLE
from suite.errors import CaseError, PocketproofError, StagedError, WorkerCrashed, WorkerStopped
from suite.record import Stage

_ROOT = Path(__file__).resolve().parents[2]
_LOG_LINES = 6  # of the dead worker's output that its error shows
_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_DEPRECATION_WARNINGS": "0",
    "GLOG_minloglevel": "3",
    "PYTHONFAULTHANDLER": "1",
    "KERAS_BACKEND": "tensorflow",
    "CUDA_VISIBLE_DEVICES": "-1",
}


class Worker:
    """A child process that runs functions of this package on request. Not for several threads at once.

    It imports the modules `imports` before the first request, where it can.
    """

    def __init__(
        self, name: str, environment: Mapping[str, str] | None = None, *, imports: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.opened = 0  # how often it was asked to open something, which puts away what it held
        ours, theirs = socket.socketpair()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno()), str(os.getpid()), *imports],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={
                **os.environ,
                **_QUIET,
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                **(environment or {}),
            },
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        self._finalizer = weakref.finalize(self, _kill, self._process)

    @property
    def pid(self) -> int:
        """Of the child process."""
        return self._process.pid

    def resident_bytes(self) -> int:
        """Resident set of the child; 0 when it has ended."""
        import psutil

        with contextlib.suppress(psutil.Error):
            return int(psutil.Process(self.pid).memory_info().rss)
        return 0

    def alive(self) -> bool:
        """Whether the child still runs."""
        return self._process.poll() is None

    def call(self, function: str, *args: Any, stage: Stage, timeout: float) -> Any:
        """Call `package.module:function` or, on what `open` left, `.method`, over there.

        Raises what it raised where that is a PocketproofError; WorkerCrashed
        when the process died, WorkerStopped when it was killed or did not
        answer within `timeout` seconds.
        """
        if self._log.closed:
            raise WorkerStopped(f"{self.name} has ended: open it again", stage=stage)
        self.opened += function == "open"
        request = pickle.dumps((function, args))
        self._log.seek(0, os.SEEK_END)
        try:
            self._connection.send_bytes(request)
            if not self._connection.poll(timeout):
                words = self._last_words()
                self.close()
                raise self._crashed(
                    f"{self.name} did not answer within {timeout:.0f} s and was ended. {words}"
                    "Run it alone to see whether it hangs or is only slow.",
                    stage,
                    WorkerStopped,
                )
            answer = self._connection.recv()
        except (EOFError, ConnectionError, BrokenPipeError):
            words = self._obituary()
            stopped = self._process.returncode == -signal.SIGKILL
            raise self._crashed(words, stage, WorkerStopped if stopped else WorkerCrashed) from None
        except BaseException:  # interrupted: the answer, when it comes, is not that of the next call
            self.close()
            raise
        return _unwrap(answer, stage)

    def close(self) -> None:
        """End the child; a second call does nothing."""
        self._connection.close()
        self._finalizer()
        self._log.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _crashed(self, message: str, stage: Stage, kind: type[WorkerCrashed]) -> WorkerCrashed:
        error = kind(message, stage=stage)
        error.worker = self.name
        return error

    def _obituary(self) -> str:
        """How the child ended; closes it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.returncode
        if code is not None and code < 0:
            ending = f"was ended by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                ending += " (out of memory, perhaps)"
        else:
            ending = f"ended with exit status {code}"
        words = self._last_words()
        self.close()
        return f"{self.name} {ending}. {words}The artifact or the runtime is at fault; the other cases go on."

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        told = [line.strip() for line in lines if line.strip() and not _NOISE.match(line)]
        return f"Its last words: {' | '.join(told[-_LOG_LINES:])[-600:]} . " if told else ""


# Lines that say nothing of why a worker died.
_NOISE = re.compile(r"^(INFO|WARNING|I0000|W0000|\s+File \"|Extension modules|Thread 0x|Current thread)")


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


def _unwrap(answer: tuple[str, Any], stage: Stage) -> Any:
    kind, value = answer
    if kind == "ok":
        return value
    if isinstance(value, PocketproofError):
        raise value
    name, message, trace = value
    raise CaseError(f"{name}: {message}\n{trace}", stage=stage)


# --- the child's side ---------------------------------------------------------


def _import(modules: Sequence[str]) -> None:
    """Import what will be needed; whoever needs what cannot be imported is told."""
    for module in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(module)


def _serve(connection: Connection) -> None:
    """Answer calls until the parent goes."""
    held: dict[str, Any] = {}
    while True:
        try:
            function, args = connection.recv()
        except (EOFError, ConnectionError):
            return
        connection.send_bytes(_answer(held, function, args))


def _answer(held: dict[str, Any], function: str, args: tuple[Any, ...]) -> bytes:
    """The pickled reply; an answer that cannot be pickled is an error like any other."""
    reply: tuple[str, Any]
    try:
        return pickle.dumps(("ok", _dispatch(held, function, args)))
    except PocketproofError as error:
        reply = ("error", _plain(error))
    except OSError as error:
        if error.errno not in UNWRITABLE:
            reply = ("raised", (type(error).__name__, str(error), _short_trace(error)))
        else:
            reply = (
                "error",
                PocketproofError(f"cannot write {error.filename}: {error.strerror}. Free some space"),
            )
    except Exception as error:
        reply = ("raised", (type(error).__name__, str(error), _short_trace(error)))
    return pickle.dumps(reply)


def _plain(error: PocketproofError) -> PocketproofError:
    """The error as a class of this package: the parent may lack one that a fixture defines."""
    kind = next(kind for kind in type(error).__mro__ if kind.__module__.partition(".")[0] == "suite")
    fields = {"stage": error.stage, "status": error.status} if isinstance(error, StagedError) else {}
    plain: PocketproofError = kind(str(error), **fields)
    return plain


def _dispatch(held: dict[str, Any], function: str, args: tuple[Any, ...]) -> Any:
    """`open` keeps what a factory returns; `.name` calls or reads an attribute of it."""
    if function == "open":
        factory, *rest = args
        held.pop("session", None)
        held["session"] = _resolve(factory)(*rest)
        return None
    if function.startswith("."):
        attribute = getattr(held["session"], function[1:])
        return attribute(*args) if callable(attribute) else attribute
    return _resolve(function)(*args)


def _resolve(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _short_trace(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return "\n".join(f"  at {Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames)


def _die_with_parent(parent: int) -> None:
    """Also when this process is inside a native call that never returns."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    _die_with_parent(int(sys.argv[2]))
    _import(sys.argv[3:])
    _serve(Connection(int(sys.argv[1])))

"""The timed checks of a parallel run: called as the run was, and waited for when it is interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from suite import alone
from suite.record import Check, Status
from suite.store import load
from tests.meta.product import HOST, ROOT, fixture

ATTENDING = """
import os, signal, sys, threading, time
from pathlib import Path
from suite import alone

alone._ENDING = 2.0
reached = {"this": lambda: os.kill(os.getpid(), signal.SIGINT), "both": lambda: os.killpg(0, signal.SIGINT)}

def interrupt():
    while not Path("started").exists():
        time.sleep(0.01)
    reached[sys.argv[1]]()

os.setpgid(0, 0)
threading.Thread(target=interrupt, daemon=True).start()
print(alone.attend([sys.executable, "-c", sys.argv[2]], Path.cwd()))
"""
ENDS = """
import time
from pathlib import Path
from suite import alone

alone.listen()
try:
    Path("started").touch()
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)  # it has something to put away
    Path("ended").touch()
"""
DEAF = ENDS.replace("alone.listen()", "import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)")


@pytest.mark.parametrize(
    ("reached", "code", "ended"),
    [("this", ENDS, True), ("both", ENDS, True), ("this", DEAF, False)],
    ids=["a signal to the run alone", "Ctrl-C in a terminal", "a process that does not end"],
)
def test_an_interrupted_run_waits_for_the_end_of_its_timed_checks(script, tmp_path, reached, code, ended):
    start = time.monotonic()
    done = script(ATTENDING, reached, code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(alone.INTERRUPTED)]
    assert done.stderr == ""
    assert (tmp_path / "ended").exists() is ended
    assert time.monotonic() - start < 50, "a deaf one is not waited for for ever"


def test_a_process_ends_with_its_own_status():
    assert alone.attend([sys.executable, "-c", "raise SystemExit(7)"], Path.cwd()) == 7


def test_what_the_user_gave_in_the_environment_is_kept(monkeypatch):
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST"):
        monkeypatch.setenv(name, "given")
    kept = alone.environment()
    assert {"PYTEST_ADDOPTS", "PYTEST_PLUGINS"} <= set(kept)
    assert not {"PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST"} & set(kept)


# --- from end to end --------------------------------------------------------------------------


def test_options_in_the_environment_hold_for_the_benchmarks_too(product):
    folder = product.fixtures(mine=fixture())
    run = product.run(
        *("-n", "2", "--profile", "smoke", "--variants", "float32"),
        PYTEST_ADDOPTS=f"--fixtures-dir={folder} --models=mine",
    )
    assert run.status == 0, run.text
    assert list(run.records) == [f"mine/float32/{HOST}"]
    assert Check.BENCHMARK in run.records[f"mine/float32/{HOST}"].checks


def _remembering(product, *arguments: str) -> tuple[int, str, Path]:
    """A parallel run with pytest's cache: its status, what it said, and where it reports."""
    command, report = product.command(*arguments, "--profile", "smoke", "--variants", "float32", "-n2")
    del command[command.index("-p") :]
    command.append(f"-ocache_dir={product.folder / 'pytest-cache'}")
    done = subprocess.run(
        command, cwd=ROOT, env=product.environment(), capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr, report


def _node(test: str, case: str, more: str = "") -> str:
    return f"tests/validate/test_{test}.py::test_{test}[{case}/{HOST}{more}]"


def test_what_failed_last_is_run_again_benchmarks_among_it_and_no_more(product):
    known = product.folder / "pytest-cache" / "v" / "cache" / "lastfailed"
    known.parent.mkdir(parents=True)
    failed = [
        _node("parity", "digits_cnn/float32"),
        _node("benchmark", "digits_cnn/float32", "-threads=1"),
    ]
    known.write_text(json.dumps(dict.fromkeys(failed, True)))
    status, text, report = _remembering(product, "--models", "digits_cnn", "--lf")
    assert status == 0, text
    (record,) = load(report).records
    assert record.case_id == f"digits_cnn/float32/{HOST}"
    assert set(record.checks) == {Check.PARITY, Check.BENCHMARK}
    assert json.loads(known.read_text()) == {}


def test_a_cache_that_is_cleared_still_learns_what_fails(product):
    folder = product.fixtures(raises=fixture().replace("import keras\n", "raise KeyError('weights')\n", 1))
    options = ("--models", "*", "-m", "conversion or benchmark", "--cache-clear")
    status, text, report = _remembering(product, f"--fixtures-dir={folder}", *options)
    assert status == 1, text
    (record,) = load(report).records
    assert {check: result.status for check, result in record.checks.items()} == {
        Check.CONVERSION: Status.FAILED,
        Check.BENCHMARK: Status.FAILED,
    }
    known = product.folder / "pytest-cache" / "v" / "cache" / "lastfailed"
    failed = set(json.loads(known.read_text()))
    assert _node("conversion", "raises/float32") in failed, "in a worker"
    assert _node("benchmark", "raises/float32", "-threads=1") in failed, "alone"

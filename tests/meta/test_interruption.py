"""Runs that are stopped, killed, or lose a worker: no record is lost, and nothing is left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from suite.record import Status
from suite.store import load
from tests.meta.product import HOST, QUICK, ROOT, SMALL, fixture, no_traceback


def _started(report, minimum, process):
    """Wait until some results are there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        results = report / "results.jsonl"
        if results.exists() and results.read_bytes().count(b'"artifact":{') >= minimum:
            return
        time.sleep(0.05)
    raise AssertionError("the run recorded nothing")


def test_ctrl_c_keeps_what_was_recorded_and_leaves_nothing_running(product):
    product.run(*SMALL, "-m", "not benchmark")
    command, report = product.command(*SMALL)
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=product.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    _started(report, 6, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 2, text
    records = json.loads((report / "results.jsonl").read_text().splitlines()[0])
    assert records["parity"] is not None
    assert records["status"] == "error", "its benchmark was planned and is missing"
    assert "MAY NOT SHIP" in text
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


@pytest.mark.parametrize("reached", ["the run", "all of a terminal"])
def test_ctrl_c_while_benchmarks_run_alone_keeps_what_was_recorded(product, reached):
    product.run(*SMALL, "-m", "not benchmark")
    command, report = product.command(*SMALL, "-n", "2")
    said = product.folder / "said"
    with said.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=product.environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + 120
    while b"::test_benchmark[" not in said.read_bytes():
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    (os.kill if reached == "the run" else os.killpg)(process.pid, signal.SIGINT)
    process.wait(timeout=120)
    text = said.read_text()
    assert process.returncode == 2, text
    no_traceback(text)
    assert "MAY NOT SHIP" in text
    assert "interrupted while the timed checks ran alone" in text
    assert (report / "index.html").exists()
    records = load(report).records
    assert all(record.parity is not None for record in records)
    assert any(record.status is Status.ERROR for record in records), "a benchmark was planned and is missing"
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


@pytest.fixture
def checkout(product):
    """A folder in which the suite is used, with reports of its own."""
    folder = product.folder / "checkout"
    folder.mkdir()
    for name in ("pyproject.toml", "conftest.py", "suite", "fixtures", "tests"):
        (folder / name).symlink_to(ROOT / name)

    def start(*command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=product.environment(PYTHONPATH=str(folder)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return folder, start


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["serial", "parallel"])
def test_an_older_verdict_does_not_stand_in_for_that_of_a_killed_run(checkout, processes):
    folder, start = checkout
    latest = folder / "reports" / "latest"
    options = ("pytest", "-p", "no:cacheprovider", "--models", "digits_cnn", "--profile", "smoke")
    first = start(*options, "-m", "conversion")
    text, _ = first.communicate(timeout=120)
    assert first.returncode == 0, text
    earlier = latest.resolve()
    gate = start("suite", "gate")
    assert "may ship" in gate.communicate()[0]
    assert gate.returncode == 0
    second = start(*options, "-m", "conversion or parity", *processes)
    deadline = time.monotonic() + 120
    while latest.resolve() == earlier or not (latest / "results.jsonl").exists():
        assert second.poll() is None, second.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    second.kill()
    second.communicate()
    gate = start("suite", "gate")
    text, _ = gate.communicate()
    assert gate.returncode == 1, text
    assert "may not ship" in text


def test_a_killed_run_loses_no_record(product):
    product.run(*SMALL, "-m", "not benchmark")
    command, report = product.command(*SMALL)
    process = subprocess.Popen(
        command, cwd=ROOT, env=product.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _started(report, 6, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, "workers die with their parent"
    gate = subprocess.run(
        [sys.executable, "-m", "suite", "gate", str(report)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert gate.returncode == 1
    assert "benchmark" in gate.stdout


def test_a_dead_xdist_worker_is_a_crashed_record(product):
    folder = product.fixtures(
        dies=fixture().replace("def build", "import os, sys\n\ndef build"),
        lives=fixture(classes=3),
    )
    tests = product.folder / "test_death.py"
    tests.write_text(
        "import os, signal, pytest\n\n"
        "@pytest.mark.parity\n"
        "def test_parity(case):\n"
        "    if case.spec.name == 'dies':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command, report = product.command(f"--fixtures-dir={folder}", *QUICK, "--models", "*", "-n", "2")
    command[command.index("tests/validate")] = str(tests)
    result = subprocess.run(
        [*command, "-c", str(ROOT / "pyproject.toml"), f"--rootdir={ROOT}", "-p", "suite.plugin"],
        cwd=ROOT,
        env=product.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    text = result.stdout + result.stderr
    assert result.returncode == 1, text
    records = {
        line["case_id"]: line for line in map(json.loads, (report / "results.jsonl").read_text().splitlines())
    }
    assert records[f"dies/float32/{HOST}"]["status"] == "crashed", text
    assert records[f"lives/float32/{HOST}"]["status"] == "passed"

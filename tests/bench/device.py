"""What the harness adds on a phone, and what two phones at once save; on stand-ins, as ratios."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import make_dataclass
from typing import Any

import numpy as np
import psutil

import suite
from suite import on_phone
from suite.devices import standin
from suite.devices.adb import Device
from suite.devices.session import DeviceSession, describe
from suite.devices.standin import StandIn
from suite.runtimes.base import TimingPolicy
from tests.bench.figures import held

MODEL = ("squeezenet", "float32")  # milliseconds an inference, so that the timed loop lasts its second
ROUNDS = 9
PAIRS = 2


def main(profile: str) -> bool:
    """Both figures, with the load of the machine beside them."""
    return all([_overhead(), _two_at_once()])


class _Clock:
    """How long calls took altogether."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, on the clock."""

        def on_the_clock(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - start

        return on_the_clock


class _Session(DeviceSession):
    """Notes how long the runner ran, by the phone's own clock."""

    own_seconds = 0.0

    def _run(self, count: int, kind: type, *arguments: Any, **named: Any) -> Any:
        clocked = make_dataclass(
            "Clocked", [("own_ns", int)], bases=(kind,), frozen=True, slots=True, kw_only=True
        )
        seen, told = super()._run(count, clocked, *arguments, **named)
        self.own_seconds += seen.own_ns / 1e9
        return seen, told


def _overhead() -> bool:
    """A warm measurement against what it cannot do without: the runner's own time, and the transfer."""
    path = suite.convert(*MODEL)
    tensors = describe(path)
    sample = {tensors[0][0].name: np.zeros((1, *tensors[0][0].shape[1:]), np.float32)}
    with standin.standins() as (phone,), Device(phone.serial, phone.adb) as device:
        transfer = _Clock()
        device.push = transfer.timed(device.push)  # type: ignore[method-assign]
        device.pull = transfer.timed(device.pull)  # type: ignore[method-assign]

        def measure() -> tuple[float, float, float]:
            transfer.seconds, start = 0.0, time.perf_counter()
            session = _Session(device, path, threads=1, tensors=tensors)
            on_phone.speed(session, sample, TimingPolicy(), cool_seconds=0)
            return time.perf_counter() - start, session.own_seconds, transfer.seconds

        measure()  # warm: runner and artifact are there
        rounds = [measure() for _ in range(ROUNDS)]
    whole, own, moved = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(
        f"       load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; measurement {whole:.3f} s, in it "
        f"the runner {own:.3f} s and the transfer {moved:.3f} s, medians of {ROUNDS}"
    )
    ratio = statistics.median(whole / (own + moved) for whole, own, moved in rounds)
    return held("warm measurement / runner's own time and transfer", ratio, 1.05, "")


def _two_at_once() -> bool:
    """Two stand-ins with two workers against the same two one after the other."""
    with standin.standins(2) as phones, tempfile.TemporaryDirectory() as folder:
        _part(phones)
        server = str(phones[0].adb)

        def run(*words: str, tests: str = "android") -> float:
            command = [sys.executable, "-m", "pytest", "-q", "-m", tests, "--profile", "smoke"]
            command += [f"--adb-host={server}", f"--report-dir={folder}/report", *words]
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"the run failed:\n{done.stdout[-3000:]}")
            return time.perf_counter() - start

        run("-n", "2", tests="android and parity")  # what is converted and answered once is not part of it
        ratios = []
        for _ in range(PAIRS):
            both, alone = run("-n", "2"), run()
            ratios.append(both / alone)
            print(
                f"       load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, the runs' own among it; "
                f"at once {both:.1f} s, one after the other {alone:.1f} s",
                flush=True,
            )
    return held("two phones at once / one after the other", statistics.median(ratios), 0.65, "")


def _part(phones: Sequence[StandIn]) -> None:
    """Give each stand-in a core of its own, in both kinds of run: phones do not share their processors."""
    cores = sorted(os.sched_getaffinity(0))
    for place, phone in enumerate(phones):
        outer = psutil.Process(phone.process.pid)
        for process in (outer, *outer.children(recursive=True)):  # what adbd starts later inherits it
            process.cpu_affinity([cores[place % len(cores)]])

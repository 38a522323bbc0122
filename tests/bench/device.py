"""What the harness adds on a phone, and what two phones at once save; on stand-ins, as ratios."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import suite
from suite import benchmark
from suite.devices import standin
from suite.devices.adb import DIRECTORY, Device
from suite.devices.session import DeviceSession, describe
from suite.record import Stage
from suite.runtimes.base import TimingPolicy
from tests.bench.figures import held

MODEL = ("squeezenet", "float32")  # milliseconds an inference, so that the timed loop lasts its second
ROUNDS = 9  # of each, in turn first and second
POLICY = TimingPolicy()


def main(profile: str) -> bool:
    """Both figures, with the load of the machine beside them."""
    print(f"       load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return all([_overhead(), _two_at_once()])


def _overhead() -> bool:
    """A warm measurement against the runner's bare command with the transfer of its input and output."""
    path = suite.convert(*MODEL)
    tensors = describe(path)
    sample = {tensors[0][0].name: np.zeros((1, *tensors[0][0].shape[1:]), np.float32)}
    with standin.standins() as (phone,), Device(phone.serial, phone.adb) as device:

        def measure() -> None:
            session = DeviceSession(device, path, threads=1, tensors=tensors)
            benchmark.speed_on_phone(session, sample, POLICY, cool_seconds=0)

        commands: list[str] = []
        shell = device.shell

        def listen(command: str, **arguments: object) -> object:
            commands.append(command)
            return shell(command, **arguments)  # type: ignore[arg-type]

        device.shell = listen  # type: ignore[method-assign, assignment]
        measure()  # warm, and what the runner is asked
        device.shell = shell  # type: ignore[method-assign]
        (bare,) = (command for command in commands if "exec" in command)
        with tempfile.TemporaryDirectory() as folder:
            given, answered = Path(folder) / "input.bin", Path(folder) / "output.bin"
            given.write_bytes(np.ascontiguousarray(sample[tensors[0][0].name]).tobytes())

            def run_bare() -> None:
                device.push(given, "input.bin", stage=Stage.RUN)
                device.shell(bare, stage=Stage.RUN, timeout=120)
                device.pull("output.bin", answered, stage=Stage.RUN)

            ratio, ours, theirs = _ratio(measure, run_bare)
        device.checked(f"ls {DIRECTORY}", stage=Stage.RUN)
    print(f"       measurement {ours:.3f} s, bare runner and transfer {theirs:.3f} s, medians of {ROUNDS}")
    return held("warm measurement / bare runner and transfer", ratio, 1.05, "")


def _ratio(one: Callable[[], None], other: Callable[[], None]) -> tuple[float, float, float]:
    """Median of the ratios of neighbours, and the medians; interleaved, each in turn first."""
    pairs = []
    for turn in range(ROUNDS):
        seconds = {}
        for work in (one, other) if turn % 2 == 0 else (other, one):
            start = time.perf_counter()
            work()
            seconds[work] = time.perf_counter() - start
        pairs.append((seconds[one], seconds[other]))
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    return ratio, *(statistics.median(values) for values in zip(*pairs, strict=True))  # type: ignore[return-value]


def _two_at_once() -> bool:
    """Two stand-ins with two workers against the same two one after the other."""
    with standin.standins(2) as phones, tempfile.TemporaryDirectory() as folder:
        server = str(phones[0].adb)

        def run(*words: str) -> float:
            command = [sys.executable, "-m", "pytest", "-q", "-m", "android", "--profile", "smoke"]
            command += [f"--adb-host={server}", f"--report-dir={folder}/report", *words]
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"the run failed:\n{done.stdout[-3000:]}")
            return time.perf_counter() - start

        run()  # what is converted and sent once is not part of it
        pairs = [(run("-n", "2"), run()) for _ in range(3)]
    ratio = statistics.median(both / alone for both, alone in pairs)
    seconds = ", ".join(f"{both:.0f} / {alone:.0f} s" for both, alone in pairs)
    print(f"       at once / one after the other: {seconds}")
    return held("two phones at once / one after the other", ratio, 0.65, "")

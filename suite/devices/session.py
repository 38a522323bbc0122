"""A session on a phone: `device_runner` there, one push of model and inputs, one pull of all outputs."""

from __future__ import annotations

import json
import math
import shlex
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from suite import runtimes
from suite.cache import sha256_file
from suite.devices.adb import DIRECTORY, Answer, Device
from suite.devices.bundle import Bundle, bundle
from suite.errors import CaseError, StagedError, Unsupported, WorkerCrashed
from suite.record import Stage
from suite.runtimes.base import (
    Feed,
    MemoryUse,
    TensorInfo,
    Timing,
    TimingPolicy,
    dequantise,
    load_feed,
    match,
    quantise,
)
from suite.spec import Array

RUN_SECONDS = 900.0
BATCH_BYTES = 128 << 20  # of inputs that go to the phone at a time
_SILENCE = 10.0  # seconds more than the runner gives itself
_SIGNALS = {6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 14: "its time-out"}
_NOT_SUPPORTED = ("find op for builtin opcode", "unresolved custom op", "Select TensorFlow op")


class DeviceSession:
    """An artifact on a phone, as the Session protocol has it; each call is one process there."""

    def __init__(
        self,
        device: Device,
        path: Path,
        *,
        threads: int = 1,
        xnnpack: bool = True,
        tensors: tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]] | None = None,
        runner: Bundle | None = None,
        run_seconds: float = RUN_SECONDS,
    ) -> None:
        """Bring the runner and the artifact to the phone.

        `tensors` are the artifact's inputs and outputs, where the caller knows
        them from a session on this machine; else one is opened for them.
        StagedError, at the stage LOAD, when the phone cannot take the files.
        """
        self.device, self.path = device, path
        self.threads, self.xnnpack = threads, xnnpack
        self._seconds = run_seconds
        self.gpu_text = ""  # of the last timed run
        self.inference_seconds = 0.0  # mean of the last batch, by the phone's clock
        self._runner = runner or bundle(device.abi)
        self._model = f"{sha256_file(path)[:32]}.tflite"
        self.inputs, self.outputs = tensors or describe(path)
        device.install({f"runner/{name}": file for name, file in self._runner.files.items()}, trusting=True)
        device.install({self._model: path})

    def __enter__(self) -> DeviceSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, feed: Feed) -> dict[str, Array]:
        """One inference: arrays of exactly the declared shapes and dtypes."""
        arrays = match(load_feed(feed), self.inputs)
        for info in self.inputs:
            self._check(arrays[info.name].shape, arrays[info.name].dtype.name, info)
        answers, _ = self._batch([arrays])
        return {info.name: answers[info.name][0] for info in self.outputs}

    def run_many(self, feed: Feed) -> dict[str, Array]:
        """(n, ...) reals to (n, ...) reals, one inference a sample, some hundred to a process."""
        arrays = match(load_feed(feed), self.inputs)
        count = len(next(iter(arrays.values())))
        room = max(1, BATCH_BYTES // sum(_bytes(info) for info in self.inputs))
        parts = []
        for start in range(0, count, room):
            chosen = range(start, min(start + room, count))
            parts.append(self._batch(self._sample(arrays, i) for i in chosen)[0])
        return {
            info.name: dequantise(_unbatched(np.concatenate([part[info.name] for part in parts])), info)
            for info in self.outputs
        }

    def time(self, feed: Feed, policy: TimingPolicy, gpu_file: str | None = None) -> Timing:
        """Time back-to-back inferences on the first sample, by the phone's own monotonic clock.

        What `gpu_file` says of the GPU all the while is kept in `gpu_text`.
        """
        seen = self._timed(feed, policy, gpu_file)
        if gpu_file:
            self.gpu_text = self.device.shell(f"cat {DIRECTORY}/gpu.txt", stage=Stage.MEASURE).stdout
        return Timing(
            threads=int(seen["threads"]),
            samples_ns=tuple(seen["samples_ns"]),
            load_ns=int(seen["load_ns"]),
            first_ns=int(seen["batch_ns"][0]),
            warmup_ns=tuple(seen["warmup_ns"]),
            cpu_ns=int(seen["cpu_ns"]),
            wall_ns=int(seen["wall_ns"]),
        )

    def memory(self, feed: Feed, runs: int) -> MemoryUse:
        """Memory of the runner's process after `runs` inferences; the baseline holds the library."""
        policy = TimingPolicy(
            warmup_min_runs=0, warmup_min_seconds=0, min_runs=runs, max_runs=runs, min_seconds=0
        )
        seen = self._timed(feed, policy)
        for name in ("baseline_bytes", "loaded_bytes", "peak_bytes"):
            if seen[name] is None:
                raise StagedError(f"{self.device.serial} does not show {name} in /proc", stage=Stage.MEASURE)
        return MemoryUse(
            baseline_bytes=int(seen["baseline_bytes"]),
            loaded_bytes=int(seen["loaded_bytes"]),
            peak_bytes=int(seen["peak_bytes"]),
            baseline_unique_bytes=seen["baseline_unique_bytes"],
            unique_bytes=seen["unique_bytes"],
        )

    def close(self) -> None:
        """Nothing runs between two calls, and the phone's files are its Device's to remove."""

    def _timed(self, feed: Feed, policy: TimingPolicy, gpu_file: str | None = None) -> dict[str, Any]:
        sample = self._sample(match(load_feed(feed), self.inputs), 0)
        return self._batch([sample], _words(policy), gpu_file)[1]

    def _sample(self, arrays: Mapping[str, Array], i: int) -> dict[str, Array]:
        """Sample `i` as the artifact takes it, with its batch axis of one."""
        sample = {info.name: quantise(arrays[info.name][i][np.newaxis], info) for info in self.inputs}
        for info in self.inputs:
            self._check(sample[info.name].shape, sample[info.name].dtype.name, info)
        return sample

    def _check(self, shape: tuple[int, ...], dtype: str, info: TensorInfo) -> None:
        if (shape, dtype) != (info.shape, info.dtype):
            raise CaseError(
                f"the artifact's input {info.name} takes {info.dtype} {info.shape}, found {dtype} {shape}",
                stage=Stage.RUN,
            )

    def _batch(
        self,
        samples: Iterable[Mapping[str, Array]],
        words: Iterable[str] = (),
        gpu_file: str | None = None,
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Run samples in one process there: outputs, a row a sample, and what the runner says."""
        with tempfile.TemporaryDirectory(prefix="pocketproof-") as folder:
            given, answered = Path(folder) / "input.bin", Path(folder) / "output.bin"
            count = 0
            with given.open("wb") as file:
                for count, sample in enumerate(samples, start=1):  # noqa: B007 - how many there were
                    for info in self.inputs:
                        file.write(np.ascontiguousarray(sample[info.name]).tobytes())
            try:
                self.device.push(given, "input.bin", stage=Stage.RUN)
                seen = self._run(count, words, gpu_file)
                self._hold_to_declared(seen)
                self.device.pull("output.bin", answered, stage=Stage.RUN)
            except StagedError:
                self.device.forget()
                raise
            self.inference_seconds = sum(seen["batch_ns"]) / count / 1e9
            return self._split(answered, count), seen

    def _run(self, count: int, words: Iterable[str], gpu_file: str | None) -> dict[str, Any]:
        """Start the runner, wait for it, and read its JSON."""
        stated = {
            "model": f"../{self._model}",
            "input": "../input.bin",
            "output": "../output.bin",
            "count": count,
            "threads": self.threads,
            "xnnpack": int(self.xnnpack),
            "limit_s": math.ceil(self._seconds),
        }
        command = [*self._runner.command, *(f"{name}={value}" for name, value in stated.items()), *words]
        answer = self._started(f"exec {shlex.join(command)}", gpu_file)
        return self._understood(answer.stdout, answer.stderr, answer.status)

    def _started(self, command: str, gpu_file: str | None) -> Answer:
        """Run a command where the runner is, known by its number to whoever must end it."""
        script = (
            f"cd {DIRECTORY}/runner && rm -f ../output.bin && echo $$ > ../runner.pid && "
            f"{_sampler(gpu_file, self._seconds) if gpu_file else ''}{command}"
        )
        try:
            return self.device.shell(script, stage=Stage.RUN, timeout=self._seconds + _SILENCE)
        except BaseException:
            self.device.abandon_runner()
            raise

    def _understood(self, stdout: str, stderr: str, status: int) -> dict[str, Any]:
        """What the runner said, where it said anything that makes sense."""
        where, words = self.device.serial, " | ".join(stderr.strip().splitlines()[-3:])[-400:]
        if status > 128:
            raise WorkerCrashed(
                f"{where}: the runner was ended by {_SIGNALS.get(status - 128, f'signal {status - 128}')}. "
                f"{f'Its last words: {words}' if words else 'It said nothing'}",
                stage=Stage.RUN,
            )
        try:
            seen = json.loads(stdout)
            if not isinstance(seen, dict) or not ({"error", "batch_ns"} & seen.keys()):
                raise ValueError("not the runner's answer")
        except ValueError:
            raise StagedError(
                f"{where}: the runner ended with {status} and said what is no answer: "
                f"{stdout.strip()[:200]!r}. {words}".strip(),
                stage=Stage.RUN,
            ) from None
        if "error" in seen:
            kind = Unsupported if any(phrase in stderr for phrase in _NOT_SUPPORTED) else CaseError
            stage = Stage.LOAD if seen.get("stage") == "load" else Stage.RUN
            raise kind(f"{where}: {seen['error']}. {words}".strip(), stage=stage)
        if status:
            raise StagedError(f"{where}: the runner ended with {status}. {words}".strip(), stage=Stage.RUN)
        return seen

    def _hold_to_declared(self, seen: Mapping[str, Any]) -> None:
        """The tensors that the phone found are those that this machine found."""
        for kind, declared in (("inputs", self.inputs), ("outputs", self.outputs)):
            found = [(tuple(tensor["shape"]), tensor["dtype"]) for tensor in seen[kind]]
            expected = [(info.shape, info.dtype) for info in declared]
            if found != expected:
                raise CaseError(
                    f"{self.device.serial}: the artifact's {kind} are {found} there and {expected} here",
                    stage=Stage.LOAD,
                )

    def _split(self, file: Path, count: int) -> dict[str, Array]:
        """The output file's bytes as arrays (count, *shape) by name."""
        raw = np.fromfile(file, np.uint8)
        row = sum(_bytes(info) for info in self.outputs)
        if raw.size != count * row:
            raise StagedError(
                f"{self.device.serial}: the runner's output holds {raw.size} bytes, "
                f"expected {count} answers of {row}",
                stage=Stage.RUN,
            )
        rows, start, answers = raw.reshape(count, row), 0, {}
        for info in self.outputs:
            part = np.ascontiguousarray(rows[:, start : start + _bytes(info)])
            answers[info.name] = part.view(info.dtype).reshape(count, *info.shape)
            start += _bytes(info)
        return answers


def describe(path: Path) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Inputs and outputs of a .tflite file as LiteRT on this machine reads them; CaseError for a bad file."""
    with runtimes.open_session("litert-xnnpack", path, threads=1) as session:
        return session.inputs, session.outputs


def _words(policy: TimingPolicy) -> tuple[str, ...]:
    """A timing policy in the runner's words."""
    return (
        f"warmup_min_runs={policy.warmup_min_runs}",
        f"warmup_max_runs={policy.warmup_max_runs}",
        f"warmup_min_ms={round(policy.warmup_min_seconds * 1000)}",
        f"min_runs={policy.min_runs}",
        f"max_runs={policy.max_runs}",
        f"min_ms={round(policy.min_seconds * 1000)}",
        f"max_ms={round(policy.max_seconds * 1000)}",
    )


def _sampler(gpu_file: str, seconds: float) -> str:
    """Reads the GPU's file five times a second for as long as the runner lives, whose number is `$$`.

    A program of its own: a mere subshell would keep adb's pipes open, and adb waits for those.
    """
    loop = 'i=0; while kill -0 $0 2>/dev/null && [ $((i+=1)) -le $2 ]; do cat "$1"; sleep 0.2; done'
    words = f"sh -c {shlex.quote(loop)} $$ {shlex.quote(gpu_file)} {math.ceil(seconds * 5)}"
    return f"{{ {words} </dev/null >../gpu.txt 2>&1 & }} && "


def _bytes(info: TensorInfo) -> int:
    return math.prod(info.shape) * np.dtype(info.dtype).itemsize


def _unbatched(values: Array) -> Array:
    """(n, 1, ...) to (n, ...): the artifact's own batch axis of one goes; what it lacks stays as it is."""
    return values[:, 0] if values.ndim > 1 and values.shape[1] == 1 else values

"""A session on a phone: `device_runner` there, one push of model and inputs, one pull of all outputs."""

from __future__ import annotations

import contextlib
import math
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from suite import runtimes
from suite.devices import answers, camera, script
from suite.devices.adb import Device, hashing_seconds, sha256_of
from suite.devices.answers import AnyRan, Ran
from suite.devices.bundle import Bundle, bundle
from suite.devices.script import OUTPUT, Told
from suite.devices.vitals import Vitals
from suite.errors import CaseError, StagedError, Unsupported, WorkerCrashed
from suite.record import Stage, Status
from suite.runtimes.base import (
    CameraPlan,
    CameraUse,
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
from suite.spec import Array, ImageInput

RUN_SECONDS = 900.0
BATCH_BYTES = 128 << 20  # of inputs that go to the phone at a time
_INPUT = "input.bin"
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
        self.readings = ""  # of the last run beside which files were read
        self.after: Vitals | None = None  # a look at the phone right after the last measurement
        self.inference_seconds = 0.0  # mean of the last batch, by the phone's clock
        self._runner = runner or bundle(device.abi)
        self.inputs, self.outputs = tensors or describe(path)
        self._bring(self._runner.files)

    def _bring(self, runner: Mapping[str, Path]) -> None:
        """The runner and the artifact to the phone; what it held before is asked for at the first run."""
        self._model = f"{sha256_of(self.path)[:32]}.tflite"
        self.device.install({f"runner/{name}": file for name, file in runner.items()}, trusting=True)
        self.device.install({self._model: self.path}, trusting=True)

    def __enter__(self) -> DeviceSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, feed: Feed) -> dict[str, Array]:
        """One inference: arrays of exactly the declared shapes and dtypes."""
        arrays = match(load_feed(feed), self.inputs)
        for info in self.inputs:
            self._check(arrays[info.name].shape, arrays[info.name].dtype.name, info)
        answers = self._batch([arrays])
        return {info.name: answers[info.name][0] for info in self.outputs}

    def run_many(self, feed: Feed) -> dict[str, Array]:
        """(n, ...) reals to (n, ...) reals, one inference a sample, some hundred to a process."""
        arrays = match(load_feed(feed), self.inputs)
        count = len(next(iter(arrays.values())))
        room = max(1, BATCH_BYTES // sum(_bytes(info) for info in self.inputs))
        parts = []
        for start in range(0, count, room):
            chosen = range(start, min(start + room, count))
            parts.append(self._batch(self._sample(arrays, i) for i in chosen))
        return {
            info.name: dequantise(_unbatched(np.concatenate([part[info.name] for part in parts])), info)
            for info in self.outputs
        }

    def time(self, feed: Feed, policy: TimingPolicy, sampled: Sequence[str] = ()) -> Timing:
        """Time back-to-back inferences on the first sample, by the phone's own monotonic clock.

        How the phone is right afterwards is kept in `after`. What the files
        `sampled` say all the while is kept in `readings`; to read them takes of
        the phone's time, so that such a run serves for the readings alone.
        """
        seen = self._timed(feed, policy, sampled)
        return Timing(
            threads=seen.threads,
            samples_ns=seen.samples_ns,
            load_ns=seen.load_ns,
            first_ns=seen.batch_ns[0],
            warmup_ns=seen.warmup_ns,
            cpu_ns=seen.cpu_ns,
            wall_ns=seen.wall_ns,
            others_cpu_ns=answers.others_ns(seen),
            cores=seen.cores,
        )

    def memory(self, feed: Feed, runs: int) -> MemoryUse:
        """Memory of the runner's process after `runs` inferences; the baseline holds the library."""
        policy = TimingPolicy(
            warmup_min_runs=0, warmup_min_seconds=0, min_runs=runs, max_runs=runs, min_seconds=0
        )
        seen = self._timed(feed, policy)
        loaded, first, steady, baseline, peak = (
            answers.shown(seen, name, self.device.serial)
            for name in (
                "loaded_bytes",
                "first_resident_bytes",
                "resident_bytes",
                "baseline_bytes",
                "peak_bytes",
            )
        )
        return MemoryUse(
            phases={
                "load": (loaded, seen.loaded_unique_bytes),
                "first": (first, seen.first_unique_bytes),
                "steady": (steady, seen.unique_bytes),
            },
            baseline_bytes=baseline,
            loaded_bytes=loaded,
            peak_bytes=peak,
            baseline_unique_bytes=seen.baseline_unique_bytes,
            unique_bytes=seen.unique_bytes,
        )

    def realtime(
        self,
        frames: Sequence[Array],
        image: ImageInput | None,
        plan: CameraPlan,
        sampled: Sequence[str] = (),
    ) -> CameraUse:
        """Both camera-paced schemes, on the phone, in a process that does nothing else.

        `after`, `sampled` and `readings` as for `time`.
        """
        if len(self.inputs) != 1:
            raise StagedError(
                f"the artifact takes {len(self.inputs)} inputs, and a camera gives one: measure it by hand",
                stage=Stage.MEASURE,
                status=Status.SKIPPED,
            )
        content = camera.frame_bytes(frames, image, self.inputs[0])
        stated = camera.words(image, np.shape(frames[0]), plan)
        with scratch() as folder:
            (folder / _INPUT).write_bytes(b"".join(content))
            self.device.push(folder / _INPUT, _INPUT, stage=Stage.RUN)
            words = [f"{name}={value}" for name, value in stated.items()]
            seen, told = self._run(len(content), answers.Shown, words, sampled, watched=True)
            self._hold_to_size(told.output_bytes or 0, len(content))
        self.readings, self.after = told.readings, told.after
        return camera.use(seen, self.device.serial)

    def close(self) -> None:
        """Nothing runs between two calls, and the phone's files are its Device's to remove."""

    def _timed(self, feed: Feed, policy: TimingPolicy, sampled: Sequence[str] = ()) -> answers.Timed:
        """What the runner says of a timed run; its answer stays on the phone, its size is looked at."""
        sample = self._sample(match(load_feed(feed), self.inputs), 0)
        with scratch() as folder:
            self._send([sample], folder)
            seen, told = self._run(1, answers.Timed, _words(policy), sampled, watched=True)
            self._hold_to_size(told.output_bytes or 0, 1)
        self.readings, self.after = told.readings, told.after
        return seen

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

    def _batch(self, samples: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
        """Run samples in one process there: outputs, a row a sample."""
        with scratch() as folder:
            count = self._send(samples, folder)
            seen, _ = self._run(count, answers.Batch)
            self.inference_seconds = sum(seen.batch_ns) / count / 1e9
            return self._fetched(folder, count)

    def _send(self, samples: Iterable[Mapping[str, Array]], folder: Path) -> int:
        """Bring the samples to the phone, one after another in one file; returns how many there are."""
        given, count = folder / _INPUT, 0
        with given.open("wb") as file:
            for count, sample in enumerate(samples, start=1):  # noqa: B007 - how many there were
                for info in self.inputs:
                    file.write(np.ascontiguousarray(sample[info.name]).tobytes())
        self.device.push(given, _INPUT, stage=Stage.RUN)
        return count

    def _run(
        self,
        count: int,
        kind: type[AnyRan],
        words: Iterable[str] = (),
        sampled: Sequence[str] = (),
        *,
        watched: bool = False,
    ) -> tuple[AnyRan, Told]:
        """Start the runner, wait for it, and read its answer."""
        stated = {
            "model": f"../{self._model}",
            "input": f"../{_INPUT}",
            "output": f"../{OUTPUT}",
            "count": count,
            "threads": self.threads,
            "xnnpack": int(self.xnnpack),
            "limit_s": math.ceil(self._seconds),
        }
        command = [*self._runner.command, *(f"{name}={value}" for name, value in stated.items()), *words]
        told = self._started(shlex.join(command), sampled, watched=watched)
        seen = self._understood(told.stdout, told.stderr, told.status, kind)
        self._hold_to_declared(seen)
        return seen, told

    def _started(self, command: str, sampled: Sequence[str] = (), *, watched: bool) -> Told:
        """Run a command where the runner is; an artifact that the phone no longer holds is sent anew."""
        told = self._once(command, sampled, watched)
        if told.altered:
            self.device.install({self._model: self.path})
            told = self._once(command, sampled, watched)
        if told.altered:
            raise StagedError(
                f"{self.device.serial}: {self._model} does not stay as it was sent: look at the storage",
                stage=Stage.LOAD,
            )
        self.device.stamps[self._model] = told.stamp
        return told

    def _once(self, command: str, sampled: Sequence[str], watched: bool) -> Told:
        stamp = self.device.stamps.get(self._model, "")
        held = script.Held(name=self._model, sha256=sha256_of(self.path), stamp=stamp)
        words = script.written(command, self._seconds, artifact=held, sampled=sampled, watched=watched)
        patience = self._seconds + _SILENCE + (0.0 if stamp else hashing_seconds(self.path))
        try:
            return script.read(self.device.shell(words, stage=Stage.RUN, timeout=patience))
        except BaseException:
            self.device.abandon_runner()
            raise

    def _understood(self, stdout: str, stderr: str, status: int, kind: type[AnyRan]) -> AnyRan:
        """What the runner said, where it said anything that makes sense."""
        where, words = self.device.serial, " | ".join(stderr.strip().splitlines()[-3:])[-400:]
        if status > 128:
            raise WorkerCrashed(
                f"{where}: the runner was ended by {_SIGNALS.get(status - 128, f'signal {status - 128}')}. "
                f"{f'Its last words: {words}' if words else 'It said nothing'}",
                stage=Stage.RUN,
            )
        try:
            failure = answers.read(stdout, answers.Failure)
            if failure.error is not None:
                error = Unsupported if any(phrase in stderr for phrase in _NOT_SUPPORTED) else CaseError
                stage = Stage.LOAD if failure.stage == "load" else Stage.RUN
                raise error(f"{where}: {failure.error}. {words}".strip(), stage=stage)
            seen = answers.read(stdout, kind)
        except ValueError as why:
            raise StagedError(
                f"{where}: the runner ended with {status} and said what is no answer: "
                f"{stdout.strip()[:200]!r} ({why}). {words}".strip(),
                stage=Stage.RUN,
            ) from None
        if status:
            raise StagedError(f"{where}: the runner ended with {status}. {words}".strip(), stage=Stage.RUN)
        return seen

    def _hold_to_declared(self, seen: Ran) -> None:
        """The tensors that the phone found are those that this machine found."""
        for kind, told, declared in (
            ("inputs", seen.inputs, self.inputs),
            ("outputs", seen.outputs, self.outputs),
        ):
            found = [(tensor.shape, tensor.dtype) for tensor in told]
            expected = [(info.shape, info.dtype) for info in declared]
            if found != expected:
                raise CaseError(
                    f"{self.device.serial}: the artifact's {kind} are {found} there and {expected} here",
                    stage=Stage.LOAD,
                )

    def _hold_to_size(self, found: int, count: int) -> None:
        """The runner's output is as long as `count` answers are."""
        if found != count * self._row:
            raise StagedError(
                f"{self.device.serial}: the runner's output holds {found} bytes, "
                f"expected {count} answers of {self._row}",
                stage=Stage.RUN,
            )

    @property
    def _row(self) -> int:
        """Bytes of one answer."""
        return sum(_bytes(info) for info in self.outputs)

    def _fetched(self, folder: Path, count: int) -> dict[str, Array]:
        """The answers that the runner left, as arrays (count, *shape) by name."""
        file = folder / OUTPUT
        self.device.pull(OUTPUT, file, stage=Stage.RUN, most_bytes=count * self._row)
        raw = np.fromfile(file, np.uint8)
        self._hold_to_size(raw.size, count)
        rows, start, answers = raw.reshape(count, raw.size // count), 0, {}
        for info in self.outputs:
            part = np.ascontiguousarray(rows[:, start : start + _bytes(info)])
            answers[info.name] = part.view(info.dtype).reshape(count, *info.shape)
            start += _bytes(info)
        return answers


def describe(path: Path) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Inputs and outputs of a .tflite file as LiteRT on this machine reads them; CaseError for a bad file."""
    with runtimes.open_session("litert-xnnpack", path, threads=1) as session:
        return session.inputs, session.outputs


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for what goes to the phone and comes back."""
    with tempfile.TemporaryDirectory(prefix="pocketproof-") as folder:
        yield Path(folder)


def _words(policy: TimingPolicy) -> tuple[str, ...]:
    """A timing policy in the runner's words."""
    return (
        f"warmup_min_runs={policy.warmup_min_runs}",
        f"warmup_max_runs={policy.warmup_max_runs}",
        f"warmup_min_ms={round(policy.warmup_min_seconds * 1000)}",
        f"warmup_max_ms={round(min(policy.warmup_max_seconds, policy.max_seconds) * 1000)}",
        f"min_runs={policy.min_runs}",
        f"max_runs={policy.max_runs}",
        f"min_ms={round(policy.min_seconds * 1000)}",
        f"max_ms={round(policy.max_seconds * 1000)}",
        f"few_runs={policy.few_runs}",
        f"few_max_ms={round(policy.few_max_seconds * 1000)}",
    )


def _bytes(info: TensorInfo) -> int:
    return math.prod(info.shape) * np.dtype(info.dtype).itemsize


def _unbatched(values: Array) -> Array:
    """(n, 1, ...) to (n, ...): the artifact's own batch axis of one goes; what it lacks stays as it is."""
    return values[:, 0] if values.ndim > 1 and values.shape[1] == 1 else values

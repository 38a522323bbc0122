"""Google's prebuilt `benchmark_model` on a phone: with its delegates, and without raw samples.

It is one native program, made for phones. What it prints is read here: times,
memory, and whether the delegate that was asked for took the whole graph.
"""

from __future__ import annotations

import json
import re
import shlex
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from suite.cache import Cache, default_cache, sha256_file
from suite.devices import script
from suite.devices.adb import Device
from suite.devices.session import RUN_SECONDS, DeviceSession, scratch
from suite.devices.tools import Lacking
from suite.errors import CaseError, CheckFailed, StagedError, UsageError, WorkerCrashed
from suite.record import Stage, Status
from suite.runtimes.base import (
    CameraPlan,
    CameraUse,
    Feed,
    MemoryUse,
    TensorInfo,
    Timing,
    TimingPolicy,
    load_feed,
    match,
)
from suite.spec import Array, ImageInput

NAME = "benchmark_model"
_INPUT = "input"
# The nightly builds that TensorFlow's documentation links to.
_URL = (
    "https://storage.googleapis.com/tensorflow-nightly-public/prod/tensorflow/release/lite/tools/nightly/"
    "latest/android_{}_benchmark_model"
)
_ARCHITECTURES: Mapping[str, str] = {"arm64-v8a": "aarch64", "armeabi-v7a": "arm"}
_FETCH_SECONDS = 60.0
_FLAGS: Mapping[str, tuple[str, ...]] = {  # by engine
    "xnnpack": ("--use_xnnpack=true",),
    "cpu": ("--use_xnnpack=false",),
    "gpu": ("--use_gpu=true",),
    "nnapi": ("--use_nnapi=true",),
    "npu": ("--use_npu=true", "--dispatch_library_path=.", "--compiler_plugin_library_path=."),
}
DELEGATES = ("gpu", "nnapi", "npu")  # engines that must take the whole graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """The program with the libraries beside it, by their name on the phone."""

    files: Mapping[str, Path]
    sha256: str
    origin: str  # where it came from


def located(given: str, abi: str, cache: Cache | None = None) -> Tool:
    """The program at a path, or in a folder with its libraries; where none is given, Google's own.

    UsageError for a path that has none, Lacking where it cannot be fetched.
    """
    if given:
        path = Path(given)
        program = path / NAME if path.is_dir() else path
        if not program.is_file():
            raise UsageError(
                f"--benchmark-model {given}: no such program; give the path of {NAME}, or of a "
                "folder that holds it and its libraries"
            )
        beside = [file for file in sorted(path.iterdir()) if file.is_file()] if path.is_dir() else []
        files = {**{file.name: file for file in beside}, NAME: program}
        return Tool(files=files, sha256=sha256_file(program), origin=str(program))
    return _fetched(abi, cache or default_cache())


def _fetched(abi: str, cache: Cache) -> Tool:
    if abi not in _ARCHITECTURES:
        raise Lacking(
            f"Google publishes no {NAME} for the ABI {abi}, only for {', '.join(_ARCHITECTURES)}: "
            "build one and name it with --benchmark-model PATH"
        )
    url = _URL.format(_ARCHITECTURES[abi])

    def build(folder: Path) -> None:
        try:
            with urllib.request.urlopen(url, timeout=_FETCH_SECONDS) as answer:
                content: bytes = answer.read()
        except (OSError, urllib.error.URLError) as error:
            reason = getattr(error, "reason", error)
            raise Lacking(
                f"{NAME} could not be fetched from {url}: {reason}. Fetch it where there is a network, "
                "and name it with --benchmark-model PATH"
            ) from None
        if content[:4] != b"\x7fELF":
            raise Lacking(
                f"{url} answered with something else than a program ({len(content)} bytes): "
                "name one with --benchmark-model PATH"
            )
        (folder / NAME).write_bytes(content)
        origin = {"url": url, "sha256": sha256_file(folder / NAME)}
        (folder / "origin.json").write_text(json.dumps(origin, indent=1))

    folder = cache.get_or_build("benchmark-model", {"url": url}, build)
    sha256 = json.loads((folder / "origin.json").read_text())["sha256"]
    return Tool(files={NAME: folder / NAME}, sha256=sha256, origin=url)


# --- what it prints ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """What one line says of one delegate."""

    name: str  # in the tool's words: "GPU"
    complete: bool  # it took the whole graph, not a part or nothing of it
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one run said; None where this build of the tool does not say it."""

    init_us: float
    first_us: float
    warmup_us: float  # mean
    mean_us: float
    summary_ms: Mapping[str, float]  # n, min, max, mean, std, and p5, p50, p95 of newer builds
    init_mb: float | None
    overall_mb: float | None
    delegations: tuple[Delegation, ...]


_NUMBER = r"([-+]?[\d.]+(?:e[-+]?\d+)?)"
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: {_NUMBER}, First inference: {_NUMBER}, "
    rf"Warmup \(avg\): {_NUMBER}, Inference \(avg\): {_NUMBER}"
)
_MEMORY = re.compile(rf"(?:Memory|Peak memory) footprint.*\(MB\): init={_NUMBER} overall={_NUMBER}")
_COUNT = re.compile(r"\bcount=\d+ .*")
_DELEGATION = re.compile(
    r"(?:Explicitly applied|Applied|Though) (\S+) delegate(?: is explicitly applied)?,(?: and)? "
    r"the model graph will (be completely|be partially|not be) executed[^.\n]*"
)
_NAMES = {"median": "p50", "avg": "mean", "count": "n"}


def parse(text: str) -> Told:
    """Read the output; ValueError where there are no times in it."""
    timings = _TIMINGS.search(text)
    if timings is None:
        raise ValueError("it told no inference timings")
    init, first, warmup, mean = (float(number) for number in timings.groups())
    memory = _MEMORY.search(text)
    counts = _COUNT.findall(text)
    return Told(
        init_us=init,
        first_us=first,
        warmup_us=warmup,
        mean_us=mean,
        summary_ms={"mean": mean / 1000, **(_summary(counts[-1]) if counts else {})},
        init_mb=float(memory[1]) if memory else None,
        overall_mb=float(memory[2]) if memory else None,
        delegations=tuple(
            Delegation(name=one[1], complete=one[2] == "be completely", line=one[0])
            for one in _DELEGATION.finditer(text)
        ),
    )


def _summary(line: str) -> dict[str, float]:
    """`count=50 first=8325 ... std=591 p5=.. median=.. p95=..` in milliseconds, the count apart."""
    words = (word.partition("=") for word in line.split())
    told = {_NAMES.get(name, name): float(value) for name, _, value in words if value}
    return {
        name: value if name == "n" else value / 1000
        for name, value in told.items()
        if name not in ("first", "curr")
    }


def check_delegation(told: Told, engine: str, where: str) -> None:
    """CheckFailed unless the delegate of this engine took the whole graph, by every line on it."""
    own = [one for one in told.delegations if one.name.lower() == engine]
    less = [one.line for one in own if not one.complete]
    if engine not in DELEGATES or (own and not less):
        return
    said = less[0] if less else "nothing in the output says that it ran"
    raise CheckFailed(
        f"{where}: the {engine.upper()} did not run the whole graph, so this is a measurement of the CPU: "
        f"{said}. Ship this variant for the CPU, or one whose operators the delegate takes",
        stage=Stage.RUN,
    )


# --- the session --------------------------------------------------------------------


class BenchmarkModelSession(DeviceSession):
    """An artifact on a phone, run by `benchmark_model`; each sample is a process of its own."""

    def __init__(
        self,
        device: Device,
        path: Path,
        *,
        tool: Tool,
        engine: str,
        tensors: tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]],
        threads: int = 1,
        float32: bool = False,
        run_seconds: float = RUN_SECONDS,
    ) -> None:
        """Bring the program and the artifact to the phone; `float32`: the GPU may not round to 16 bits."""
        self.device, self.path, self.threads, self.engine = device, path, threads, engine
        self.inputs, self.outputs = tensors
        self.readings, self.after, self.inference_seconds = "", None, 0.0
        self._seconds = run_seconds
        self._flags = [*_FLAGS[engine], f"--num_threads={threads}"]
        if engine == "gpu" and float32:
            self._flags.append("--gpu_precision_loss_allowed=false")
        self._bring(tool.files)

    def time(self, feed: Feed, policy: TimingPolicy, sampled: Sequence[str] = ()) -> Timing:
        """Time back-to-back inferences on the first sample; the tool keeps no samples, only their summary."""
        told = self._told(
            feed,
            (
                f"--num_runs={policy.min_runs}",
                f"--min_secs={policy.min_seconds}",
                f"--max_secs={policy.max_seconds}",
                f"--warmup_runs={max(1, policy.warmup_min_runs)}",
                f"--warmup_min_secs={policy.warmup_min_seconds}",
            ),
            sampled,
        )
        return Timing(
            threads=self.threads,
            samples_ns=(),
            load_ns=round(told.init_us * 1000),
            first_ns=round(told.first_us * 1000),
            warmup_ns=(),
            cpu_ns=None,
            wall_ns=round(told.mean_us * 1000 * told.summary_ms.get("n", 1)),
            summary_ms=told.summary_ms,
        )

    def memory(self, feed: Feed, runs: int) -> MemoryUse:
        """What the tool says its footprint grew by; StagedError where it does not say."""
        once = ("--min_secs=0", "--warmup_runs=1", "--warmup_min_secs=0")
        told = self._told(feed, (f"--num_runs={runs}", *once))
        if told.init_mb is None or told.overall_mb is None:
            raise StagedError(f"{NAME} does not tell its memory on this phone", stage=Stage.MEASURE)
        loaded = round(told.init_mb * 2**20)
        return MemoryUse(
            baseline_bytes=0,  # what it tells begins at its start
            loaded_bytes=loaded,
            peak_bytes=round(told.overall_mb * 2**20),
            baseline_unique_bytes=None,
            unique_bytes=None,
            phases={"load": (loaded, None)},
            reasons=dict.fromkeys(("first", "steady", "unique"), f"{NAME} does not tell it"),
        )

    def realtime(
        self,
        frames: Sequence[Array],
        image: ImageInput | None,
        plan: CameraPlan,
        sampled: Sequence[str] = (),
    ) -> CameraUse:
        """It knows of no camera: StagedError, as a skip."""
        raise StagedError(
            f"{NAME} has no camera: measure with device_runner, on the engines xnnpack and cpu",
            stage=Stage.MEASURE,
            status=Status.SKIPPED,
        )

    def _told(self, feed: Feed, words: Iterable[str], sampled: Sequence[str] = ()) -> Told:
        sample = self._sample(match(load_feed(feed), self.inputs), 0)
        with scratch() as folder:
            told, around = self._answered(sample, folder / _INPUT, words, sampled, watched=True)
            self._hold_to_size(around.output_bytes or 0, 1)
        self.readings, self.after = around.readings, around.after
        return told

    def _batch(self, samples: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
        """Run each sample in a process there: outputs, a row a sample."""
        once = ("--num_runs=1", "--min_secs=0", "--warmup_runs=1", "--warmup_min_secs=0")
        rows, seconds = [], []
        with scratch() as folder:
            for sample in samples:
                told, _ = self._answered(sample, folder / _INPUT, once)
                rows.append(self._fetched(folder, 1))
                seconds.append((told.init_us + told.first_us + told.mean_us) / 1e6)
        self.inference_seconds = sum(seconds) / len(seconds)
        return {info.name: np.concatenate([row[info.name] for row in rows]) for info in self.outputs}

    def _answered(
        self,
        sample: Mapping[str, Array],
        given: Path,
        words: Iterable[str],
        sampled: Sequence[str] = (),
        *,
        watched: bool = False,
    ) -> tuple[Told, script.Told]:
        """One process of the tool on one sample, its delegation checked; and what was asked around it."""
        for place, info in enumerate(self.inputs):
            given.write_bytes(np.ascontiguousarray(sample[info.name]).tobytes())
            self.device.push(given, f"{_INPUT}-{place}.bin", stage=Stage.RUN)
        around = self._started(f"LD_LIBRARY_PATH=. {self._command(words)} 2>&1", sampled, watched=watched)
        return self._read(around), around

    def _command(self, words: Iterable[str]) -> str:
        files = ",".join(
            f"{info.name.replace(':', '::')}:../{_INPUT}-{place}.bin"
            for place, info in enumerate(self.inputs)
        )
        command = [
            f"./{NAME}",
            f"--graph=../{self._model}",
            f"--input_layer={','.join(info.name for info in self.inputs)}",
            f"--input_layer_shape={':'.join(','.join(map(str, info.shape)) for info in self.inputs)}",
            f"--input_layer_value_files={files}",
            f"--output_filepath=../{script.OUTPUT}",
            *self._flags,
            *words,
        ]
        return shlex.join(command)

    def _read(self, around: script.Told) -> Told:
        """What the tool told, where it ended well and made sense."""
        where, said = self.device.serial, " | ".join(around.stdout.strip().splitlines()[-3:])[-400:]
        if around.status > 128:
            raise WorkerCrashed(
                f"{where}: {NAME} was ended by signal {around.status - 128}. "
                f"It said last: {said or 'nothing'}",
                stage=Stage.RUN,
            )
        if around.status:
            raise CaseError(f"{where}: {NAME} ended with {around.status}: {said}", stage=Stage.RUN)
        try:
            told = parse(around.stdout)
        except ValueError as error:
            raise StagedError(
                f"{where}: {NAME} said what is no answer, {error}: {around.stdout.strip()[:200]!r}",
                stage=Stage.RUN,
            ) from None
        check_delegation(told, self.engine, where)
        return told

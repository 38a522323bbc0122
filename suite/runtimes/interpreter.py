"""The TensorFlow Lite interpreter API, shared by the three packages that ship it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from suite.errors import CaseError, Unsupported
from suite.preprocess import preprocess
from suite.record import Stage
from suite.runtimes import camera, endurance, loop
from suite.runtimes.base import (
    CameraPlan,
    CameraUse,
    Feed,
    MemoryUse,
    SustainedUse,
    TensorInfo,
    Timing,
    TimingPolicy,
    dequantise,
    load_feed,
    match,
    quantise,
)
from suite.spec import Array, ImageInput

# What an interpreter says of an artifact that is sound but newer than itself.
_NOT_SUPPORTED = (
    "Didn't find op for builtin opcode",
    "Op builtin_code out of range",
    "Unsupported data type",
    "Encountered unresolved custom op",
    "Select TensorFlow op(s)",
)
_STILL_BYTES = 64 << 10  # Python's own objects; an interpreter takes no less at a time


class InterpreterSession:
    """One artifact in one interpreter.

    `make(path, threads)` builds the package's Interpreter. `warnings` of the
    native side go to the worker's log. Where the file leaves other sizes than
    the batch free, the first sample decides them, and memory is given out then.
    """

    def __init__(self, make: Callable[..., Any], path: Path, threads: int) -> None:
        self.threads = threads
        self._baseline_unique = loop.unique_bytes()
        self._baseline = loop.resident_bytes()
        start = time.perf_counter_ns()
        try:
            self._interpreter = make(model_path=str(path), num_threads=threads)
            self._free = not self._fix_batch()
            if not self._free:
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _load_error(error, path) from None
        self._load_ns = time.perf_counter_ns() - start
        self._loaded, self._loaded_unique = loop.memory()
        self._sizes: tuple[tuple[int, ...], ...] = ()  # that free axes were given
        self._input_details = self._interpreter.get_input_details()
        self._output_details = self._interpreter.get_output_details()
        input_names, output_names = self._signature_names()
        self.inputs = tuple(_info(detail, input_names, self._free) for detail in self._input_details)
        self.outputs = tuple(_info(detail, output_names, self._free) for detail in self._output_details)

    def _fix_batch(self) -> bool:
        """Give a free batch axis the size one; converters leave it free unless told.

        False where another axis is free: its size is a sample's to say.
        """
        details = self._interpreter.get_input_details()
        shapes = [_at_batch_one(detail) for detail in details]
        if any(-1 in shape for shape in shapes):
            return False
        for detail, shape in zip(details, shapes, strict=True):
            if shape != _signature(detail):
                self._interpreter.resize_tensor_input(detail["index"], shape)
        return True

    def _resize(self, arrays: Mapping[str, Array]) -> None:
        """Give free axes the sizes of these arrays, and have memory given out."""
        sizes = tuple(arrays[info.name].shape for info in self.inputs)
        if sizes == self._sizes:
            return
        for info, size in zip(self.inputs, sizes, strict=True):
            if not _fits(size, info.shape):
                raise CaseError(
                    f"the artifact's input {info.name} takes {info.dtype} {_open(info)}, "
                    f"found {arrays[info.name].dtype} {size}",
                    stage=Stage.RUN,
                )
        first, self._sizes = not self._sizes, ()
        start = time.perf_counter_ns()
        try:
            for detail, size in zip(self._input_details, sizes, strict=True):
                self._interpreter.resize_tensor_input(detail["index"], list(size))
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            left = ", ".join(f"{info.name} {_open(info)}" for info in self.inputs if -1 in info.shape)
            raise CaseError(
                f"the artifact leaves sizes free ({left}), and cannot run at "
                f"{', '.join(map(str, sizes))}: {_first_line(error)}. Give it samples of a size that it "
                "takes, or convert it with the model's input shape",
                stage=Stage.LOAD,
            ) from None
        if first:
            self._load_ns += time.perf_counter_ns() - start
            self._loaded, self._loaded_unique = loop.memory()
        self._sizes = sizes

    def _signature_names(self) -> tuple[dict[int, str], dict[int, str]]:
        """Names by tensor index, inputs and outputs, where the file has exactly one signature.

        Tensors are named after graph nodes; what an app knows them by is the signature.
        """
        signatures = list(self._interpreter.get_signature_list())
        if len(signatures) != 1:
            return {}, {}
        runner = self._interpreter.get_signature_runner(signatures[0])
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
        return (
            {int(detail["index"]): name for name, detail in inputs.items()},
            {int(detail["index"]): name for name, detail in outputs.items()},
        )

    def run(self, feed: Feed) -> dict[str, Array]:
        """One inference on arrays of exactly the declared shapes and dtypes."""
        self._set(match(load_feed(feed), self.inputs))
        self._invoke()
        return {
            info.name: self._interpreter.get_tensor(detail["index"])
            for info, detail in zip(self.outputs, self._output_details, strict=True)
        }

    def run_many(self, feed: Feed) -> dict[str, Array]:
        """(n, ...) reals to (n, ...) reals, one inference a sample."""
        arrays = match(load_feed(feed), self.inputs)
        count = len(next(iter(arrays.values())))
        answers = [self._run_one({name: array[i] for name, array in arrays.items()}) for i in range(count)]
        return {
            info.name: np.stack([dequantise(answer[info.name], info) for answer in answers])
            for info in self.outputs
        }

    def time(self, feed: Feed, policy: TimingPolicy) -> Timing:
        """Time `invoke` alone: the tensors are set before, the answers fetched never."""
        self._set_first(match(load_feed(feed), self.inputs))
        return loop.timed(self._interpreter.invoke, policy, threads=self.threads, load_ns=self._load_ns)

    def memory(self, feed: Feed, runs: int) -> MemoryUse:
        """Memory of this process after some inferences; meant for a process that did nothing else.

        At most so many: an interpreter takes what it needs at the first, and
        one that leaves the peak where it was is the last.
        """
        arrays = match(load_feed(feed), self.inputs)
        self._set_first(arrays)
        phases = {"load": (self._loaded, self._loaded_unique)}
        for turn in range(runs):
            before = loop.peak_bytes()
            self._run_one({name: array[0] for name, array in arrays.items()})
            if turn == 0:
                phases["first"] = loop.memory()
            elif loop.peak_bytes() <= before + _STILL_BYTES:
                break
        phases["steady"] = loop.memory()
        return MemoryUse(
            phases=phases,
            baseline_bytes=self._baseline,
            loaded_bytes=self._loaded,
            peak_bytes=loop.peak_bytes(),
            baseline_unique_bytes=self._baseline_unique,
            unique_bytes=loop.unique_bytes(),
        )

    def sustained(self, feed: Feed, seconds: float, window_seconds: float) -> SustainedUse:
        """Back to back for minutes; temperatures are read between windows."""
        self._set_first(match(load_feed(feed), self.inputs))
        return endurance.sustained(self._interpreter.invoke, seconds, window_seconds)

    def realtime(self, frames: Sequence[Array], image: ImageInput | None, plan: CameraPlan) -> CameraUse:
        """Both camera-paced schemes; memory is read between them. For a process that does nothing else."""
        stages = self._stages(image)
        stages.preprocess(frames[0])
        phases = {"load": (self._loaded, self._loaded_unique)}
        seconds = [self._answer_seconds(stages, frames[turn % len(frames)]) for turn in range(3)]
        phases["first"] = loop.memory()
        count = plan.count(min(seconds))
        streams = []
        for threaded in (False, True):
            streams.append(camera.run(stages, frames, fps=plan.fps, count=count, threaded=threaded))
            phases["real time, with threads" if threaded else "real time, in the callback"] = loop.memory()
        return CameraUse(
            streams=tuple(streams),
            baseline_bytes=self._baseline,
            baseline_unique_bytes=self._baseline_unique,
            peak_bytes=loop.peak_bytes(),
            phases=phases,
        )

    def _answer_seconds(self, stages: camera.Stages, frame: Array) -> float:
        start = time.perf_counter()
        stages.postprocess(stages.infer(stages.preprocess(frame)))
        return time.perf_counter() - start

    def _stages(self, image: ImageInput | None) -> camera.Stages:
        """What an app does with a frame: to the input tensor, through the runtime, to the five best."""
        (info,) = self.inputs

        def prepare(frame: Array) -> None:
            sample = frame if image is None else preprocess([frame], image)[0]
            self._set({info.name: self._batched(sample, info)})

        def infer(_: None) -> None:
            self._invoke()

        def read(_: None) -> list[Array]:
            answers = zip(self.outputs, self._output_details, strict=True)
            scores = [
                dequantise(self._interpreter.get_tensor(detail["index"]), info).ravel()
                for info, detail in answers
            ]
            return [np.argsort(values)[-5:] for values in scores]

        return camera.Stages(prepare, infer, read)

    def close(self) -> None:
        """Free the interpreter."""
        self._interpreter = None

    def _run_one(self, sample: Mapping[str, Array]) -> dict[str, Array]:
        answer = self.run({info.name: self._batched(sample[info.name], info) for info in self.inputs})
        # The artifact's own batch axis of one goes; what it lacks stays as it is.
        return {
            name: value[0] if value.ndim and value.shape[0] == 1 else value for name, value in answer.items()
        }

    def _batched(self, sample: Array, info: TensorInfo) -> Array:
        return quantise(sample[np.newaxis], info)

    def _set_first(self, arrays: Mapping[str, Array]) -> None:
        """Set the first of some samples, before anything is measured of it."""
        self._set({info.name: self._batched(arrays[info.name][0], info) for info in self.inputs})

    def _set(self, arrays: Mapping[str, Array]) -> None:
        if self._free:
            self._resize(arrays)
        for info, detail in zip(self.inputs, self._input_details, strict=True):
            try:
                self._interpreter.set_tensor(detail["index"], arrays[info.name])
            except ValueError as error:
                raise CaseError(
                    f"the artifact's input {info.name} takes {info.dtype} {info.shape}, "
                    f"found {arrays[info.name].dtype} {arrays[info.name].shape}: {_first_line(error)}",
                    stage=Stage.RUN,
                ) from None

    def _invoke(self) -> None:
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise CaseError(
                f"the runtime failed while it ran: {_first_line(error)}", stage=Stage.RUN
            ) from None


def _signature(detail: Mapping[str, Any]) -> list[int]:
    """The shape that a file states, -1 where it leaves the size free."""
    return [int(size) for size in detail.get("shape_signature", detail["shape"])]


def _at_batch_one(detail: Mapping[str, Any]) -> list[int]:
    """Likewise with the first axis, where that is free, as the batch of one."""
    shape = _signature(detail)
    return [1, *shape[1:]] if shape and shape[0] < 0 else shape


def _fits(size: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(size) == len(shape) and all(
        stated in (-1, given) for given, stated in zip(size, shape, strict=True)
    )


def _open(info: TensorInfo) -> str:
    """A shape as one reads it, with a question mark where the size is free."""
    return f"({', '.join('?' if size < 0 else str(size) for size in info.shape)})"


def _info(detail: Mapping[str, Any], names: Mapping[int, str], free: bool) -> TensorInfo:
    scale, zero_point = detail["quantization"]
    return TensorInfo(
        name=names.get(int(detail["index"]), detail["name"]),
        shape=tuple(_at_batch_one(detail)) if free else tuple(int(size) for size in detail["shape"]),
        dtype=np.dtype(detail["dtype"]).name,
        scale=float(scale),
        zero_point=int(zero_point),
    )


def _load_error(error: Exception, path: Path) -> CaseError:
    reason = _first_line(error)
    if any(phrase in str(error) for phrase in _NOT_SUPPORTED):
        return Unsupported(
            f"this runtime cannot run the artifact: {reason}. Ship a newer runtime, or convert for this one.",
            stage=Stage.LOAD,
        )
    return CaseError(
        f"cannot load {path.name}: {reason}. It is damaged, or no TFLite model: convert it again.",
        stage=Stage.LOAD,
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

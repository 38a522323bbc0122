"""iPhones and iPads that are plugged into this Mac, by coremltools' remote_device.

Its app takes and answers arrays alone: what is measured is the artifact's own
program, without the picture at its start and the label at its end
(`suite.coreml.tensors`). Runs in a worker, for it imports coremltools. The app that holds the model on
the device comes with coremltools for macOS, and is built and signed by Xcode
at first use: `POCKETPROOF_IOS_TEAM` names the development team.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from suite.cache import digest
from suite.coreml.evaluator import Evaluator
from suite.coreml.images import planes
from suite.coreml.tensors import tensors_only
from suite.errors import CaseError, Unsupported
from suite.record import Stage
from suite.runtimes.base import Feed, MemoryUse, TensorInfo, Timing, TimingPolicy, load_feed, match
from suite.spec import Array

TEAM = "POCKETPROOF_IOS_TEAM"
FEWEST_RUNS, WARM_UP = 50, 5
LIST_SECONDS = 60.0
MOST_LOOKS = 600  # for one answer, half a second apart
_FAMILIES = ("IPHONE", "IPAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class IPhone:
    """A device as Xcode's devicectl lists it."""

    udid: str
    name: str
    system: str  # version and build
    state: str  # of the tunnel; coremltools works with "connected" ones alone
    developer_mode: str

    @property
    def ready(self) -> bool:
        """Whether coremltools will take it."""
        return self.state == "connected"


def listed() -> list[IPhone]:
    """Every iPhone and iPad that devicectl knows of; CaseError where devicectl is not there or fails."""
    from coremltools.models.ml_program.experimental.remote_device import Device, DeviceType

    families = {getattr(DeviceType, name) for name in _FAMILIES}
    try:
        devices = Device.get_devices()
    except Exception as error:  # coremltools has an error of its own for each of its layers
        raise CaseError(_why_not(error), stage=Stage.PLAN) from error
    return [
        IPhone(
            udid=one.udid,
            name=one.name,
            system=f"{one.os_version} ({one.os_build_number})",
            state=str(one.state.value),
            developer_mode=one.developer_mode_state,
        )
        for one in devices
        if one.type in families
    ]


def environment(udid: str) -> dict[str, Any]:
    """What a device is: the facts that make two runs on it comparable; what it does not say is null."""
    phone = next((one for one in listed() if one.udid == udid), None)
    if phone is None:
        raise _gone(udid)
    known = {"udid": udid, "name": phone.name, "model": _model_of(udid), "ios": phone.system}
    return {"fingerprint": digest(known)[:12], "device": known}


def _model_of(udid: str) -> str | None:
    """Such as "iPhone 15 Pro (iPhone16,1)"; coremltools does not read it, devicectl tells it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "devices.json"
        command = ["xcrun", "devicectl", "list", "devices", "-j", str(file)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=LIST_SECONDS)
            devices = json.loads(file.read_text())["result"]["devices"]
            listing = [one["hardwareProperties"] for one in devices]
            (found,) = (one for one in listing if one.get("udid") == udid)
        except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
            return None
    names = [str(found[key]) for key in ("marketingName", "productType") if found.get(key)]
    return " / ".join(names) or None


def _why_not(error: Exception) -> str:
    words = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"devices cannot be listed ({words}): this needs a Mac with Xcode 15 or newer, `devicectl` on PATH"


class IPhoneSession:
    """A model on a device. Its answers and times come from there."""

    def __init__(self, path: Path, udid: str) -> None:
        from coremltools.models import MLModel
        from coremltools.models.ml_program.experimental import remote_device
        from coremltools.models.ml_program.experimental.async_wrapper import MLModelAsyncWrapper

        described = Evaluator.open(path)
        self._pictures = described.pictures
        self.inputs: tuple[TensorInfo, ...] = described.inputs
        self.outputs: tuple[TensorInfo, ...] = described.outputs
        self._loop = asyncio.new_event_loop()
        self._device: Any = None
        self._loaded = False
        team = os.environ.get(TEAM, "")
        credentials = remote_device.AppSigningCredentials(development_team=team) if team else None
        _wait_longer(remote_device)
        try:
            self._device = self._wait(_device(udid).prepare_for_model_debugging(credentials), "be prepared")
            model = MLModel(str(path), skip_model_load=True)
            self._model = MLModelAsyncWrapper.from_spec_or_path(
                spec_or_path=tensors_only(model.get_spec()),
                weights_dir=model.weights_dir or "",
                compute_units=model.compute_unit,
                device=self._device,
            )
            self._wait(self._model.load(), "load the model")
        except BaseException:
            self.close()
            raise
        self._loaded = True

    def run(self, feed: Feed) -> dict[str, Array]:
        """One inference on arrays of the declared shapes."""
        return self._predict(match(load_feed(feed), self.inputs))

    def run_many(self, feed: Feed) -> dict[str, Array]:
        """(n, ...) samples to (n, ...) reals, one inference a sample."""
        arrays = match(load_feed(feed), self.inputs)
        count = len(next(iter(arrays.values())))
        answers = [self._predict(self._sample(arrays, place)) for place in range(count)]
        return {info.name: np.stack([answer[info.name] for answer in answers]) for info in self.outputs}

    def time(self, feed: Feed, policy: TimingPolicy) -> Timing:
        """The device's own times of back-to-back predictions; what the cable takes is not in them."""
        sample = self._sample(match(load_feed(feed), self.inputs), 0)
        durations = []
        for _ in range(WARM_UP + max(FEWEST_RUNS, policy.min_runs)):
            self._predict(sample)
            durations.append(int(self._model.last_predict_duration_in_nano_seconds or 0))
        samples = durations[WARM_UP:]
        if not all(samples):
            raise CaseError("the device tells no duration: update coremltools", stage=Stage.MEASURE)
        return Timing(
            threads=1,
            samples_ns=tuple(samples),
            load_ns=int(self._model.load_duration_in_nano_seconds or 0),
            first_ns=durations[0],
            warmup_ns=tuple(durations[:WARM_UP]),
            cpu_ns=None,
            wall_ns=sum(samples),
        )

    def memory(self, feed: Feed, runs: int) -> MemoryUse:
        """Never: the app on the device does not tell it."""
        raise Unsupported("coremltools' app on the device does not tell its memory", stage=Stage.MEASURE)

    def placement(self) -> dict[str, dict[str, int]]:
        """How many operators of each kind prefer which compute device: device -> operator -> count."""
        plan = self._wait(self._model.retrieve_compute_plan(), "tell its compute plan")
        return placed(plan)

    def close(self) -> None:
        """Unload the model and end the app."""
        device, self._device = self._device, None
        try:
            if device is not None and device.session is not None:
                try:
                    if self._loaded:
                        self._wait(self._model.unload(), "unload the model")
                finally:
                    device.session.stop()
        finally:
            self._loop.close()

    def _sample(self, arrays: Mapping[str, Array], place: int) -> dict[str, Array]:
        one = {}
        for info in self.inputs:
            value = np.asarray(arrays[info.name][place])
            one[info.name] = value if value.ndim == len(info.shape) else value[np.newaxis]
        return one

    def _predict(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        given = {
            name: planes(value, self._pictures[name], name) if name in self._pictures else value
            for name, value in arrays.items()
        }
        # coremltools writes an array's memory as it lies, whatever its order is.
        given = {name: np.ascontiguousarray(value) for name, value in given.items()}
        found = self._wait(self._model.predict(given, state=None), "predict")
        return {info.name: self._answer(found[info.name]) for info in self.outputs}

    def _answer(self, value: Any) -> Array:
        array = np.asarray(value, np.float32)
        return array[0] if array.ndim > 1 and array.shape[0] == 1 else array

    def _wait(self, work: Coroutine[Any, Any, Any], what: str) -> Any:
        """The result of a step; remote errors are of many kinds, an AttributeError among them."""
        try:
            return self._loop.run_until_complete(work)
        except Exception as error:
            raise CaseError(
                f"the device could not {what} ({type(error).__name__}: {error}). Unlock it, keep its screen "
                f"on, trust this Mac, switch developer mode on, and name your team in {TEAM}",
                stage=Stage.RUN,
            ) from error


def _wait_longer(remote_device: Any) -> None:
    """coremltools gives up after 20 looks for an answer, half a second apart; a large model takes longer."""
    service = remote_device._DeviceCtlRemoteService
    remote_device._DeviceCtlRemoteService = partial(
        getattr(service, "func", service), max_attempts=MOST_LOOKS
    )


def placed(plan: Any) -> dict[str, dict[str, int]]:
    """Operators by the compute device that they prefer, of a coremltools MLComputePlan."""
    structure = plan.model_structure
    if structure.program is not None:
        parts = structure.program.functions["main"].block.operations
        usages = [
            (one.operator_name, plan.get_compute_device_usage_for_mlprogram_operation(one)) for one in parts
        ]
    else:
        layers = structure.neural_network.layers
        usages = [(one.type, plan.get_compute_device_usage_for_neuralnetwork_layer(one)) for one in layers]
    counts: dict[str, Counter[str]] = {}
    for operator, usage in usages:
        if usage is not None:  # constants run nowhere
            device = type(usage.preferred_compute_device).__name__
            device = device.removeprefix("ML").removesuffix("ComputeDevice")
            counts.setdefault(device, Counter())[operator.rpartition(".")[2]] += 1
    return {device: dict(found) for device, found in counts.items()}


def _device(udid: str) -> Any:
    from coremltools.models.ml_program.experimental.remote_device import Device

    for one in Device.get_devices():
        if one.udid == udid:
            return one
    raise _gone(udid)


def _gone(udid: str) -> CaseError:
    return CaseError(f"the device {udid} is not there any more: plug it in again", stage=Stage.LOAD)


def open_session(path: Path, threads: int, udid: str) -> IPhoneSession:
    """Open a model on the device; Core ML divides its work there itself."""
    return IPhoneSession(Path(path), udid)

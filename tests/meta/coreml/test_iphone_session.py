"""A session on an iPhone, by coremltools' own remote service; a stand-in for its app ends the socket.

The stand-in does what the app of coremltools 9 does (ModelService.swift): it
takes and answers arrays of the types that tensor descriptors know, and nothing
else. The evaluator computes in the place of Core ML.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from suite.coreml.evaluator import Evaluator
from suite.devices import ios
from suite.errors import CaseError, Unsupported
from suite.runtimes.base import TimingPolicy
from tests.meta.coreml.conftest import Fixture

Photo = Callable[[str], Fixture]
UDID = "00008120-001A2B3C4D5E6F70"
DURATION_NS = 1_500_000


class App:
    """What runs on the device: models by their id, and the answers that were not fetched yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models: dict[str, Evaluator] = {}
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        self.slow = 0  # looks without an answer

    def take(self, remote: Any, request: Any, resource: Path | None) -> None:
        self.asked.append(request.method.rpartition(".")[2])
        result, answered = getattr(self, self.asked[-1].lower())(remote, request.params, resource)
        result = {"modelID": request.params["modelID"], **result}
        self.answers[request.id] = remote._JSONRPCResponse(request.id, result, None, answered)

    def load(self, remote: Any, params: Any, resource: Path) -> Any:
        model = Evaluator.open(resource)
        assert not model.pictures, "MLFeatureValue(multiArray:) of an input that is an image"
        assert not model.labels, "unsupportedOutput"
        self.models[params["modelID"]] = model
        return {"duration": DURATION_NS * 100}, None

    def prediction(self, remote: Any, params: Any, resource: Path) -> Any:
        with resource.open("rb") as file:
            feed = {
                name: remote._TensorDescriptor.from_dict(one).to_array(file)
                for name, one in params["inputs"].items()
            }
        answers = self.models[params["modelID"]].run(feed)
        place = self.folder / f"answers-{len(self.asked)}.bin"
        with place.open("w+b") as file:
            outputs = {
                name: remote._TensorDescriptor.from_array(np.ascontiguousarray(value), file).as_dict()
                for name, value in answers.items()
            }
        return {"outputs": outputs, "duration": DURATION_NS}, place

    def unload(self, remote: Any, params: Any, resource: None) -> Any:
        del self.models[params["modelID"]]
        return {}, None


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """coremltools, with the cable, Xcode's compiler and the signed app replaced; all else is its own."""
    from coremltools.models.ml_program.experimental import async_wrapper, remote_device

    made, ended = App(tmp_path), []

    class Socket(remote_device._JSONRPCSocket):  # type: ignore[misc]
        is_alive = True

        def __init__(self, device: Any, source: str) -> None:
            assert source == "Documents/modelrunnerd"
            self.device, self.working_dir = device, tmp_path

        def send(self, request: Any, resource_path: Path | None = None) -> None:
            made.take(remote_device, request, resource_path)

        def receive(self, id: str) -> Any:
            if made.slow:
                made.slow -= 1
                return None
            return made.answers.pop(id)

    async def prepared(self: Any, credentials: Any = None) -> Any:
        session = SimpleNamespace(is_alive=True, stop=lambda: ended.append(True))
        return remote_device.Device(**{**vars(self), "session": session})

    async def at_once(seconds: float) -> None:
        pass

    device = remote_device.Device(
        name="Test phone", type=remote_device.DeviceType.IPHONE, identifier="1", udid=UDID, os_version="18.1",
        os_build_number="22B83", developer_mode_state="enabled", state=remote_device.DeviceState.CONNECTED,
        session=None,
    )  # fmt: skip
    monkeypatch.setattr(remote_device.Device, "get_devices", staticmethod(lambda: [device]))
    monkeypatch.setattr(remote_device.Device, "prepare_for_model_debugging", prepared)
    monkeypatch.setattr(remote_device, "_DeviceCtlSocket", Socket)
    monkeypatch.setattr(remote_device, "_DeviceCtlRemoteService", remote_device._DeviceCtlRemoteService)
    monkeypatch.setattr(remote_device._asyncio, "sleep", at_once)
    monkeypatch.setattr(
        async_wrapper,
        "compile_model",
        lambda model, destination_path: shutil.copytree(model, destination_path),
    )
    yield made
    assert made.models == {}, "a model stays loaded"
    assert ended == [True] * len(ended)


@pytest.mark.parametrize("variant", ["mlprogram_float16", "mlprogram_palettized_6bit"])
def test_photos_go_in_and_scores_come_out(photo: Photo, app: App, variant: str) -> None:
    path, _ = photo("caffe").convert(variant)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 20, 24, 3)).astype(np.uint8)
    whole = Evaluator.open(path)
    session = ios.open_session(path, 1, UDID)
    try:
        (taken,), (answered,) = session.inputs, session.outputs
        found = session.run_many({taken.name: pixels})[answered.name]
        timing = session.time({taken.name: pixels[:1]}, TimingPolicy(min_runs=3))
        with pytest.raises(Unsupported):
            session.memory({taken.name: pixels[:1]}, 1)
    finally:
        session.close()
    expected = np.stack([whole.run({taken.name: one})[answered.name].reshape(-1) for one in pixels])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert set(timing.samples_ns) == {DURATION_NS}
    assert (timing.load_ns, timing.cpu_ns) == (DURATION_NS * 100, None)
    assert app.asked[0] == "Load"
    assert app.asked[-1] == "Unload"


def test_the_artifact_as_it_is_would_be_refused(
    photo: Photo, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the stand-in is worth: pictures and labels do not reach the model."""
    monkeypatch.setattr(ios, "tensors_only", lambda spec: spec)
    path, _ = photo("tf").convert("mlprogram_float16")
    with pytest.raises(CaseError, match="could not load the model"):
        ios.open_session(path, 1, UDID)


def test_a_model_that_takes_long_is_waited_for(photo: Photo, app: App) -> None:
    """coremltools itself gives up after 20 looks, with an error about an attribute of None."""
    path, _ = photo("tf").convert("mlprogram_float16")
    app.slow = 100
    session = ios.open_session(path, 1, UDID)
    session.close()
    app.slow = ios.MOST_LOOKS
    with pytest.raises(CaseError, match=r"could not load the model \(AttributeError"):
        ios.open_session(path, 1, UDID)
    app.models.clear()  # it came to be loaded, and nobody was there any more


def test_a_device_that_is_gone_is_named(photo: Photo, app: App) -> None:
    path, _ = photo("tf").convert("mlprogram_float16")
    with pytest.raises(CaseError, match="is not there any more: plug it in again"):
        ios.open_session(path, 1, "another")

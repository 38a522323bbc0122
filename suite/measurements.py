"""What a case costs where it runs: time, memory, frames that keep up with a camera, compute units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from suite import benchmark, on_phone, runtimes
from suite.devices.session import DeviceSession
from suite.errors import StagedError
from suite.lab import Lab
from suite.matrix import Case
from suite.on_phone import Consumption
from suite.realtime import FRAMES, camera_frames
from suite.realtime import measure as measure_realtime
from suite.record import Stage
from suite.record.camera import RealTime
from suite.record.costs import Memory, Sustained
from suite.runtimes.base import TimingPolicy
from suite.spec import Target

_POLICY = TimingPolicy()
_BESIDE = 3  # workers that wait while a memory pass runs: for itself, a camera, and the next one


def speed(lab: Lab, case: Case, path: Path, threads: int) -> benchmark.Speed:
    """Time the artifact on one real sample."""
    feeds = lab.subject(case.spec).feeds
    sample = feeds.one()
    lab.settle()
    with lab.sessions.open(case.target, path, threads) as session:
        if lab.takes_photos(case, session):
            sample = feeds.photo(sample)
        if isinstance(session, DeviceSession):
            return on_phone.speed(session, sample, _POLICY, lab.phones.cool_seconds)
        measured = benchmark.speed(session.time(sample, _POLICY))
        return replace(measured, reasons={**measured.reasons, "thermal": _silence(case.target)["thermal"]})


def memory(lab: Lab, case: Case, path: Path, threads: int) -> Memory | str:
    """Memory of a fresh process that runs the artifact; a reason where the place does not tell."""
    if case.target.on_ios:
        return "the app on the device does not tell it"
    feeds = lab.subject(case.spec).feeds
    sample = feeds.one()
    lab.pool.stock(_BESIDE - lab.pool.waiting)
    with lab.sessions.open(case.target, path, threads, fresh=True) as session:
        if lab.takes_photos(case, session):
            sample = feeds.photo(sample)
        try:
            return benchmark.memory(session.memory(sample, benchmark.MEMORY_RUNS))
        except StagedError as silent:
            if silent.stage is not Stage.MEASURE:
                raise
            return str(silent)


def consumption(lab: Lab, case: Case, path: Path, threads: int) -> Consumption:
    """What the artifact takes of a GPU and of a battery, in a pass apart from the timed one."""
    if not case.target.on_android:
        return Consumption(reasons={name: _silence(case.target)[name] for name in ("gpu", "energy")})
    sample = lab.subject(case.spec).feeds.one()
    with lab.sessions.open(case.target, path, threads) as session:
        assert isinstance(session, DeviceSession)
        return on_phone.consumption(session, sample)


_HERE = {
    "gpu": "the engine runs on the CPU",
    "energy": benchmark.NO_BATTERY,
    "thermal": benchmark.NO_BATTERY,
}
_MAC = {
    "gpu": "Core ML chooses among CPU, GPU and Neural Engine, and tells no share of them",
    "energy": "macOS tells it to root alone (powermetrics)",
    "thermal": "macOS tells it to root alone (powermetrics)",
}
_IPHONE = dict.fromkeys(("gpu", "energy", "thermal"), "the app on the device does not tell it")


def _silence(target: Target) -> dict[str, str]:
    """Why a place other than an Android phone does not tell of its GPU, battery and heat."""
    if target.on_ios:
        return _IPHONE
    if target.engine == "coreml-cpu":
        return {**_MAC, "gpu": _HERE["gpu"]}
    return _MAC if target.engine.startswith("coreml") and benchmark.timed(target) else _HERE


def sustained(lab: Lab, case: Case, path: Path, minutes: float) -> Sustained:
    """Run the artifact back to back for minutes, with the threads that a gate goes by."""
    sample = lab.subject(case.spec).feeds.one()
    threads = benchmark.thread_counts(case.target)[-1]
    lab.settle()
    if case.target.on_android:
        with lab.sessions.open(case.target, path, threads) as session:
            assert isinstance(session, DeviceSession)
            return on_phone.sustained(session, sample, lab.phones.cool_seconds, minutes=minutes)
    with lab.sessions.watched(case.target, path):
        return benchmark.measure_sustained(case.target.engine, path, sample, threads=threads, minutes=minutes)


def realtime(lab: Lab, case: Case, path: Path, threads: int) -> RealTime:
    """Run the artifact behind a camera that shows the model's real samples."""
    lab.settle()
    feeds = lab.subject(case.spec).feeds
    image, dataset = feeds.image, feeds.dataset
    if image is not None and dataset is not None and dataset.photos:
        frames = camera_frames(list(dataset.evaluation().images[:FRAMES]))
    else:  # no photos: the samples as the model takes them, which leaves less to preprocess
        image, sample = None, next(iter(feeds.one().values()))
        frames = [sample[0]]
    if case.target.on_android:
        with lab.sessions.open(case.target, path, threads) as session:
            assert isinstance(session, DeviceSession)
            return on_phone.realtime(session, frames, image, lab.phones.cool_seconds)
    engine = case.target.engine
    with (
        lab.sessions.watched(case.target, path),
        lab.pool.fresh(runtimes.ENGINES[engine].worker) as worker,
    ):
        return measure_realtime(engine, path, frames, image, threads=threads, worker=worker)


def placement(lab: Lab, case: Case, path: Path) -> dict[str, dict[str, int]]:
    """Where Core ML would run each operator on an iPhone: compute device -> operator -> count."""
    with lab.sessions.open(case.target, path, 1) as session:
        assert isinstance(session, runtimes.RemoteSession)
        return session.placement()

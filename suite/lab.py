"""One place that knows how a case's parts are made: original, feeds, artifact, answers. Makes each once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from suite import accuracy, benchmark, contract, generated, parity, realtime, runtimes
from suite.cache import Cache, sha256_file
from suite.contract import Photos
from suite.converters import artifact as artifacts
from suite.converters import contract as terms
from suite.converters import inspection
from suite.converters.interface import interface
from suite.devices import fleet
from suite.devices.fleet import Fleet, Tensors
from suite.devices.session import DeviceSession
from suite.errors import CaseError, StagedError
from suite.feeds import Feed, Feeds, scratch_folder
from suite.floor import Floors
from suite.matrix import Case
from suite.original import Original
from suite.record import Accuracy, Artifact, Contract, Memory, Parity, RealTime, Stage, StaticCheck, Sustained
from suite.runtimes.base import TimingPolicy
from suite.spec import Array, Budget, Dataset, ModelSpec, Target, Tolerance
from suite.thresholds import Thresholds

Answers = dict[str, Array]
OpenedSession = runtimes.RemoteSession | DeviceSession
FEWEST_SAMPLES = 64  # real ones that parity rests on at least
EVALUATOR = "coreml-evaluator"  # what Core ML is held to
EVALUATOR_SECONDS = 10.0  # of a pass of NumPy's, which every machine without Core ML has to wait for
EVALUATOR_GMACS = 0.4  # of a sample: what is larger is cut on every machine alike, where the fixture says it
PREPARE_SECONDS = 900.0  # Xcode builds the app at first use
STATIC_SECONDS = 300.0
FEW_ROWS = (1, 2, 9)  # of the generated samples: white, grey and noise, or the bounds and noise
PASS_SECONDS = 120.0  # a data-set pass may take, before it is cut to the fewest samples


@dataclass(frozen=True, slots=True)
class Subject:
    """One model as it is being examined."""

    original: Original
    feeds: Feeds


class Lab:
    """Makes and measures; close it to end its workers.

    `threads` are used for comparing; a benchmark names its own.
    """

    def __init__(
        self,
        cache: Cache,
        thresholds: Thresholds,
        *,
        weights: str = "offline",
        dataset: Dataset | None = None,
        bounds: tuple[float, float] | None = None,
        threads: int = 1,
        policy: TimingPolicy | None = None,
        deployment_target: str = "",
        phones: Fleet | None = None,
    ) -> None:
        self.phones = phones or Fleet()
        self.cache, self.thresholds = cache, thresholds
        self._weights, self._dataset, self._bounds = weights, dataset, bounds
        self._threads, self._policy = threads, policy or TimingPolicy()
        self._deployment_target = deployment_target
        self.pool = runtimes.Pool()
        self.scratch = scratch_folder(cache.root / "scratch")
        self._subject: tuple[str, Subject] | None = None
        self._answers: tuple[str, dict[str, tuple[Answers, Answers]]] = "", {}  # of one artifact, by target
        self._tensors: tuple[str, Tensors] | None = None

    def subject(self, spec: ModelSpec) -> Subject:
        """The model's original and feeds; those of the model before are put away."""
        if self._subject is None or self._subject[0] != spec.name:
            if self._subject is not None:
                self._subject[1].feeds.discard()
                self.pool.shed()
            original = self._original(spec)
            feeds = self._feeds(original)
            self._subject = spec.name, Subject(original, feeds)
        return self._subject[1]

    def _original(self, spec: ModelSpec) -> Original:
        return Original(spec, self._weights, self.cache, self.pool)

    def _feeds(self, original: Original) -> Feeds:
        return self._make_feeds(original, self._dataset)

    def _make_feeds(self, original: Original, dataset: Dataset | None, seed: int = 0) -> Feeds:
        outputs = original.card.outputs
        return Feeds(
            original.spec,
            original.card.inputs,
            scratch=self.scratch,
            dataset=dataset,
            bounds=self._bounds,
            rescales=original.card.rescales,
            classes=outputs[0].shape[-1] if outputs else None,
            seed=seed,
        )

    def _forget(self) -> None:
        """Let go of the model at hand, and of what was answered."""
        if self._subject is not None:
            self._subject[1].feeds.discard()
            self._subject = None
        self._answers = "", {}

    def artifact(self, case: Case) -> tuple[Path, Artifact]:
        """The file that would ship, converted or given."""
        if case.target.on_android:
            self.phones.check(case.target)  # before anything is built for it
        if case.broken:
            raise CaseError(case.broken, stage=Stage.BUILD)
        subject = self.subject(case.spec)
        if case.artifact is not None:
            return artifacts.given(subject.original, case.artifact)
        return artifacts.artifact(
            subject.original,
            case.variant,
            subject.feeds,
            self.cache,
            deployment_target=self._deployment_target,
        )

    def static(self, case: Case, path: Path) -> dict[str, StaticCheck]:
        """What a file says of itself: of Core ML held to the model, of TFLite to the float32 conversion."""
        if case.variant.format != "coreml":
            return self._floors(case.spec).check(path, case.variant, converted=self._converted(case))
        subject = self.subject(case.spec)
        original = subject.original
        wanted = interface(original.spec, original.card, self._deployment_target)
        found: dict[str, StaticCheck] = self.pool.worker("Core ML").call(
            "suite.coreml.checks:check",
            path,
            case.variant.name,
            wanted,
            case.artifact is None,
            _few(subject.feeds),
            stage=Stage.CONVERT,
            timeout=STATIC_SECONDS,
        )
        return found

    def limits(self, case: Case) -> tuple[Tolerance, Budget]:
        """The bounds in force for a case."""
        return self.thresholds.resolve(case.spec.name, case.variant.name, override(case))

    def parity(self, case: Case, path: Path, sha256: str) -> Parity:
        """Hold the artifact's answers to the original's."""
        subject = self.subject(case.spec)
        actual = self._run(case, path, sha256)
        reference = self._reference(subject, actual)
        measured = parity.measure(
            reference,
            actual,
            subject.feeds.generated().names,
            self.limits(case)[0],
            quantised=case.variant.quantised,
        )
        floors = self._floors(case.spec).beside(case.variant, reference, actual)
        if isinstance(floors, str):
            return replace(measured, no_floor=floors)
        return replace(measured, floor=floors[0], generated_floor=floors[1])

    def accuracy(self, case: Case, path: Path, sha256: str) -> Accuracy | str:
        """Accuracy on the labelled samples; a reason where it means nothing."""
        subject = self.subject(case.spec)
        feed, dataset = subject.feeds.evaluation(), subject.feeds.dataset
        if feed.labels is None or dataset is None:
            return "the samples have no labels of this model: give --dataset with labels"
        actual = self._run(case, path, sha256)
        pairs = list(parity.align(self._reference(subject, actual)[0], actual[0]).values())
        if len(pairs) != 1 or pairs[0][0].ndim != 2:
            return "the model does not answer one vector of scores"
        scores, answered = pairs[0]
        if scores.shape != answered.shape:
            raise CaseError(
                f"the artifact answers {answered.shape[1:]} scores, the original {scores.shape[1:]}",
                stage=Stage.COMPARE,
            )
        return accuracy.measure(
            scores,
            answered,
            feed.labels[: len(answered)],
            dataset=dataset.name,
            dataset_sha256=dataset.sha256(),
            max_drop=self.limits(case)[1].max_accuracy_drop,
        )

    def contract(self, case: Case, path: Path, sha256: str) -> Contract | str:
        """From photo to label as the artifact tells an app; a reason where no fixture states how that is."""
        subject = self.subject(case.spec)
        stated = terms.stated(case.spec, subject.original.card)
        if stated is None:
            return (
                "no fixture states how photos are prepared or what the answers are called, so the artifact "
                "tells an app nothing: write a fixture with an ImageInput and labels"
            )
        try:
            told = self._told(case, path)
        except CaseError as error:
            return Contract(photos=0, max_pixel_diff=None, labels=0, same_label=None, wrong=(str(error),))
        photos = self._contract_photos(case, path, sha256)
        return contract.measure(stated, told, photos, converted=self._converted(case))

    def _told(self, case: Case, path: Path) -> terms.Told:
        if case.variant.format != "coreml":
            return terms.told(path.read_bytes())
        original = self.subject(case.spec).original
        wanted = interface(original.spec, original.card, self._deployment_target)
        found: terms.Told = self.pool.worker("Core ML").call(
            "suite.coreml.checks:told",
            path,
            case.variant.name,
            wanted,
            stage=Stage.CONVERT,
            timeout=STATIC_SECONDS,
        )
        return found

    def _contract_photos(self, case: Case, path: Path, sha256: str) -> Photos:
        """Held-out photos, or generated ones, and what the artifact answers to them."""
        feeds = self.subject(case.spec).feeds
        if feeds.image is None:
            return Photos(files=(), scores=None, answer=lambda _: None)
        real, made = self._run(case, path, sha256)
        if feeds.dataset is not None and feeds.dataset.photos:
            photos, answers = feeds.dataset.evaluation().images[: contract.PHOTOS], real
        else:
            photos, answers = generated.photos(feeds.image.height, feeds.image.width), made
        scores = _scores(answers)
        count = min(contract.PHOTOS, len(photos), len(next(iter(answers.values()))))

        def answer(tensors: Array) -> Array | None:
            if case.variant.format == "coreml":  # it prepares the photo itself, and has answered it
                return None if scores is None else scores[:count]
            with self._session(case.target, path, self._threads) as session:
                return _scores(session.run_many({session.inputs[0].name: tensors}))

        return Photos(
            files=[contract.file(np.asarray(photo)) for photo in photos[:count]],
            scores=None if scores is None else scores[:count],
            answer=answer,
        )

    def host_parity(self, case: Case, path: Path, sha256: str) -> Parity:
        """Hold a phone's or Core ML's answers to this machine's, by the same artifact on the same tensors."""
        there = self._run(case, path, sha256)
        here = self._run(
            replace(case, target=Target("host", fleet.ENGINES.get(case.target.engine, EVALUATOR))),
            path,
            sha256,
        )
        names = self.subject(case.spec).feeds.generated().names
        return parity.measure(
            (_first_of(here[0], there[0]), _first_of(here[1], there[1])),
            (_first_of(there[0], here[0]), _first_of(there[1], here[1])),
            names,
            self.limits(case)[0],
            quantised=case.variant.quantised,
            steps=inspection.output_steps(path) if path.suffix == ".tflite" else (),
        )

    def answers(self, case: Case, path: Path, sha256: str) -> tuple[Answers, Answers]:
        """The artifact's answers on real and generated samples, as parity compares them."""
        return self._run(case, path, sha256)

    def reference(self, case: Case, actual: tuple[Answers, Answers]) -> tuple[Answers, Answers]:
        """The original's, on the same samples."""
        return self._reference(self.subject(case.spec), actual)

    def answer(self, case: Case, path: Path, feed: Feed) -> Answers:
        """The artifact's answers to some other samples, in the place of the case."""
        with self.answering(case, path) as answer:
            return answer(feed)

    @contextmanager
    def answering(self, case: Case, path: Path) -> Iterator[Callable[[Feed], Answers]]:
        """What answers samples as the artifact does, for as long as it is open."""
        with self._session(case.target, path, self._threads) as session:
            given = (
                self.subject(case.spec).feeds.photos if self._takes_photos(case, session) else _as_they_are
            )
            yield lambda feed: session.run_many(given(feed).arrays)

    def intermediates(self, case: Case, path: Path, feed: Feed) -> Answers:
        """Every value that the evaluator computes of a Core ML artifact, (n, ...) by name, in order."""
        with self._session(Target("host", EVALUATOR), path, self._threads) as session:
            assert isinstance(session, runtimes.RemoteSession)
            given = (
                self.subject(case.spec).feeds.photos if self._takes_photos(case, session) else _as_they_are
            )
            return session.intermediates(given(feed).arrays)

    def speed(self, case: Case, path: Path, threads: int) -> benchmark.Speed:
        """Time the artifact on one real sample."""
        feeds = self.subject(case.spec).feeds
        sample = feeds.one()
        with self._session(case.target, path, threads) as session:
            if self._takes_photos(case, session):
                sample = feeds.photo(sample)
            if isinstance(session, DeviceSession):
                return benchmark.speed_on_phone(session, sample, self._policy, self.phones.cool_seconds)
            return benchmark.speed(session.time(sample, self._policy))

    def memory(self, case: Case, path: Path, threads: int) -> Memory | str:
        """Memory of a fresh process that runs the artifact; a reason where the place does not tell."""
        if case.target.on_ios:
            return "the app on the device does not tell it"
        feeds = self.subject(case.spec).feeds
        sample = feeds.one()
        with self._session(case.target, path, threads, fresh=True) as session:
            if self._takes_photos(case, session):
                sample = feeds.photo(sample)
            try:
                return benchmark.memory(session.memory(sample, benchmark.MEMORY_RUNS))
            except StagedError as silent:
                if silent.stage is not Stage.MEASURE:
                    raise
                return str(silent)

    def placement(self, case: Case, path: Path) -> dict[str, dict[str, int]]:
        """Where Core ML would run each operator on an iPhone: compute device -> operator -> count."""
        with self._session(case.target, path, 1) as session:
            assert isinstance(session, runtimes.RemoteSession)
            return session.placement()

    def surroundings(self, case: Case) -> tuple[dict[str, Any], tuple[str, ...]]:
        """What is known of the place of a case beside this machine, and what a reader must know of it."""
        if not case.target.on_android:
            return {}, ()
        return self.phones.surroundings(case.target)

    def sustained(self, case: Case, path: Path, threads: int, minutes: float) -> Sustained:
        """Run the artifact back to back for minutes."""
        sample = self.subject(case.spec).feeds.one()
        return benchmark.measure_sustained(case.target.engine, path, sample, threads=threads, minutes=minutes)

    def realtime(self, case: Case, path: Path, threads: int) -> RealTime:
        """Run the artifact behind a camera that shows the model's real samples."""
        feeds = self.subject(case.spec).feeds
        image, dataset = feeds.image, feeds.dataset
        if image is not None and dataset is not None and dataset.photos:
            frames = realtime.camera_frames(list(dataset.evaluation().images[: realtime.FRAMES]))
        else:  # no photos: the samples as the model takes them, which leaves less to preprocess
            image, sample = None, next(iter(feeds.one().values()))
            frames = [sample[0]]
        if case.target.on_android:
            with self._session(case.target, path, threads) as session:
                assert isinstance(session, DeviceSession)
                use = session.realtime(frames, image, realtime.PLAN)
            return realtime.recorded(use, frames[0], threads)
        return realtime.measure(case.target.engine, path, frames, image, threads=threads)

    def close(self) -> None:
        """End the workers, let go of the phones, and remove the scratch files."""
        self.phones.close()
        self.pool.close()
        self._forget()

    def _floors(self, spec: ModelSpec) -> Floors:
        subject = self.subject(spec)
        return Floors(subject.original, subject.feeds, self.cache, self.pool, self.scratch, self._threads)

    def _converted(self, case: Case) -> bool:
        """Whether the artifact is of this suite's own converter, whose every choice is known."""
        return case.artifact is None

    def _reference(self, subject: Subject, actual: tuple[Answers, Answers]) -> tuple[Answers, Answers]:
        """The original's answers on the samples that the artifact answered."""
        real = subject.original.answers(subject.feeds.evaluation())
        made = subject.original.answers(subject.feeds.generated())
        return _first_of(real, actual[0]), _first_of(made, actual[1])

    def _run(self, case: Case, path: Path, sha256: str) -> tuple[Answers, Answers]:
        """The artifact's answers on real and generated samples; parity and accuracy share one pass."""
        if self._answers[0] != sha256:
            self._answers = sha256, {}
        answers, target = self._answers[1], str(case.target)
        if target not in answers:
            feeds = self.subject(case.spec).feeds
            with self._session(case.target, path, self._threads) as session:
                given = feeds.photos if self._takes_photos(case, session) else _as_they_are
                timed = benchmark.timed(case.target)
                count = _count(session, case, feeds.evaluation(), given)
                real = session.run_many(given(feeds.evaluation().first(count)).arrays)
                made = feeds.generated()
                if not timed and count < feeds.evaluation().count:
                    made = made.first(len(generated.CORNERS))
                answers[target] = real, session.run_many(given(made).arrays)
        return answers[target]

    def _takes_photos(self, case: Case, session: OpenedSession) -> bool:
        """Whether the artifact prepares pictures itself: (height, width, channels), without a batch axis."""
        wanted = self.subject(case.spec).original.card.inputs
        return len(session.inputs[0].shape) == len(wanted[0].shape) - 1

    @contextmanager
    def _session(
        self, target: Target, path: Path, threads: int, *, fresh: bool = False
    ) -> Iterator[OpenedSession]:
        """The artifact where the case runs; `fresh`: in a process that has held no other."""
        if target.on_android:
            described, float32 = self._described(path), inspection.inspect(path).variant == "float32"
            with self.phones.session(
                target, path, threads=threads, tensors=described, float32=float32
            ) as there:
                yield there
            return
        if target.on_ios:
            engine = iphone_engine(target)
            with runtimes.open_session(
                engine, path, threads=1, worker=self.pool.worker(engine.worker)
            ) as plugged_in:
                yield plugged_in
            return
        worker = None if fresh else self.pool.worker(runtimes.ENGINES[target.engine].worker)
        with runtimes.open_session(target.engine, path, threads=threads, worker=worker) as here:
            yield here

    def _described(self, path: Path) -> Tensors:
        """Inputs and outputs of an artifact, as LiteRT on this machine reads them."""
        sha256 = sha256_file(path)
        if self._tensors is None or self._tensors[0] != sha256:
            with self._session(Target("host", "litert-xnnpack"), path, 1) as session:
                self._tensors = sha256, (session.inputs, session.outputs)
        return self._tensors[1]


def _count(session: OpenedSession, case: Case, feed: Feed, given: Callable[[Feed], Feed]) -> int:
    """How many real samples the artifact answers; NumPy's pass is cut by the size that the model states."""
    if benchmark.timed(case.target):
        return _affordable(session, feed, given, PASS_SECONDS)
    if not case.spec.gmacs:
        return _affordable(session, feed, given, EVALUATOR_SECONDS)
    return feed.count if case.spec.gmacs <= EVALUATOR_GMACS else min(feed.count, FEWEST_SAMPLES)


def _affordable(session: OpenedSession, feed: Feed, given: Callable[[Feed], Feed], patience: float) -> int:
    """All samples, or the first FEWEST_SAMPLES where the engine is so slow that all would take minutes."""
    if feed.count <= FEWEST_SAMPLES:
        return feed.count
    start = time.perf_counter()
    session.run_many(given(feed.first(1)).arrays)
    seconds = time.perf_counter() - start
    if isinstance(session, DeviceSession):  # what it takes to reach the phone is there once
        seconds = session.inference_seconds
    return feed.count if seconds * feed.count <= patience else FEWEST_SAMPLES


def _few(feeds: Feeds) -> dict[str, Array]:
    """A real sample and a few generated ones, (n, ...) by input name: for what needs some inference."""
    samples = [feeds.one(), *(feeds.generated().sample(row) for row in FEW_ROWS)]
    return {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}


def _scores(answers: Answers) -> Array | None:
    """The one vector of scores (n, k) that a model answers; None where it answers something else."""
    (first, *others) = answers.values()
    return first if not others and first.ndim == 2 else None


def _as_they_are(feed: Feed) -> Feed:
    return feed


def _first_of(answers: Answers, others: Answers) -> Answers:
    """As many of the first answers as the others are; all, where they are fewer."""
    count = len(next(iter(others.values())))
    return {name: values[:count] for name, values in answers.items()}


def iphone_engine(target: Target) -> runtimes.Engine:
    """The engine of one iPhone or iPad, whose place is `ios:<udid>`."""
    return runtimes.Engine(
        "suite.devices.ios:open_session",
        "iPhone",
        "coremltools",
        (target.place.removeprefix("ios:"),),
        load_seconds=PREPARE_SECONDS,
    )


def override(case: Case) -> dict[str, Any]:
    """What the fixture itself allows this variant, with its reasons; empty where it says nothing."""
    stated: dict[str, Any] = {}
    reasons = []
    for bounds in (case.spec.tolerances.get(case.variant.name), case.spec.budgets.get(case.variant.name)):
        if bounds is None:
            continue
        values = asdict(bounds)
        reasons.append(values.pop("reason"))
        stated.update({name: value for name, value in values.items() if value not in (None, "")})
    if stated:
        stated["reason"] = "; ".join(filter(None, reasons))
    return stated

"""One place that knows how a case's parts are made: original, feeds, artifact, answers. Makes each once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from suite import benchmark, generated, runtimes
from suite.ahead import Ahead
from suite.cache import Built, Cache
from suite.converters import artifact as artifacts
from suite.devices.fleet import Fleet
from suite.devices.session import DeviceSession
from suite.errors import CaseError
from suite.feeds import Feed, Feeds, scratch_folder
from suite.floor import Floors
from suite.matrix import Case
from suite.original import Original
from suite.record import Artifact, Stage
from suite.sessions import OpenedSession, Sessions
from suite.spec import Array, Budget, Dataset, ModelSpec, Target, Tolerance
from suite.thresholds import FEWEST_SAMPLES, Thresholds

Answers = dict[str, Array]
EVALUATOR = "coreml-evaluator"  # what Core ML is held to
EVALUATOR_SECONDS = 10.0  # of a pass of NumPy's, which every machine without Core ML has to wait for
EVALUATOR_GMACS = 0.4  # of a sample: what is larger is cut on every machine alike, where the fixture says it
IPHONE_SECONDS = 300.0  # to ask what a device is; the first time coremltools is imported
PASS_SECONDS = 120.0  # a data-set pass may take, before it is cut to the fewest samples
_STARTED_BESIDE = 3  # workers, while an artifact is answered


@dataclass(frozen=True, slots=True)
class Subject:
    """One model as it is being examined."""

    original: Original
    feeds: Feeds


class Lab:
    """Makes what a case is proven with; close it to end its workers.

    `threads` are used for comparing; a benchmark names its own. `order` is that
    in which cases will be asked for, where it is known: what the cache has of
    the next one is read, and its samples are prepared, while one is answered.
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
        deployment_target: str = "",
        phones: Fleet | None = None,
        order: Sequence[Case] = (),
    ) -> None:
        self.phones = phones or Fleet()
        self.cache, self.thresholds = cache, thresholds
        self._weights, self._dataset, self._bounds = weights, dataset, bounds
        self.threads, self.deployment_target = threads, deployment_target
        self.pool = runtimes.Pool()
        self.sessions = Sessions(self.pool, self.phones)
        self.scratch = scratch_folder(cache.root / "scratch")
        self._subject: tuple[str, Subject] | None = None
        self._next = {case.id: then for case, then in pairwise(order)}
        self._ahead, self._made_ahead = Ahead(), dict[str, Subject]()
        self._iphones: dict[Target, dict[str, Any]] = {}  # what each is
        self._answers: tuple[str, dict[str, tuple[Answers, Answers]]] = "", {}  # of one artifact, by target

    def subject(self, spec: ModelSpec) -> Subject:
        """The model's original and feeds; those of the model before are put away."""
        if self._subject is None or self._subject[0] != spec.name:
            if self._subject is not None:
                self._ahead.wait()  # it may be making this one ready
                self._forget()
                self.pool.shed()
            self._subject = spec.name, self._made_ahead.pop(spec.name, None) or self._examine(spec)
            self._discard_ahead()
        return self._subject[1]

    def _examine(self, spec: ModelSpec) -> Subject:
        original = self._original(spec)
        return Subject(original, self._feeds(original))

    def _discard_ahead(self) -> None:
        while self._made_ahead:
            self._made_ahead.popitem()[1].feeds.discard()

    def _begin_ahead(self, case: Case) -> None:
        """Beside what is answered for a case: what the next one needs and no worker has to be asked for."""
        self.pool.stock(_STARTED_BESIDE)
        then, subject = self._next.get(case.id), self.subject(case.spec)
        if then is not None and then.artifact is None and not then.broken:
            self._ahead.begin(lambda: self._make_ahead(then, subject if then.spec is case.spec else None))

    def _make_ahead(self, case: Case, subject: Subject | None) -> None:
        """Of a case: `subject` is its model where that is at hand; builds nothing."""
        if subject is None:
            original = self._original(case.spec)
            if not original.known():
                return
            subject = self._made_ahead[case.spec.name] = Subject(original, self._feeds(original))
            dict(subject.feeds.evaluation().arrays)
            subject.feeds.generated()
        artifacts.artifact(
            subject.original,
            case.variant,
            subject.feeds,
            Built(self.cache),
            deployment_target=self.deployment_target,
        )
        if not benchmark.timed(case.target) and case.spec.gmacs:  # or a pass is cut as the engine is quick
            feed = subject.feeds.evaluation()
            subject.feeds.photos(feed.first(evaluated(case.spec.gmacs, feed.count)))

    def settle(self) -> None:
        """Wait until nothing is made ready any more: before anything is timed."""
        self._ahead.wait()
        self.pool.settle()

    def _original(self, spec: ModelSpec) -> Original:
        return Original(spec, self._weights, self.cache, self.pool)

    def _feeds(self, original: Original) -> Feeds:
        return self._make_feeds(original, self._dataset)

    def _make_feeds(self, original: Original, dataset: Dataset | None, seed: int = 0) -> Feeds:
        return Feeds(
            original.spec,
            original.card.inputs,
            scratch=self.scratch,
            dataset=dataset,
            bounds=self._bounds,
            rescales=original.card.rescales,
            scores=original.card.scores,
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
            deployment_target=self.deployment_target,
        )

    def converted(self, case: Case) -> bool:
        """Whether the artifact is of this suite's own converter, whose every choice is known."""
        return case.artifact is None

    def floors(self, spec: ModelSpec) -> Floors:
        """What each precision costs the model by itself."""
        subject = self.subject(spec)
        return Floors(subject.original, subject.feeds, self.cache, self.pool, self.scratch, self.threads)

    def limits(self, case: Case) -> tuple[Tolerance, Budget]:
        """The bounds in force for a case."""
        return self.thresholds.resolve(case.spec.name, case.variant.name, case.override)

    def answers(self, case: Case, path: Path, sha256: str) -> tuple[Answers, Answers]:
        """The artifact's answers on real and generated samples; its checks share one pass."""
        feeds = self.subject(case.spec).feeds  # another model's answers are forgotten, of the same file too
        if self._answers[0] != sha256:
            self._answers = sha256, {}
        answers, target = self._answers[1], str(case.target)
        if target not in answers:
            self._ahead.wait()  # or it would be taken for the artifact's slowness
            with self.sessions.open(case.target, path, self.threads, sha256=sha256) as session:
                given = self._given(case, session)
                timed = benchmark.timed(case.target)
                count = _count(session, case, feeds.evaluation(), given)
                self._begin_ahead(case)
                real = session.run_many(given(feeds.evaluation().first(count)).arrays)
                made = feeds.generated()
                if not timed and count < feeds.evaluation().count:
                    made = made.first(len(generated.CORNERS))
                answers[target] = real, session.run_many(given(made).arrays)
        return answers[target]

    def reference(self, case: Case, actual: tuple[Answers, Answers]) -> tuple[Answers, Answers]:
        """The original's answers on the samples that the artifact answered."""
        subject = self.subject(case.spec)
        real = subject.original.answers(subject.feeds.evaluation())
        made = subject.original.answers(subject.feeds.generated())
        return first_of(real, actual[0]), first_of(made, actual[1])

    def answer(self, case: Case, path: Path, feed: Feed) -> Answers:
        """The artifact's answers to some other samples, in the place of the case."""
        with self.answering(case, path) as answer:
            return answer(feed)

    @contextmanager
    def answering(self, case: Case, path: Path) -> Iterator[Callable[[Feed], Answers]]:
        """What answers samples as the artifact does, for as long as it is open."""
        with self.sessions.open(case.target, path, self.threads) as session:
            given = self._given(case, session)
            yield lambda feed: session.run_many(given(feed).arrays)

    def intermediates(self, case: Case, path: Path, feed: Feed, *, partly: bool = False) -> Answers:
        """Every value that the evaluator computes of a Core ML artifact, (n, ...) by name, in order.

        `partly`: up to the first operation that cannot be executed.
        """
        with self.sessions.open(Target("host", EVALUATOR), path, self.threads) as session:
            assert isinstance(session, runtimes.RemoteSession)
            return session.intermediates(self._given(case, session)(feed).arrays, partly)

    def takes_photos(self, case: Case, session: OpenedSession) -> bool:
        """Whether the artifact prepares pictures itself: (height, width, channels), without a batch axis."""
        wanted = self.subject(case.spec).original.card.inputs
        return len(session.inputs[0].shape) == len(wanted[0].shape) - 1

    def _given(self, case: Case, session: OpenedSession) -> Callable[[Feed], Feed]:
        """From samples to what the artifact takes."""
        return self.subject(case.spec).feeds.photos if self.takes_photos(case, session) else _as_they_are

    def surroundings(self, case: Case) -> tuple[dict[str, Any], tuple[str, ...]]:
        """What is known of the place of a case beside this machine, and what a reader must know of it."""
        if case.target.on_ios:
            return self._iphone(case.target), ()
        return self.phones.surroundings(case.target) if case.target.on_android else ({}, ())

    def _iphone(self, target: Target) -> dict[str, Any]:
        if target not in self._iphones:
            _, _, udid = target.place.partition(":")
            self._iphones[target] = self.pool.worker("iPhone").call(
                "suite.devices.ios:environment", udid, stage=Stage.LOAD, timeout=IPHONE_SECONDS
            )
        return self._iphones[target]

    def close(self) -> None:
        """End the workers, let go of the phones, and remove the scratch files."""
        self._ahead.wait()
        self.phones.close()
        self.pool.close()
        self._forget()
        self._discard_ahead()


def _count(session: OpenedSession, case: Case, feed: Feed, given: Callable[[Feed], Feed]) -> int:
    """How many real samples the artifact answers; NumPy's pass is cut by the size that the model states."""
    if benchmark.timed(case.target):
        return _affordable(session, feed, given, PASS_SECONDS)
    if not case.spec.gmacs:
        return _affordable(session, feed, given, EVALUATOR_SECONDS)
    return evaluated(case.spec.gmacs, feed.count)


def evaluated(gmacs: float, count: int) -> int:
    """How many of so many real samples NumPy's pass takes of a model that states its size."""
    return count if gmacs <= EVALUATOR_GMACS else min(count, FEWEST_SAMPLES)


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


def _as_they_are(feed: Feed) -> Feed:
    return feed


def first_of(answers: Answers, others: Answers) -> Answers:
    """As many of the first answers as the others are; all, where they are fewer."""
    count = len(next(iter(others.values())))
    return {name: values[:count] for name, values in answers.items()}

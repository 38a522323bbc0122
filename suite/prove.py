"""Proof by mutation that the gate catches what breaks models on phones, and lets good conversions pass.

Faults are planted one at a time (see `suite.faults`) and put to the checks of
a run: conversion, parity, accuracy, contract, and the gate on their records.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from suite import checks, gates, generated, seeded
from suite.converters import artifact as artifacts
from suite.errors import CaseError, CheckFailed, StagedError, UsageError
from suite.faults import Fault, Inapplicable, app
from suite.faults.quantisation import CALIBRATED_ON
from suite.feeds import Feed
from suite.gates import Finding
from suite.glance import Widened
from suite.lab import Answers
from suite.matrix import Case
from suite.record import Check, CheckResult, Record, Stage, Status
from suite.recorder import Recorder
from suite.seeded import SeededLab
from suite.spec import Array, ImageInput, Preprocessing

GOOD_RUNS = 100  # seeded conversions in all
PART = 6  # faults that a lab takes at a time
# NumPy takes its time: of Core ML, samples that every kind of fault shows on.
EVALUATED_REAL, EVALUATED_GENERATED = 24, 12
# Most faults show at once: only what a few samples leave in doubt is put to all.
GLANCED_REAL, GLANCED_GENERATED = 8, 4
_PIXELS = Preprocessing(name="pixels", scale=(1.0,) * 3, bias=(0.0,) * 3, channel_order="RGB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one fault in one artifact."""

    name: str
    family: str
    model: str
    variant: str
    killed_by: str | None  # the check; None: it survived, is equivalent, or could not be planted
    message: str  # what the check said, or the proof, or why not planted
    at_a_glance: bool = False  # caught on the first few samples
    equivalent: bool = False
    planted: bool = True

    @property
    def survived(self) -> bool:
        """Whether a fault that changes answers got past every check."""
        return self.planted and self.killed_by is None and not self.equivalent


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """All faults, and what good conversions met."""

    outcomes: tuple[Outcome, ...]
    good_runs: int
    alarms: tuple[str, ...]  # of good runs, as case and message

    @property
    def kill_rate(self) -> float | None:
        """Of the faults that change any answer; None where there is none."""
        counted = [one for one in self.outcomes if one.planted and not one.equivalent]
        return sum(one.killed_by is not None for one in counted) / len(counted) if counted else None

    @property
    def holds(self) -> bool:
        """Whether every fault was caught and no good conversion was; nothing proven does not hold."""
        return self.kill_rate == 1.0 and self.good_runs > 0 and not self.alarms

    def as_json(self) -> dict[str, Any]:
        """The contents of prove.json."""
        planted = [asdict(one) for one in self.outcomes if one.planted]
        return {
            "faults": planted,
            "kill_rate": self.kill_rate,
            "false_alarms": len(self.alarms),
            "good_runs": self.good_runs,
            "alarms": self.alarms,
            "not_planted": [asdict(one) for one in self.outcomes if not one.planted],
        }


class ProvingLab(SeededLab):
    """A lab whose artifact, or the app around it, can be given a fault."""

    fault: Fault | None = None
    glancing = False  # the first few samples stand for all
    _naming = False

    # Of the last artifact by its hash, and the last preparation: parity and accuracy share one pass.
    _few: tuple[tuple[Any, ...], tuple[Answers, Answers]] | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.scratch = Path(tempfile.mkdtemp(prefix="lab-", dir=self.scratch))  # labs work side by side

    def converted(self, case: Case) -> bool:
        """Every artifact here is of this suite's own converter, or pretends to be."""
        return True

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Within it, answers go by the names that the app gives to them."""
        self._naming = self.fault is not None and self.fault.rename is not None
        try:
            yield
        finally:
            self._naming = False

    def _forget(self) -> None:
        super()._forget()
        self._few = None

    def miscalibrated(self, case: Case, calibrate: Callable[..., Array]) -> Path:
        """The model converted anew, its ranges taken from what `calibrate` makes of the photos."""
        if not case.variant.calibrated:
            raise Inapplicable("the variant has no calibrated ranges")
        original, feeds = (subject := self.subject(case.spec)).original, subject.feeds
        if feeds.image is None or feeds.dataset is None or not feeds.dataset.photos:
            raise Inapplicable("the model is not fed with photos")
        photos = feeds.dataset.calibration(CALIBRATED_ON).images
        arrays = {original.card.inputs[0].name: calibrate(photos, feeds.image)}
        return artifacts.artifact(original, case.variant, feeds.calibrated_on(Feed.of(arrays)), self.cache)[0]

    def answers(self, case: Case, path: Path, sha256: str) -> tuple[Answers, Answers]:
        """As the app gets them, by what it does to photos and to names."""
        prepare = self.fault.prepare if self.fault else None
        counts = self._counts(case)
        if prepare is not None or counts is not None:
            key = sha256, prepare, counts
            if self._few is None or self._few[0] != key:
                answers = (
                    self._run_prepared(case, path, prepare, counts or (None, None))
                    if prepare
                    else self._run_first(case, path, *(counts or (0, 0)))
                )
                self._few = key, answers
            return self._few[1]
        real, made = super().answers(case, path, sha256)
        if self._naming and self.fault is not None and self.fault.rename is not None:
            dataset = self.subject(case.spec).feeds.dataset
            classes = case.spec.labels or (dataset.classes if dataset else ())
            names = self.fault.rename(classes)
            real = {name: by_name(values, names, classes) for name, values in real.items()}
        return real, made

    def _counts(self, case: Case) -> tuple[int, int] | None:
        """How many of the samples, real and generated, an artifact answers; None for all."""
        if self.glancing:
            return GLANCED_REAL, GLANCED_GENERATED
        return (EVALUATED_REAL, EVALUATED_GENERATED) if case.variant.format == "coreml" else None

    def _run_first(self, case: Case, path: Path, real: int, made: int) -> tuple[Answers, Answers]:
        """An artifact's answers on the first samples."""
        feeds = self.subject(case.spec).feeds
        few = feeds.evaluation().first(real), feeds.generated().first(made)
        with self.sessions.open(case.target, path, self.threads) as session:
            given = [feeds.photos(feed) if self.takes_photos(case, session) else feed for feed in few]
            return session.run_many(given[0].arrays), session.run_many(given[1].arrays)

    def _run_prepared(
        self,
        case: Case,
        path: Path,
        prepare: Callable[..., Array],
        counts: tuple[int | None, int | None],
    ) -> tuple[Answers, Answers]:
        """The answers to photos that the app prepared in its own way."""
        feeds = self.subject(case.spec).feeds
        image, dataset = feeds.image, feeds.dataset
        if image is None or dataset is None or not dataset.photos:
            raise Inapplicable("the model is not fed with photos")
        real, made = dataset.evaluation().images, generated.photos(image.height, image.width)
        real, made = real[: counts[0]], made[: counts[1]]
        with self.sessions.open(case.target, path, self.threads) as session:
            if self.takes_photos(case, session):
                image = _as_pixels(image, prepare)
            name = session.inputs[0].name
            answers = session.run_many({name: prepare(real, image)})
            return answers, session.run_many({name: prepare(made, image)})


def _as_pixels(image: ImageInput, prepare: Callable[..., Array]) -> ImageInput:
    """What is left for the app to do where the artifact takes photos as they are."""
    if prepare not in app.ON_PIXELS:
        raise Inapplicable("the artifact takes photos as they are: its own image type scales and shifts")
    return replace(image, preprocessing=_PIXELS)


def by_name(scores: Array, names: tuple[str, ...], classes: tuple[str, ...]) -> Array:
    """Scores (n, k) as the app names them, by class; a class without a name is never the answer."""
    found = np.full((len(scores), len(classes)), -np.inf, np.float32)
    for place, name in enumerate(names[: scores.shape[1]]):
        if name in classes:
            own = classes.index(name)
            found[:, own] = np.maximum(found[:, own], scores[:, place])
    return found


def prove(
    labs: Sequence[ProvingLab],
    cases: Sequence[Case],
    faults: Sequence[Fault],
    *,
    scratch: Path,
    good_runs: int = GOOD_RUNS,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> Proof:
    """Plant every fault in every case's artifact; hold seeded good conversions to the same gate.

    The labs work at the same time, each on some faults of one case, or on one seed of one model.
    """
    if good_runs < 1:
        raise UsageError(f"--good-runs {good_runs}: expected 1 or more")
    files = {case.id: labs[0].artifact(case)[0] for case in cases}

    def part(lab: ProvingLab, case: Case, some: Sequence[Fault]) -> list[Outcome]:
        good = files[case.id]
        others = [
            files[other.id]
            for other in cases
            if other.spec.name != case.spec.name and other.variant == case.variant
        ]
        outcomes = []
        for fault in some:
            outcomes.append(put(lab, case, fault, good, others, scratch))
            say(line(outcomes[-1]))
        return outcomes

    def judge(lab: ProvingLab, number: int, some: Sequence[Case]) -> list[str]:
        return list(seeded.alarms(lab, number, some, lambda case: judged(lab, case)[0]))

    plan = seeded.plan(labs[0], cases, good_runs, seed)
    largest = sorted(
        cases, key=lambda case: case.spec.gmacs or 0.0, reverse=True
    )  # what is left last is quick
    with _shared(labs) as shared:
        planted = shared(part, [(case, some) for case in largest for some in batched(faults, PART)])
        found = shared(judge, plan)
    return Proof(
        outcomes=tuple(outcome for outcomes in planted for outcome in outcomes),
        good_runs=good_runs,
        alarms=tuple(alarm for alarms in found for alarm in alarms),
    )


@contextmanager
def _shared(labs: Sequence[ProvingLab]) -> Iterator[Callable[..., list[Any]]]:
    """What answers `work(lab, *task)` of each task, in order; every lab does one at a time.

    Threads suffice: inference happens in the labs' own processes. These are
    ended with the thread that started them, so the threads stay until all is done.
    """
    free: SimpleQueue[ProvingLab] = SimpleQueue()
    for lab in labs:
        free.put(lab)

    def one(work: Callable[..., Any], task: tuple[Any, ...]) -> Any:
        lab = free.get()
        try:
            return work(lab, *task)
        finally:
            free.put(lab)

    with ThreadPoolExecutor(len(labs)) as threads:
        yield lambda work, tasks: list(threads.map(partial(one, work), tasks))


def batched(faults: Sequence[Fault], size: int) -> Iterator[tuple[Fault, ...]]:
    """The faults in parts of that size at most."""
    for start in range(0, len(faults), size):
        yield tuple(faults[start : start + size])


def put(
    lab: ProvingLab, case: Case, fault: Fault, good: Path, others: Sequence[Path], scratch: Path
) -> Outcome:
    """One fault in one artifact, and which check caught it."""

    def outcome(killed_by: str | None, message: str, **more: bool) -> Outcome:
        return Outcome(
            name=fault.name,
            family=fault.family,
            model=case.spec.name,
            variant=case.variant.name,
            killed_by=killed_by,
            message=message,
            **more,
        )

    path = good
    try:
        if _in_file(fault, case):
            path = scratch / f"{case.spec.name}-{case.variant.name}-{fault.name}{good.suffix}"
            _alter(lab, fault, case, good, others, path)
        lab.fault = fault if path == good else None
        faulty = replace(case, artifact=path)
        findings, at_a_glance = judged(lab, faulty)
        if findings:
            check = next((str(found.check) for found in findings if found.check), str(findings[0].gate))
            return outcome(check, findings[0].message, at_a_glance=at_a_glance)
        if fault.changes_answers and (count := _equal_to_the_bit(lab, case, path, good)):
            return outcome(
                None,
                f"every output is equal to the bit on {count} real and generated inputs",
                equivalent=True,
            )
        return outcome(None, "every check passed: tighten the tolerance of this model and variant")
    except Inapplicable as why:
        return outcome(None, str(why), planted=False)
    except StagedError as refused:  # by the converter itself
        return outcome(str(Check.CONVERSION), str(refused))
    finally:
        lab.fault = None
        if path.is_dir() and path != good:
            shutil.rmtree(path)
        elif path != good:
            path.unlink(missing_ok=True)


def judged(lab: ProvingLab, case: Case) -> tuple[list[Finding], bool]:
    """What the gate says of a case, and whether it said so on the first few samples already.

    On few samples it has to be plain: beyond a widened bound. The
    shares of samples that a class is named on are left to all of them. A fault
    of the app leaves the file good, which is not looked into again.
    """
    in_file = () if lab.fault is not None else (Check.CONVERSION, Check.CONTRACT)
    if lab.fault is None or lab.fault.rename is None:  # names show in shares alone
        lab.glancing = True
        try:
            record = examine(lab, case, (*in_file, Check.PARITY))
        finally:
            lab.glancing = False
        if found := gates.judge_case(record, Widened.of(lab.thresholds)):
            return found, True
    record = examine(lab, case, (*in_file, Check.PARITY, Check.ACCURACY))
    return gates.judge_case(record, lab.thresholds), False


def examine(lab: ProvingLab, case: Case, selected: Sequence[Check]) -> Record:
    """The record of one case, each of its checks as the run's own test does it.

    A check that is known to fail on the good conversion is left out: it tells nothing of a fault.
    """
    results: dict[Check, CheckResult] = {}
    recorder = Recorder(case, Check.CONVERSION)
    for check, measure in _MEASURES.items():
        if check not in selected or case.expected_failure(check) is not None:
            continue
        try:
            measure(lab, case, recorder)
            results[check] = CheckResult(status=Status.PASSED, stage=Stage.COMPARE, message="", seconds=0.0)
        except StagedError as error:
            if error.status is Status.SKIPPED:
                continue
            results[check] = CheckResult(
                status=error.status, stage=error.stage, message=str(error), seconds=0.0
            )
            break  # what cannot be loaded or answered has nothing further to show
    record = recorder.finish(Status.PASSED, Stage.COMPARE, "", 0.0)
    bad = next((one for one in results.values() if one.status is not Status.PASSED), None)
    return replace(
        record,
        checks=results,
        planned=tuple(results),
        status=bad.status if bad else Status.PASSED,
        message=bad.message if bad else "",
    )


def _conversion(lab: ProvingLab, case: Case, recorder: Recorder) -> None:
    path, facts = lab.artifact(case)
    static = checks.static(lab, case, path, inference=not lab.glancing)
    recorder.add(artifact=facts, static=static)
    if static and (found := gates.check_static(static, case.variant.name)):
        raise CheckFailed(found[0].message, stage=Stage.CONVERT)


def _parity(lab: ProvingLab, case: Case, recorder: Recorder) -> None:
    path, facts = lab.artifact(case)
    recorder.add(parity=checks.parity(lab, case, path, facts.sha256))


def _accuracy(lab: ProvingLab, case: Case, recorder: Recorder) -> None:
    path, facts = lab.artifact(case)
    with lab.naming():
        found = checks.accuracy(lab, case, path, facts.sha256)
    if isinstance(found, str):
        raise Inapplicable(found)
    recorder.add(accuracy=found)


def _contract(lab: ProvingLab, case: Case, recorder: Recorder) -> None:
    path, facts = lab.artifact(case)
    found = checks.contract(lab, case, path, facts.sha256)
    if isinstance(found, str):
        raise CaseError(found, stage=Stage.COMPARE, status=Status.SKIPPED)
    recorder.add(contract=found)


_MEASURES: dict[Check, Callable[[ProvingLab, Case, Recorder], None]] = {
    Check.CONVERSION: _conversion,
    Check.PARITY: _parity,
    Check.ACCURACY: _accuracy,
    Check.CONTRACT: _contract,
}


def _in_file(fault: Fault, case: Case) -> bool:
    """Whether it comes with the file; else with the app. Inapplicable where it can do neither."""
    packaged = case.variant.format == "coreml"
    in_file = fault.plant if packaged else fault.alter or fault.refold or fault.calibrate
    in_app = fault.prepare or (None if packaged else fault.rename)
    if not (in_file or in_app or fault.stale):
        raise Inapplicable("a TFLite file alone has that" if packaged else "a Core ML package alone has that")
    return in_file is not None or fault.stale


def _alter(lab: ProvingLab, fault: Fault, case: Case, good: Path, others: Sequence[Path], path: Path) -> None:
    """Write the faulty artifact."""
    if fault.stale and not others:
        raise Inapplicable("no other model was asked for, whose file could be taken")
    source = others[0] if fault.stale else good
    if case.variant.format != "coreml":
        path.write_bytes(_altered(lab, fault, case, source))
        return
    if not source.is_dir():
        raise Inapplicable("faults are planted in ML programs")
    shutil.copytree(source, path)
    if fault.plant is not None:
        fault.plant(path)


def _altered(lab: ProvingLab, fault: Fault, case: Case, source: Path) -> bytes:
    """The faulty .tflite."""
    if fault.calibrate is not None:
        return lab.miscalibrated(case, fault.calibrate).read_bytes()
    data = source.read_bytes()
    if fault.refold is not None:
        return fault.refold(data, lab.subject(case.spec).original.batch_norms())
    return fault.alter(data) if fault.alter is not None else data


def _equal_to_the_bit(lab: ProvingLab, case: Case, path: Path, good: Path) -> int:
    """How many inputs were answered alike, bit by bit; 0 where one was not."""
    found = lab.answers(case, path, str(path))
    lab.fault = None
    expected = lab.answers(case, good, str(good))
    count = 0
    for ours, theirs in zip(found, expected, strict=True):
        for name, values in theirs.items():
            if name not in ours or ours[name].tobytes() != values.tobytes():
                return 0
        count += len(next(iter(theirs.values())))
    return count


def line(outcome: Outcome) -> str:
    """One row of the table."""
    ending = outcome.killed_by or (
        "equivalent" if outcome.equivalent else "SURVIVED" if outcome.planted else "not planted"
    )
    return f"{outcome.model:<16} {outcome.variant:<17} {outcome.name:<26} {ending}"

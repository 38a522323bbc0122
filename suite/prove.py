"""Proof by mutation that the gate catches what breaks models on phones, and lets good conversions pass.

Faults are planted one at a time (see `suite.faults`) and put to the checks of
a run: conversion, parity, accuracy, contract, and the gate on their records.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from suite import checks, equivalence, gates, seeded
from suite.errors import CaseError, CheckFailed, StagedError, UsageError, WorkerStopped
from suite.faults import Fault, Inapplicable
from suite.faulty import FaultyLab
from suite.gates import Finding
from suite.glance import Widened
from suite.matrix import Case
from suite.record import Check, CheckResult, Record, Stage, Status
from suite.recorder import Recorder

GOOD_RUNS = 100  # seeded conversions in all
PART = 6  # faults that a lab takes at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one fault in one artifact."""

    name: str
    family: str
    model: str
    variant: str
    killed_by: str | None  # the check; None: see `ending`
    message: str  # what the check said, or the proof, or why not planted
    at_a_glance: bool = False  # caught on the first few samples
    equivalent: bool = False  # provably without effect on any output, whatever the input
    not_exercised: bool = False  # without effect on the inputs of this run, which proves nothing of others
    planted: bool = True
    broken: bool = False  # something outside the fault and the checks went wrong: nothing is known

    @property
    def counted(self) -> bool:
        """Whether the fault was put to the gate and changes answers, as far as the inputs tell."""
        return self.planted and not (self.equivalent or self.not_exercised or self.broken)

    @property
    def survived(self) -> bool:
        """Whether a fault that changes answers got past every check."""
        return self.counted and self.killed_by is None

    @property
    def ending(self) -> str:
        """In a word or two."""
        if self.killed_by:
            return self.killed_by
        if not self.planted:
            return "not planted"
        if self.broken:
            return "ERROR"
        return "equivalent" if self.equivalent else "not exercised" if self.not_exercised else "SURVIVED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """All faults, and what good conversions met."""

    outcomes: tuple[Outcome, ...]
    good_runs: int
    alarms: tuple[str, ...]  # of good runs, as case and message
    errors: tuple[str, ...] = ()  # of good runs that came to no verdict
    one_in: int = 1  # each fault was planted in one of so many cases: more than 1 is a sample

    @property
    def kill_rate(self) -> float | None:
        """Of the faults that change any answer; None where there is none."""
        counted = [one for one in self.outcomes if one.counted]
        return sum(one.killed_by is not None for one in counted) / len(counted) if counted else None

    @property
    def holds(self) -> bool:
        """Whether every fault was caught and no good conversion was; nothing proven does not hold."""
        broken = self.errors or any(one.broken for one in self.outcomes)
        return self.kill_rate == 1.0 and self.good_runs > 0 and not self.alarms and not broken

    def as_json(self) -> dict[str, Any]:
        """The contents of prove.json."""
        planted = [asdict(one) for one in self.outcomes if one.planted]
        return {
            "faults": planted,
            "kill_rate": self.kill_rate,
            "false_alarms": len(self.alarms),
            "good_runs": self.good_runs,
            "one_in": self.one_in,
            "alarms": self.alarms,
            "equivalent": sum(one.equivalent for one in self.outcomes),
            "not_exercised": sum(one.not_exercised for one in self.outcomes),
            "errors": [*self.errors, *(_named(one) for one in self.outcomes if one.broken)],
            "not_planted": [asdict(one) for one in self.outcomes if not one.planted],
        }


def _named(one: Outcome) -> str:
    return f"{one.name} in {one.model}/{one.variant}: {one.message}"


def prove(
    labs: Sequence[FaultyLab],
    cases: Sequence[Case],
    faults: Sequence[Fault],
    *,
    scratch: Path,
    good_runs: int = GOOD_RUNS,
    one_in: int = 1,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> Proof:
    """Plant every fault in every case's artifact; hold seeded good conversions to the same gate.

    Of many cases, `one_in` plants each fault in one of so many, in turns. The
    labs work at the same time, each on some faults of one case, or on one seed of one model.
    """
    for option, given in (("--good-runs", good_runs), ("--one-in", one_in)):
        if given < 1:
            raise UsageError(f"{option} {given}: expected 1 or more")
    files = {case.id: labs[0].artifact(case)[0] for case in cases}

    def part(lab: FaultyLab, case: Case, some: Sequence[Fault]) -> list[Outcome]:
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

    def judge(lab: FaultyLab, number: int, some: Sequence[Case]) -> list[seeded.Alarm]:
        return list(seeded.alarms(lab, number, some, lambda case: judged(lab, case)[0]))

    plan = seeded.plan(cases, good_runs, seed)
    turns = [(case, in_turn(faults, one_in, turn)) for turn, case in enumerate(cases)]
    turns.sort(key=lambda turn: turn[0].spec.gmacs or 0.0, reverse=True)  # what is left last is quick
    with _shared(labs) as shared:
        planted = shared(part, [(case, some) for case, own in turns for some in batched(own, PART)])
        found = [alarm for alarms in shared(judge, plan) for alarm in alarms]
    return Proof(
        outcomes=tuple(outcome for outcomes in planted for outcome in outcomes),
        good_runs=good_runs,
        alarms=tuple(alarm.text for alarm in found if not alarm.broken),
        errors=tuple(alarm.text for alarm in found if alarm.broken),
        one_in=one_in,
    )


@contextmanager
def _shared(labs: Sequence[FaultyLab]) -> Iterator[Callable[..., list[Any]]]:
    """What answers `work(lab, *task)` of each task, in order; every lab does one at a time.

    Threads suffice: inference happens in the labs' own processes. These are
    ended with the thread that started them, so the threads stay until all is done.
    """
    free: SimpleQueue[FaultyLab] = SimpleQueue()
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


def in_turn(faults: Sequence[Fault], one_in: int, turn: int) -> Sequence[Fault]:
    """Each fault once in so many turns, the next fault a turn later."""
    return [fault for place, fault in enumerate(faults) if (place + turn) % one_in == 0]


def batched(faults: Sequence[Fault], size: int) -> Iterator[tuple[Fault, ...]]:
    """The faults in parts of that size at most."""
    for start in range(0, len(faults), size):
        yield tuple(faults[start : start + size])


def put(
    lab: FaultyLab, case: Case, fault: Fault, good: Path, others: Sequence[Path], scratch: Path
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

    path, planting = good, True
    try:
        if _in_file(fault, case):
            path = scratch / f"{case.spec.name}-{case.variant.name}-{fault.name}{good.suffix}"
            _alter(lab, fault, case, good, others, path)
        elif fault.rename is not None and (reason := _unnamed(lab, case)):
            raise Inapplicable(reason)
        planting = False
        lab.fault = fault if path == good else None
        faulty = replace(case, artifact=path)
        findings, at_a_glance = judged(lab, faulty)
        if findings:
            check = next((str(found.check) for found in findings if found.check), str(findings[0].gate))
            return outcome(check, findings[0].message, at_a_glance=at_a_glance)
        if proof := equivalence.proof(fault, lab.subject(case.spec).feeds.image, path, good):
            return outcome(None, proof, equivalent=True)
        if fault.changes_answers and (count := _equal_to_the_bit(lab, case, path, good)):
            words = f"every output is equal to the bit on the {count} real and generated inputs of this run"
            return outcome(None, f"{words}: give samples that the fault shows on", not_exercised=True)
        return outcome(None, "every check passed: tighten the tolerance of this model and variant")
    except Inapplicable as why:
        return outcome(None, str(why), planted=False)
    except StagedError as error:
        if planting and error.status in (Status.FAILED, Status.UNSUPPORTED):  # the converter refuses
            return outcome(str(Check.CONVERSION), str(error))
        return outcome(None, str(error), broken=True)
    finally:
        lab.fault = None
        if path.is_dir() and path != good:
            shutil.rmtree(path)
        elif path != good:
            path.unlink(missing_ok=True)


def judged(lab: FaultyLab, case: Case) -> tuple[list[Finding], bool]:
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


def examine(lab: FaultyLab, case: Case, selected: Sequence[Check]) -> Record:
    """The record of one case, each of its checks as the run's own test does it.

    A check that is known to fail on the good conversion is left out, and one
    that has nothing to measure: they tell nothing of a fault. Raises
    StagedError where the machine, not the artifact, kept a check from its end.
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
            if error.status is Status.ERROR or isinstance(error, WorkerStopped):
                raise
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


def _conversion(lab: FaultyLab, case: Case, recorder: Recorder) -> None:
    path, facts = lab.artifact(case)
    static = checks.static(lab, case, path, inference=not lab.glancing)
    recorder.add(artifact=facts, static=static)
    if static and (found := gates.check_static(static, case.variant.name)):
        raise CheckFailed(found[0].message, stage=Stage.CONVERT)


def _parity(lab: FaultyLab, case: Case, recorder: Recorder) -> None:
    path, facts = lab.artifact(case)
    recorder.add(parity=checks.parity(lab, case, path, facts.sha256))


def _accuracy(lab: FaultyLab, case: Case, recorder: Recorder) -> None:
    path, facts = lab.artifact(case)
    with lab.naming():
        found = checks.accuracy(lab, case, path, facts.sha256)
    if isinstance(found, str):
        raise CaseError(found, stage=Stage.COMPARE, status=Status.SKIPPED)
    recorder.add(accuracy=found)


def _contract(lab: FaultyLab, case: Case, recorder: Recorder) -> None:
    path, facts = lab.artifact(case)
    found = checks.contract(lab, case, path, facts.sha256)
    if isinstance(found, str):
        raise CaseError(found, stage=Stage.COMPARE, status=Status.SKIPPED)
    recorder.add(contract=found)


_MEASURES: dict[Check, Callable[[FaultyLab, Case, Recorder], None]] = {
    Check.CONVERSION: _conversion,
    Check.PARITY: _parity,
    Check.ACCURACY: _accuracy,
    Check.CONTRACT: _contract,
}


def _in_file(fault: Fault, case: Case) -> bool:
    """Whether it comes with the file; else with the app. Inapplicable where it can do neither."""
    packaged = case.variant.format == "coreml"
    in_file = (fault.plant or fault.replant) if packaged else fault.alter or fault.refold or fault.calibrate
    in_app = fault.prepare or (None if packaged else fault.rename)
    if not (in_file or in_app or fault.stale):
        raise Inapplicable("a TFLite file alone has that" if packaged else "a Core ML package alone has that")
    return in_file is not None or fault.stale


def _unnamed(lab: FaultyLab, case: Case) -> str:
    """Why no check could tell that an app names answers wrongly; empty where one can."""
    subject = lab.subject(case.spec)
    outputs = subject.original.card.outputs
    if len(outputs) != 1 or len(outputs[0].shape) != 2:
        return "the model does not answer one vector of scores, which an app would name"
    if subject.feeds.evaluation().labels is None:
        return "the samples have no labels, by which a wrong name could be told"
    return ""


def _alter(lab: FaultyLab, fault: Fault, case: Case, good: Path, others: Sequence[Path], path: Path) -> None:
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
    if fault.replant is not None:
        fault.replant(path, lab.subject(case.spec).original.batch_norms())
    elif fault.plant is not None:
        fault.plant(path)


def _altered(lab: FaultyLab, fault: Fault, case: Case, source: Path) -> bytes:
    """The faulty .tflite."""
    if fault.calibrate is not None:
        return lab.miscalibrated(case, fault.calibrate).read_bytes()
    data = source.read_bytes()
    if fault.refold is not None:
        return fault.refold(data, lab.subject(case.spec).original.batch_norms())
    return fault.alter(data) if fault.alter is not None else data


def _equal_to_the_bit(lab: FaultyLab, case: Case, path: Path, good: Path) -> int:
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
    return f"{outcome.model:<16} {outcome.variant:<17} {outcome.name:<26} {outcome.ending}"

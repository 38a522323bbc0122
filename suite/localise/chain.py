"""A chain of comparisons on the same samples; each changes one thing alone, and so isolates one cause."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from suite import metrics, parity
from suite.converters import inspection
from suite.devices import fleet
from suite.errors import StagedError
from suite.feeds import Feed
from suite.lab import EVALUATOR, Answers, Lab
from suite.matrix import Case
from suite.record.localisation import ChainStep
from suite.spec import Target

ORIGINAL = "original"
REFERENCE, BUILTIN, XNNPACK = "litert-reference", "litert-builtin", "litert-xnnpack"
OLDER = "tflite-runtime"
FLOAT32 = ("float32", "mlprogram_float32", "neuralnetwork")
FLOAT32_DB = 90.0  # a step as near as this rounds in its own way, and no more
_TINY = 1e-30
MARGIN_DB = 6.0  # beyond that: the power of the error is four times what rounding explains
_TAKES_FROM = {REFERENCE: ORIGINAL, BUILTIN: REFERENCE, XNNPACK: BUILTIN}
_CAUSES = {REFERENCE: "conversion", BUILTIN: "kernels", XNNPACK: "delegate", EVALUATOR: "conversion"}
SAYS: Mapping[str, str] = {
    "conversion": "the file itself differs from the original, whatever runs it",
    "kernels": "the optimised kernels answer otherwise than the reference kernels, on the same file",
    "runtime": "this runtime answers otherwise than LiteRT, on the same file",
    "delegate": "the delegate answers otherwise than the kernels it stands in for, on the same file",
    "device": "the device answers otherwise than this machine, on the same file",
}


@dataclass(frozen=True, slots=True)
class Link:
    """One comparison that is to be made."""

    cause: str
    before: Target | None  # None: the original
    after: Target
    on_path: bool


def links(case: Case) -> list[Link]:
    """The comparisons from the original to the place of the case; an older runtime aside, to tell by."""
    path = _path(case)
    found = [
        Link(_cause(after), before, after, on_path=True)
        for before, after in zip([None, *path], path, strict=False)
    ]
    older = Target("host", OLDER)
    if case.variant.format == "tflite" and older not in path:
        known = next((place for place in path if place.engine == BUILTIN), path[-1])
        found.append(Link("runtime", known, older, on_path=False))
    return found


def _path(case: Case) -> list[Target]:
    """Where the artifact runs on the way to the case's own place."""
    target = case.target
    if case.variant.format == "coreml":
        evaluator = Target("host", EVALUATOR)
        return [evaluator] if target == evaluator else [evaluator, target]
    here = target.engine if target.place == "host" else fleet.ENGINES.get(target.engine, XNNPACK)
    engines = [here]
    while (before := _TAKES_FROM.get(engines[0], BUILTIN)) != ORIGINAL:
        engines.insert(0, before)
    path = [Target("host", engine) for engine in engines]
    return path if target.place == "host" else [*path, target]


def _cause(after: Target) -> str:
    if after.place != "host" or after.engine not in (*_CAUSES, OLDER, "tf-lite"):
        return "device"
    return _CAUSES.get(after.engine, "runtime")


def steps(lab: Lab, case: Case, path: Path, feed: Feed, fair: int) -> list[ChainStep]:
    """Make the comparisons on some samples; of the first `fair` nothing goes beyond the calibrated ranges."""
    original = lab.subject(case.spec).original.answers(feed)
    answers: dict[Target | None, Answers | str] = {None: original}
    explained = _explained(lab, case, path, feed, fair)

    def answered(place: Target | None) -> Answers | str:
        if place not in answers:
            assert place is not None
            try:
                answers[place] = lab.answer(replace(case, target=place), path, feed)
            except StagedError as error:
                answers[place] = str(error).splitlines()[0]
        return answers[place]

    return [
        replace(
            _compare(link, answered(link.before), answered(link.after), quantised=case.variant.quantised),
            expected_db=explained(link.cause),
        )
        for link in links(case)
    ]


def _explained(lab: Lab, case: Case, path: Path, feed: Feed, fair: int) -> Callable[[str], float]:
    """What rounding alone leaves of each step on these samples, in dB, by cause.

    A conversion rounds to the precision once, and cuts what no calibrated range
    holds: it leaves the noise floor. Two kernels cut alike, and round where the
    artifact does, each in its own way: no more than rounding itself, or one
    step of the answer. Float kernels of this machine compute in float32,
    whatever weights are stored in; a device may compute in the file's precision.

    Without a floor a conversion is held to the published bound of its variant.
    """
    if case.variant.name in FLOAT32:
        return lambda cause: FLOAT32_DB
    floor_db = kernels_db = lab.limits(case)[0].min_sqnr_db or 0.0
    original = lab.subject(case.spec).original.answers(feed)
    try:
        rounded = lab.floors(case.spec).rounded(case.variant, feed)
        if not isinstance(rounded, str):
            floor_db = _errors(original, rounded, quantised=case.variant.quantised)[0]
            kernels_db = rounding_db(original, rounded, fair, _steps_of_answers(path))
    except StagedError:  # what cannot be converted or compared says so in its own step
        pass

    def explained(cause: str) -> float:
        if cause == "conversion":
            return floor_db
        if case.variant.quantised:
            return kernels_db
        return floor_db if cause == "device" else FLOAT32_DB

    return explained


def rounding_db(original: Answers, rounded: Answers, fair: int, steps: Sequence[float | None]) -> float:
    """What is left of the answers by as much noise as rounding adds to the first `fair`, or by one step."""
    found = []
    for place, (expected, ours) in enumerate(parity.align(original, rounded).values()):
        signal = float(np.var(expected, dtype=np.float64))  # as `error_stats` has it
        noise = float(np.square(np.asarray(expected[:fair], np.float64) - ours[:fair]).mean())
        step = steps[place] if place < len(steps) else None
        found.append(10 * math.log10(max(signal, _TINY) / max(noise, (step or 0.0) ** 2, _TINY)))
    return min(found)


def _steps_of_answers(path: Path) -> tuple[float | None, ...]:
    try:
        return inspection.output_steps(path) if path.suffix == ".tflite" else ()
    except Exception:  # the generated reader raises whatever a damaged file leads it to
        return ()


def _compare(link: Link, before: Answers | str, after: Answers | str, *, quantised: bool) -> ChainStep:
    made = ChainStep(
        cause=link.cause,
        before=str(link.before or ORIGINAL),
        after=str(link.after),
        sqnr_db=None,
        max_abs_diff=None,
        on_path=link.on_path,
    )
    if isinstance(after, str) or isinstance(before, str):
        return replace(made, message=after if isinstance(after, str) else f"{made.before} does not answer")
    try:
        sqnr_db, max_abs_diff = _errors(before, after, quantised=quantised)
    except StagedError as error:
        return replace(made, message=str(error))
    return replace(made, sqnr_db=sqnr_db, max_abs_diff=max_abs_diff)


def _errors(before: Answers, after: Answers, *, quantised: bool) -> tuple[float, float]:
    """SQNR and the largest difference, of several outputs the worst; CaseError where there is none."""
    stats = []
    for name, (expected, found) in parity.align(before, after).items():
        metrics.check_comparable(name, expected, found)
        both = [expected, found]
        if not quantised and all(metrics.is_probabilities(values) for values in both):
            both = [metrics.log_scores(values) for values in both]
        stats.append(metrics.error_stats(both[0], both[1], scores=False))
    return min(one.sqnr_db for one in stats), max(one.max_abs_diff for one in stats)


def most(steps: Sequence[ChainStep]) -> ChainStep:
    """The step on the case's path that adds most beyond rounding; the first that cannot be made at all."""
    return max((step for step in steps if step.on_path), key=lambda step: step.deficit_db)

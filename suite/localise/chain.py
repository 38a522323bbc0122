"""A chain of comparisons on the same samples; each changes one thing alone, and so isolates one cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from suite import metrics, parity
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


def steps(lab: Lab, case: Case, path: Path, feed: Feed) -> list[ChainStep]:
    """Make the comparisons on some samples."""
    answers: dict[Target | None, Answers | str] = {None: lab.subject(case.spec).original.answers(feed)}

    def answered(place: Target | None) -> Answers | str:
        if place not in answers:
            assert place is not None
            try:
                answers[place] = lab.answer(replace(case, target=place), path, feed)
            except StagedError as error:
                answers[place] = str(error).splitlines()[0]
        return answers[place]

    return [
        _compare(link, answered(link.before), answered(link.after), quantised=case.variant.quantised)
        for link in links(case)
    ]


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
        pairs = parity.align(before, after)
        for name, (expected, found) in pairs.items():
            metrics.check_comparable(name, expected, found)
    except StagedError as error:
        return replace(made, message=str(error))
    stats = []
    for expected, found in pairs.values():
        both = [expected, found]
        if not quantised and all(metrics.is_probabilities(values) for values in both):
            both = [metrics.log_scores(values) for values in both]
        stats.append(metrics.error_stats(both[0], both[1], scores=False))
    return replace(
        made,
        sqnr_db=min(one.sqnr_db for one in stats),
        max_abs_diff=max(one.max_abs_diff for one in stats),
    )


def most(steps: Sequence[ChainStep]) -> ChainStep:
    """The step on the case's path that adds the most error; the first that cannot be made at all."""
    path = [step for step in steps if step.on_path]
    return min(path, key=lambda step: -np.inf if step.sqnr_db is None else step.sqnr_db)

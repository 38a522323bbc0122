"""Where a difference comes in: which step on the way from the original to the phone, and which layer.

found = localise(lab, case, path, sha256)
found.cause, found.suspect, found.message
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from suite import parity
from suite.errors import BoundMissed, StagedError
from suite.feeds import Feed
from suite.lab import Answers, Lab
from suite.localise import chain
from suite.localise.layers import MARGIN_DB, Apart, suspect
from suite.matrix import Case
from suite.record import Artifact, Status
from suite.record.localisation import ChainStep, LayerError, Localisation
from suite.recorder import Recorder
from suite.runtimes.base import load_feed
from suite.spec import Array, Target

__all__ = ["Apart", "localise", "located", "probes"]

FAIR = 6  # calibration samples: nothing in them goes beyond the calibrated ranges
HARD_REAL, HARD_MADE = 4, 6  # evaluation and generated samples, those that differ most
_CLEAN_DB = 20.0  # by so much the kernels' own error must be smaller than the conversion's


def localise(lab: Lab, case: Case, path: Path, sha256: str) -> Localisation:
    """Place the difference between an artifact, where the case runs it, and its original.

    Raises StagedError only where the original itself cannot be had.
    """
    fair, hard = probes(lab, case, path, sha256)
    steps = chain.steps(lab, case, path, _joined(fair, hard), fair.count)
    worst = chain.most(steps)
    cause = worst.cause if worst.deficit_db > chain.MARGIN_DB else ""
    found = Localisation(cause=cause, steps=tuple(steps), margin_db=MARGIN_DB)
    where = _place(case, worst, steps)
    try:
        with tempfile.TemporaryDirectory(prefix="pocketproof-localise-", dir=lab.scratch) as folder:
            apart = Apart(lab, replace(case, target=where), path, Path(folder))
            errors = apart.errors(fair, hard)
    except StagedError as error:
        return replace(
            found, message=f"{_sentence(worst, blamed=bool(cause))} Layers: {str(error).splitlines()[0]}"
        )
    bad = suspect(errors)
    blamed = bool(cause or bad or apart.stops_at)  # a fault that rounding hides in the answers
    return replace(
        found,
        cause=worst.cause if blamed else "",
        engine=str(where),
        layers=tuple(errors),
        suspect=bad.layer if bad else apart.stops_at,
        message=f"{_sentence(worst, blamed=blamed)} {_of_layer(bad, errors, apart)}",
    )


@contextmanager
def located(
    lab: Lab, case: Case, artifact: tuple[Path, Artifact], recorder: Recorder, *, always: bool = False
) -> Iterator[None]:
    """Say of a check that fails within where the difference comes in; where `always`, of one that holds too.

    A failure that is expected is not looked into unless it is asked for. What
    goes wrong in looking never hides the failure itself.
    """
    path, facts = artifact
    try:
        yield
    except StagedError as error:
        known = isinstance(error, BoundMissed) and case.expected_failure(recorder.check) is not None
        if error.status is not Status.FAILED or (known and not always):
            raise
        said = _look(lab, case, path, facts.sha256, recorder)
        raise type(error)(f"{error}\n{said}", stage=error.stage, status=error.status) from None
    if always:
        _look(lab, case, path, facts.sha256, recorder)


def _look(lab: Lab, case: Case, path: Path, sha256: str, recorder: Recorder) -> str:
    try:
        found = localise(lab, case, path, sha256)
    except Exception as error:
        why = f"not placed: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        recorder.without(localisation=why)
        return why
    recorder.add(localisation=found)
    return found.message


def probes(lab: Lab, case: Case, path: Path, sha256: str) -> tuple[Feed, Feed]:
    """Samples that keep within what was calibrated on, and the ones that the answers differ most on."""
    feeds = lab.subject(case.spec).feeds
    real, made = feeds.evaluation(), feeds.generated()
    try:
        actual = lab.answers(case, path, sha256)
        reference = lab.reference(case, actual)
        worst = [_worst(ours, theirs) for ours, theirs in zip(reference, actual, strict=True)]
    except StagedError:  # it does not answer at all, or not as the original does
        worst = [np.arange(real.count), np.arange(made.count)]
    hard = _joined(_rows(real, worst[0][:HARD_REAL]), _rows(made, worst[1][:HARD_MADE]))
    return feeds.calibration().first(FAIR), hard


def _worst(reference: Answers, actual: Answers) -> Array:
    """Samples by how far they differ, the worst first."""
    total: Array | None = None
    for expected, found in parity.align(reference, actual).values():
        if expected.shape != found.shape:
            continue
        apart = np.abs(np.asarray(expected, np.float64) - found).reshape(len(expected), -1).max(axis=1)
        apart = np.nan_to_num(apart, nan=np.inf) / (float(np.std(expected)) or 1.0)
        total = apart if total is None else np.maximum(total, apart)
    if total is None:
        return np.arange(len(next(iter(actual.values()))))
    return np.argsort(-total, kind="stable")


def _rows(feed: Feed, rows: Array) -> Feed:
    return Feed.of({name: np.asarray(array)[rows] for name, array in load_feed(feed.arrays).items()})


def _joined(one: Feed, other: Feed) -> Feed:
    first, second = load_feed(one.arrays), load_feed(other.arrays)
    return Feed.of({name: np.concatenate([first[name], second[name]]) for name in first})


def _place(case: Case, worst: ChainStep, steps: Sequence[ChainStep]) -> Target:
    """Where the tensors are looked at: at the step that adds the error, with the quickest kernels that do."""
    if case.variant.format == "coreml" or worst.cause != "conversion":
        return _target(worst.after)
    kernels = next((step for step in steps if step.cause == "kernels"), None)
    clean = (
        kernels is not None
        and kernels.sqnr_db is not None
        and worst.sqnr_db is not None
        and kernels.sqnr_db > worst.sqnr_db + _CLEAN_DB
    )
    return Target("host", chain.BUILTIN if clean else chain.REFERENCE)


def _target(name: str) -> Target:
    place, _, engine = name.rpartition("/")
    return Target(place, engine)


def _sentence(step: ChainStep, *, blamed: bool) -> str:
    obtained = ""
    if step.sqnr_db is not None:
        obtained = f"{step.sqnr_db:.1f} dB of {step.after} against {step.before}"
        obtained = f" ({obtained}, where rounding alone leaves {step.expected_db or 0.0:.1f} dB)"
    if not blamed:
        return f"No step adds more than rounding explains (nearest: {step.cause}{obtained})."
    refused = f" ({step.message})" if step.message else ""
    return f"Comes in at: {step.cause}{obtained}{refused}: {chain.SAYS[step.cause]}."


def _of_layer(bad: LayerError | None, errors: Sequence[LayerError], apart: Apart) -> str:
    if not errors:
        return "No tensor of the artifact could be told to be a layer's."
    if bad is None:
        if apart.view.stopped:
            return (
                f"It cannot be run beyond {apart.stops_at or 'an operator'}: {apart.view.stopped} "
                "Every layer before is as good as its precision allows."
            )
        least = max(errors, key=lambda one: one.deficit_db)
        return (
            f"No layer is worse than its precision explains (the nearest is {least.layer}: "
            f"{least.own_db:.1f} dB, floor {least.floor_db:.1f} dB): rounding adds up."
        )
    fused = f", computed along with {', '.join(bad.fused)}," if bad.fused else ""
    said = bad.message or f"{bad.own_db:.1f} dB where rounding alone leaves {bad.floor_db:.1f} dB"
    return f"First layer at fault: {bad.layer}{fused} ({bad.operator}): {said}."

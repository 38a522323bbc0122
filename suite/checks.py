"""What a case's artifact says of itself and answers, held to its original; `suite.gates` judges it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from suite import generated, runtimes
from suite.accuracy import measure as measure_accuracy
from suite.cache import digest, sha256_file
from suite.contract import PHOTOS, Photos, file
from suite.contract import measure as measure_contract
from suite.converters import artifact as artifacts
from suite.converters import contract as terms
from suite.converters import inspection
from suite.converters.interface import interface
from suite.data import classes
from suite.devices import fleet
from suite.errors import CaseError, StagedError
from suite.feeds import Feeds
from suite.lab import EVALUATOR, Answers, Lab, first_of
from suite.matrix import Case
from suite.parity import align
from suite.parity import measure as measure_parity
from suite.record import Stage, StaticCheck, Status
from suite.record.answers import Accuracy, Contract, Parity
from suite.spec import VARIANTS, Array, Target
from suite.thresholds import may_be_rounding

STATIC_SECONDS = 300.0
_STATIC = "static.json"
_STATIC_PACKAGES = ("tensorflow", "keras", "coremltools", "flatbuffers", "ai-edge-litert", "numpy", "scipy")
FEW_ROWS = (1, 2, 9)  # of the generated samples: white, grey and noise, or the bounds and noise


def static(lab: Lab, case: Case, path: Path, *, inference: bool = True) -> dict[str, StaticCheck]:
    """What a file says of itself: of Core ML held to the model, of TFLite to the float32 conversion.

    Without `inference` what activations reach is not among the answers. What
    passed of a file of the cache is kept there: the same file, samples and code
    would pass again.
    """
    key = _static_key(lab, case, path) if inference else None
    if key is None:
        return _static(lab, case, path, inference)
    if (kept := lab.cache.lookup("static", key)) is not None:
        return msgspec.json.decode((kept / _STATIC).read_bytes(), type=dict[str, StaticCheck])
    found = _static(lab, case, path, inference)
    if all(one.status is Status.PASSED for one in found.values()):
        lab.cache.get_or_build(
            "static", key, lambda folder: _write(folder / _STATIC, msgspec.json.encode(found))
        )
    return found


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _static_key(lab: Lab, case: Case, path: Path) -> dict[str, Any] | None:
    """All that decides what the static checks find; None for a file that is not of the cache."""
    sha256 = lab.cache.sha256(path)
    if sha256 is None:
        return None
    subject = lab.subject(case.spec)
    feeds = (subject.feeds.evaluation(), subject.feeds.generated(), subject.feeds.calibration())
    return {
        "file": sha256,
        "model": subject.original.card.content,
        "interface": artifacts.identity(
            interface(subject.original.spec, subject.original.card, lab.deployment_target)
        ),
        "variant": case.variant.name,
        "feeds": [feed.sha256 for feed in feeds],
        "code": _code(),
        "versions": runtimes.versions(*_STATIC_PACKAGES),
    }


@cache
def _code() -> str:
    """Hash of this suite: whatever changes in it may change what a check finds."""
    root = Path(__file__).parent
    return digest({str(file.relative_to(root)): sha256_file(file) for file in sorted(root.rglob("*.py"))})


def _static(lab: Lab, case: Case, path: Path, inference: bool) -> dict[str, StaticCheck]:
    if case.variant.format != "coreml":
        return lab.floors(case.spec).check(path, case.variant, converted=lab.converted(case))
    few = _few(lab.subject(case.spec).feeds) if inference else None
    converted, reference = lab.converted(case), _float32_program(lab, case)
    more = (converted, few, reference if isinstance(reference, Path) else None)
    found: dict[str, StaticCheck] = _ask_core_ml(lab, case, path, "check", *more)
    if isinstance(reference, str):
        found["graph"] = StaticCheck(status=Status.SKIPPED, message=reference)
    return found


def _float32_program(lab: Lab, case: Case) -> Path | str | None:
    """The float32 ML program that the numbers of a Core ML artifact are held to; a reason where none is.

    None for the older networks, which are lists of layers.
    """
    if case.variant.name == "neuralnetwork":
        return None
    subject = lab.subject(case.spec)
    try:
        path, _ = artifacts.artifact(
            subject.original,
            VARIANTS["mlprogram_float32"],
            subject.feeds,
            lab.cache,
            deployment_target=lab.deployment_target,
        )
    except StagedError as error:
        if lab.converted(case):
            raise
        return f"not applicable: there is no float32 conversion to hold it to: {error}"
    return path


def parity(lab: Lab, case: Case, path: Path, sha256: str) -> Parity:
    """Hold the artifact's answers to the original's."""
    actual = lab.answers(case, path, sha256)
    reference = lab.reference(case, actual)
    measured = measure_parity(
        reference,
        actual,
        lab.subject(case.spec).feeds.generated().names,
        lab.limits(case)[0],
        quantised=case.variant.quantised,
    )
    floors = lab.floors(case.spec).beside(case.variant, reference, actual)
    if isinstance(floors, str):
        measured = replace(measured, no_floor=floors)
        if may_be_rounding(lab.limits(case)[0], measured.real.max_scaled_diff):
            return replace(measured, float32_diff=lab.floors(case.spec).float32_diff())
        return measured
    return replace(measured, floor=floors[0], generated_floor=floors[1])


def host_parity(lab: Lab, case: Case, path: Path, sha256: str) -> Parity:
    """Hold a phone's or Core ML's answers to this machine's, by the same artifact on the same tensors."""
    there = lab.answers(case, path, sha256)
    host = Target("host", fleet.ENGINES.get(case.target.engine, EVALUATOR))
    here = lab.answers(replace(case, target=host), path, sha256)
    return measure_parity(
        (first_of(here[0], there[0]), first_of(here[1], there[1])),
        (first_of(there[0], here[0]), first_of(there[1], here[1])),
        lab.subject(case.spec).feeds.generated().names,
        lab.limits(case)[0],
        quantised=case.variant.quantised,
        steps=inspection.output_steps(path) if path.suffix == ".tflite" else (),
    )


def accuracy(lab: Lab, case: Case, path: Path, sha256: str) -> Accuracy | str:
    """Accuracy on the labelled samples; a reason where it means nothing."""
    feeds = lab.subject(case.spec).feeds
    feed, dataset = feeds.evaluation(), feeds.dataset
    if feed.labels is None or dataset is None:
        return "the samples have no labels of this model: give --dataset with labels"
    actual = lab.answers(case, path, sha256)
    pairs = list(align(lab.reference(case, actual)[0], actual[0]).values())
    if len(pairs) != 1 or pairs[0][0].ndim != 2 or pairs[0][0].shape[1] < 2:
        return "the model does not answer one vector of scores"
    scores, answered = pairs[0]
    classes.check(dataset, scores.shape[1], Stage.COMPARE)
    if scores.shape != answered.shape:
        raise CaseError(
            f"the artifact answers {answered.shape[1:]} scores, the original {scores.shape[1:]}",
            stage=Stage.COMPARE,
        )
    return measure_accuracy(
        scores,
        answered,
        feed.labels[: len(answered)],
        dataset=dataset.name,
        dataset_sha256=dataset.sha256(),
        max_drop=lab.limits(case)[1].max_accuracy_drop,
    )


def contract(lab: Lab, case: Case, path: Path, sha256: str) -> Contract | str:
    """From photo to label as the artifact tells an app; a reason where no fixture states how that is."""
    original = lab.subject(case.spec).original
    stated = terms.stated(original.spec, original.card)
    if stated is None:
        return (
            "no fixture states how photos are prepared or what the answers are called, so the artifact "
            "tells an app nothing: write a fixture with an ImageInput and labels"
        )
    try:
        told = _told(lab, case, path)
    except CaseError as error:
        return Contract(photos=0, max_pixel_diff=None, labels=0, same_label=None, wrong=(str(error),))
    photos = _contract_photos(lab, case, path, sha256)
    return measure_contract(stated, told, photos, converted=lab.converted(case))


def _told(lab: Lab, case: Case, path: Path) -> terms.Told:
    if case.variant.format != "coreml":
        return terms.told(path.read_bytes())
    found: terms.Told = _ask_core_ml(lab, case, path, "told")
    return found


def _contract_photos(lab: Lab, case: Case, path: Path, sha256: str) -> Photos:
    """Held-out photos, or generated ones, and what the artifact answers to them."""
    feeds = lab.subject(case.spec).feeds
    if feeds.image is None:
        return Photos(files=(), scores=None, answer=lambda _: None)
    real, made = lab.answers(case, path, sha256)
    if feeds.dataset is not None and feeds.dataset.photos:
        photos, answers = feeds.dataset.evaluation().images[:PHOTOS], real
    else:
        photos, answers = generated.photos(feeds.image.height, feeds.image.width), made
    scores = _scores(answers)
    count = min(PHOTOS, len(photos), len(next(iter(answers.values()))))

    def answer(tensors: Array) -> Array | None:
        if case.variant.format == "coreml":  # it prepares the photo itself, and has answered it
            return None if scores is None else scores[:count]
        with lab.sessions.open(case.target, path, lab.threads, sha256=sha256) as session:
            return _scores(session.run_many({session.inputs[0].name: tensors}))

    return Photos(
        files=[file(np.asarray(photo)) for photo in photos[:count]],
        scores=None if scores is None else scores[:count],
        answer=answer,
    )


def _ask_core_ml(lab: Lab, case: Case, path: Path, function: str, *more: Any) -> Any:
    """What `suite.coreml.checks` finds in the artifact, beside what the model states."""
    original = lab.subject(case.spec).original
    wanted = interface(original.spec, original.card, lab.deployment_target)
    return lab.pool.worker(runtimes.CORE_ML).call(
        f"suite.coreml.checks:{function}",
        path,
        case.variant.name,
        wanted,
        *more,
        stage=Stage.CONVERT,
        timeout=STATIC_SECONDS,
    )


def _few(feeds: Feeds) -> dict[str, Array]:
    """A real sample and a few generated ones, (n, ...) by input name: for what needs some inference."""
    samples = [feeds.one(), *(feeds.generated().sample(row) for row in FEW_ROWS)]
    return {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}


def _scores(answers: Answers) -> Array | None:
    """The one vector of scores (n, k) that a model answers; None where it answers something else."""
    (first, *others) = answers.values()
    return first if not others and first.ndim == 2 else None

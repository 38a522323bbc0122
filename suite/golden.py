"""Golden bundles: an artifact with inputs and reference answers, to be replayed on a Mac elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from suite.cache import default_cache, full_disk_explained, sha256_tree
from suite.converters.interface import PROBABILITIES, interface
from suite.coreml.inspection import inspect
from suite.devices import replay
from suite.discovery import BUNDLED, BrokenFixture, discover, from_model_file
from suite.errors import UsageError, unknown
from suite.feeds import Feed
from suite.lab import Lab, first_of
from suite.matrix import Case
from suite.record.answers import Floor
from suite.replayed import BUNDLE, BUNDLE_VERSION
from suite.runtimes.base import load_feed
from suite.spec import COREML, DEPLOYMENT_TARGETS, VARIANTS, Array, ModelSpec, Target
from suite.thresholds import Thresholds, beside

SAMPLES = 16  # real ones; the generated ones come on top


def make(lab: Lab, case: Case, folder: Path, samples: int = SAMPLES) -> Path:
    """Write the bundle of a Core ML case into `folder`, which must be empty or not there yet."""
    if case.variant.name not in COREML:
        raise UsageError(f"{case.variant.name} is no Core ML variant: known are {', '.join(COREML)}")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: name another folder with --out, or remove it")
    path, facts = lab.artifact(case)
    subject = lab.subject(case.spec)
    photos = inspect(path).photo
    feeds = {"real": subject.feeds.evaluation().first(samples), "generated": subject.feeds.generated()}
    answers = {kind: subject.original.answers(feed) for kind, feed in feeds.items()}
    rounded, floors = _rounded(lab, case, answers)
    tolerance = lab.limits(case)[0]
    bounds = tolerance if isinstance(floors, str) else beside(tolerance, *floors)
    wanted = interface(subject.original.spec, subject.original.card)
    with full_disk_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        model = folder / path.name
        shutil.copytree(path, model) if path.is_dir() else shutil.copy2(path, model)
        given = {kind: subject.feeds.photos(feed) if photos else feed for kind, feed in feeds.items()}
        np.savez_compressed(folder / "samples.npz", **_named(given))
        np.savez_compressed(folder / "reference.npz", **_flat(answers))
        np.savez_compressed(folder / "rounded.npz", **_flat(rounded))
        shutil.copy2(replay.__file__, folder / "replay.py")
        contents = {
            "schema_version": BUNDLE_VERSION,
            "case": {"model": case.spec.name, "variant": case.variant.name},
            "model": model.name,
            "inputs": [info.name for info in subject.original.card.inputs],
            "outputs": [PROBABILITIES] if wanted.labels else list(wanted.outputs),
            "reference_outputs": [info.name for info in subject.original.card.outputs],
            "photos": photos,
            "labels": list(wanted.labels),
            "patterns": list(feeds["generated"].names),
            "quantised": case.variant.quantised,
            "tolerance": asdict(tolerance),
            "bounds": asdict(bounds),  # what the script judges by: no tighter than what rounding explains
            "override": case.override,
            "no_floor": floors if isinstance(floors, str) else "",
            "artifact": asdict(facts),
            "notes": [*case.spec.notes, *subject.feeds.notes],
            "files": {
                name: sha256_tree(folder / name)
                for name in (model.name, "samples.npz", "reference.npz", "rounded.npz", "replay.py")
            },
        }
        (folder / BUNDLE).write_text(json.dumps(contents, indent=1))
    return folder


def _rounded(
    lab: Lab, case: Case, answers: Mapping[str, Mapping[str, Array]]
) -> tuple[dict[str, dict[str, Array]], tuple[Floor, Floor] | str]:
    """What the original answers to the first samples when it is rounded, by kind, and the noise floors.

    Nothing and the reason, where there is no floor.
    """
    floors, reference = lab.floors(case.spec), (dict(answers["real"]), dict(answers["generated"]))
    known = floors.beside(case.variant, reference, reference)
    rounded = "" if isinstance(known, str) else floors.answers(case.variant)
    if isinstance(known, str) or isinstance(rounded, str):
        return {}, known
    pairs = zip(answers, zip(reference, rounded, strict=True), strict=True)
    return {kind: first_of(simulated, expected) for kind, (expected, simulated) in pairs}, known


def _named(feeds: Mapping[str, Feed]) -> dict[str, Array]:
    return {
        f"{kind}/{name}": np.asarray(array)
        for kind, feed in feeds.items()
        for name, array in load_feed(feed.arrays).items()
    }


def _flat(answers: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    return {f"{kind}/{name}": array for kind, found in answers.items() for name, array in found.items()}


def write(
    model: str,
    variants: Sequence[str],
    *,
    out: Path | None = None,
    samples: int = SAMPLES,
    weights: str = "offline",
    deployment_target: str = "",
) -> Iterator[Path]:
    """Bundles of one model, a folder a variant, as each is written.

    `model` is a bundled model's name or a saved model's path.
    """
    spec = _spec(model)
    if samples < 1:
        raise UsageError(f"--samples {samples}: one or more is expected")
    if deployment_target not in ("", *DEPLOYMENT_TARGETS):
        raise UsageError(unknown("deployment target", deployment_target, DEPLOYMENT_TARGETS))
    for name in variants:
        if name not in COREML:
            raise UsageError(unknown("Core ML variant", name, COREML))
    lab = Lab(default_cache(), _thresholds(), weights=weights, deployment_target=deployment_target)
    try:
        for name in variants:
            case = Case(spec, VARIANTS[name], Target("host", "coreml"))
            place = out or Path("bundles") / f"{spec.name}-{name}"
            yield make(lab, case, place / name if out and len(variants) > 1 else place, samples)
    finally:
        lab.close()


def _spec(model: str) -> ModelSpec:
    if Path(model).exists():
        return from_model_file(Path(model))
    bundled = discover(BUNDLED)
    if model not in bundled:
        raise UsageError(f"no file at {model!r}, and {unknown('model', model, bundled)}")
    found = bundled[model]
    if isinstance(found, BrokenFixture):
        raise UsageError(str(found))
    return found


def _thresholds() -> Thresholds:
    pyproject = Path("pyproject.toml")
    return Thresholds.load(pyproject if pyproject.exists() else None)

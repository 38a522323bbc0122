"""What a user calls a side of an A/B comparison, and which artifact and engine that is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from suite import ab, runtimes, store
from suite.ab import Side
from suite.cache import default_cache, sha256_tree
from suite.errors import UsageError
from suite.lab import Lab
from suite.matrix import Case
from suite.spec import Array

COREML = (".mlpackage", ".mlmodel")
ARTIFACTS = (".tflite", *COREML)
_TFLITE_ENGINE, _COREML_ENGINE = "litert-xnnpack", "coreml"
_DESCRIBER = "coreml-evaluator"  # opens what Core ML opens, on any machine


def resolve(text: str, case: Case, lab: Lab) -> Side:
    """The side that `text` names, for this model and variant.

    An engine's name runs the model's own artifact; an artifact's path runs
    that file; a run's results (`RUN` or `RUN@CACHE`) or a cache folder runs
    what another revision or converter made. UsageError where there is none,
    or where it cannot be timed on this machine.
    """
    if text in runtimes.ENGINES:
        return _side(text, text, lab.artifact(case)[0])
    place, _, cache = text.partition("@")
    path = Path(place)
    if path.suffix in COREML or (path.is_file() and path.suffix != ".jsonl"):
        return artifact_side(path)
    if path.suffix == ".jsonl" or (path / store.RESULTS).is_file():
        return _side(text, case.target.engine, _of_run(path, case, Path(cache) if cache else None))
    if (path / "artifact").is_dir():
        return _side(text, case.target.engine, _of_cache(path, case, lab))
    raise UsageError(
        f"{text!r} is no side of a comparison: give an artifact's path, an engine "
        f"({', '.join(runtimes.ENGINES)}), a run's folder (RUN or RUN@CACHE), or a cache folder"
    )


def artifact_side(path: Path) -> Side:
    """A file or package by itself; UsageError where it is not there, or cannot be timed on this machine."""
    if not path.exists():
        raise UsageError(f"no artifact at {path}: check the path")
    engine = _COREML_ENGINE if path.suffix in COREML else _TFLITE_ENGINE
    return _side(path.name, engine, path.resolve())


def _side(label: str, engine: str, path: Path) -> Side:
    """Held to what its engine can run, and time, here."""
    runtime, apple = runtimes.ENGINES[engine], path.suffix in COREML
    if apple != engine.startswith("coreml"):
        raise UsageError(f"{label}: {engine} cannot run a {path.suffix}: name another engine or variant")
    instead = "or put two finished runs side by side: python -m suite compare OLD NEW"
    if runtime.untimed:
        raise UsageError(f"{label} cannot be timed: {runtime.untimed}. Compare on a Mac, {instead}")
    if apple and sys.platform != "darwin":
        raise UsageError(
            f"{label} cannot be timed: Core ML is on Apple's systems alone, and this is {sys.platform}. "
            f"Compare on a Mac, {instead}"
        )
    return Side(label, engine, path)


def samples(a: Side, b: Side, case: Case, lab: Lab) -> dict[str, Array]:
    """One real sample as both sides take it; UsageError where one takes photos and the other tensors."""
    feeds = lab.subject(case.spec).feeds
    photos = {_takes_photos(side, case, lab) for side in (a, b)}
    if len(photos) > 1:
        raise UsageError(
            f"{a.label} and {b.label} are fed otherwise (photos, tensors): compare two of a kind"
        )
    return feeds.photo(feeds.one()) if photos.pop() else feeds.one()


def _takes_photos(side: Side, case: Case, lab: Lab) -> bool:
    if side.path.suffix not in COREML:
        return False
    with runtimes.open_session(_DESCRIBER, side.path, threads=1) as session:
        return lab.takes_photos(case, session)


def noise(a: Side, b: Side) -> dict[str, Array]:
    """What both sides take, where nothing is known of their model; UsageError for sides of two formats."""
    if (a.path.suffix in COREML) != (b.path.suffix in COREML):
        raise UsageError(f"{a.label} and {b.label} are of two formats: compare two of a kind")
    return ab.any_sample(a)


def _of_run(run: Path, case: Case, cache: Path | None) -> Path:
    """The artifact that a run recorded, in the cache it went to; held to its hash."""
    records = store.load(run).records
    own = [
        record for record in records if (record.model, record.variant) == (case.spec.name, case.variant.name)
    ]
    artifacts = [record.artifact for record in own if record.artifact is not None]
    if not artifacts:
        raise UsageError(f"{run}: holds no artifact of {case.spec.name}/{case.variant.name}")
    root = cache or default_cache().root
    path = root / artifacts[0].path  # a given artifact's path is absolute and stays itself
    if not path.exists():
        raise UsageError(f"{path}: gone, or in another cache; name that one: {run}@CACHE")
    if sha256_tree(path) != artifacts[0].sha256:
        raise UsageError(
            f"{path}: is not the artifact that {run} recorded: convert it again with that revision"
        )
    return path


def _of_cache(root: Path, case: Case, lab: Lab) -> Path:
    """The newest artifact of this model and variant in a cache, by whatever converter."""
    content = lab.subject(case.spec).original.card.content
    found = []
    for manifest in (root / "artifact").glob("*/entry.json"):
        key = json.loads(manifest.read_text())["key"]
        path = manifest.parent / f"model{case.variant.suffix}"
        if key["model"] == content and key["variant"] == case.variant.name and path.exists():
            found.append((manifest.stat().st_mtime_ns, path))
    if not found:
        raise UsageError(
            f"{root}: holds no {case.spec.name}/{case.variant.name} with this checkout's weights. "
            f"Where the other revision's weights differ, name its run: RUN@{root}"
        )
    return max(found)[1]

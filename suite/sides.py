"""What a user calls a side of an A/B comparison, and which artifact and engine that is."""

from __future__ import annotations

import json
from pathlib import Path

from suite import runtimes, store
from suite.ab import Side
from suite.cache import default_cache, sha256_file
from suite.errors import UsageError
from suite.lab import Lab
from suite.matrix import Case

_DEFAULT_ENGINE = "litert-xnnpack"


def resolve(text: str, case: Case, lab: Lab) -> Side:
    """The side that `text` names, for this model and variant.

    An engine's name runs the model's own artifact; an artifact's path runs
    that file; a run's results (`RUN` or `RUN@CACHE`) or a cache folder runs
    what another revision or converter made. UsageError where there is none.
    """
    if text in runtimes.ENGINES:
        return Side(text, text, lab.artifact(case)[0])
    place, _, cache = text.partition("@")
    path = Path(place)
    if path.is_file() and path.suffix != ".jsonl":
        return artifact_side(path)
    if path.suffix == ".jsonl" or (path / store.RESULTS).is_file():
        return Side(text, case.target.engine, _of_run(path, case, Path(cache) if cache else None))
    if (path / "artifact").is_dir():
        return Side(text, case.target.engine, _of_cache(path, case, lab))
    raise UsageError(
        f"{text!r} is no side of a comparison: give an artifact's path, an engine "
        f"({', '.join(runtimes.ENGINES)}), a run's folder (RUN or RUN@CACHE), or a cache folder"
    )


def artifact_side(path: Path) -> Side:
    """A file by itself."""
    if not path.is_file():
        raise UsageError(f"no artifact at {path}: check the path")
    return Side(path.name, _DEFAULT_ENGINE, path.resolve())


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
    if not path.is_file():
        raise UsageError(f"{path}: gone, or in another cache; name that one: {run}@CACHE")
    if sha256_file(path) != artifacts[0].sha256:
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
        if key["model"] == content and key["variant"] == case.variant.name and path.is_file():
            found.append((manifest.stat().st_mtime_ns, path))
    if not found:
        raise UsageError(
            f"{root}: holds no {case.spec.name}/{case.variant.name} with this checkout's weights. "
            f"Where the other revision's weights differ, name its run: RUN@{root}"
        )
    return max(found)[1]

"""Artifacts: converted from the original and cached by content, or given by the user and looked at."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from suite import runtimes
from suite.cache import Cache, sha256_file
from suite.converters.inspection import inspect
from suite.feeds import Feeds
from suite.original import CONVERT_SECONDS, Original
from suite.record import Artifact, Stage
from suite.spec import Variant

_CONVERTER = Path(__file__).with_name("tflite.py")
_PACKAGES = ("tensorflow", "keras")


def artifact(original: Original, variant: Variant, feeds: Feeds, cache: Cache) -> tuple[Path, Artifact]:
    """The converted file and what the record says of it; converts only what the cache lacks."""
    calibration = feeds.calibration() if variant.calibrated else None
    versions = runtimes.versions(*_PACKAGES)
    key = {
        "model": original.card.content,
        "variant": variant.name,
        "calibration": calibration.sha256 if calibration else None,
        "converter": sha256_file(_CONVERTER),
        "inspection": sha256_file(Path(__file__).with_name("inspection.py")),
        "versions": versions,
    }

    def convert(folder: Path) -> None:
        arrays = dict(calibration.arrays) if calibration else None
        destination = folder / f"model{variant.suffix}"
        seconds = original.call(
            ".convert", variant.name, arrays, destination, stage=Stage.CONVERT, timeout=CONVERT_SECONDS
        )
        (folder / "facts.json").write_text(json.dumps({"seconds": seconds, **asdict(inspect(destination))}))

    place = cache.get_or_build("artifact", key, convert)
    path, facts = place / f"model{variant.suffix}", json.loads((place / "facts.json").read_text())
    return path, Artifact(
        path=path.relative_to(cache.root).as_posix(),
        sha256=sha256_file(path),
        size_bytes=path.stat().st_size,
        parameters=original.card.parameters,
        converter="tf.lite.TFLiteConverter",
        versions=versions,
        ops=facts["ops"],
        minimum_runtime=facts["minimum_runtime"],
        convert_seconds=facts["seconds"],
    )


def given(original: Original, path: Path) -> tuple[Path, Artifact]:
    """A file that someone else's pipeline made."""
    facts = inspect(path)
    return path, Artifact(
        path=str(path),
        sha256=sha256_file(path),
        size_bytes=path.stat().st_size,
        parameters=original.card.parameters,
        converter="unknown: the artifact was given",
        versions={},
        ops=facts.ops,
        minimum_runtime=facts.minimum_runtime,
        convert_seconds=None,
        origin="given",
    )

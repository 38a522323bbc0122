"""Artifacts: converted from the original and cached by content, or given by the user and looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from suite import runtimes
from suite.cache import Cache, digest, sha256_file, sha256_tree
from suite.converters import contract, inspection, metadata, packing
from suite.converters.contract import Stated
from suite.converters.interface import Interface, interface
from suite.coreml import inspection as coreml_inspection
from suite.feeds import Feeds
from suite.original import CONVERT_SECONDS, Original
from suite.record import Artifact, Stage
from suite.spec import Variant

_HERE = Path(__file__).parent
_FACTS = "facts.json"  # of an entry, beside the file


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How one format is made: what decides the result, and who makes it."""

    converter: str
    packages: tuple[str, ...]
    sources: tuple[Path, ...]  # of this suite; a change there makes the artifact anew
    key: Mapping[str, Any]
    convert: Callable[[Path], float]  # writes the file; answers the converter's seconds
    inspect: Callable[[Path], Any]  # a dataclass with `ops` and `minimum_runtime`


def artifact(
    original: Original, variant: Variant, feeds: Feeds, cache: Cache, *, deployment_target: str = ""
) -> tuple[Path, Artifact]:
    """The converted file and what the record says of it; converts only what the cache lacks.

    `deployment_target` is the oldest iOS that a Core ML artifact must run on.
    """
    if variant.format == "coreml":
        recipe = _coreml(original, variant, deployment_target)
    else:
        recipe = _tflite(original, variant, feeds)
    versions = runtimes.versions(*recipe.packages)
    key = {
        "model": original.card.content,
        "variant": variant.name,
        "code": [sha256_file(path) for path in recipe.sources],
        "versions": versions,
        **recipe.key,
    }
    name = f"model{variant.suffix}"

    def convert(folder: Path) -> None:
        seconds = recipe.convert(folder / name)
        _keep_facts(folder, seconds, recipe.inspect(folder / name))

    def converted() -> Path:
        return cache.get_or_build("artifact", key, convert)

    terms = contract.stated(original.spec, original.card) if variant.format == "tflite" else None
    place = converted() if terms is None else _with_contract(digest(key), name, converted, terms, cache)
    path, facts = place / name, json.loads((place / _FACTS).read_text())
    return path, Artifact(
        path=path.relative_to(cache.root).as_posix(),
        sha256=cache.sha256(path) or sha256_tree(path),
        size_bytes=_size(path),
        parameters=original.card.parameters,
        converter=recipe.converter,
        versions=versions,
        ops=facts["ops"],
        minimum_runtime=facts["minimum_runtime"],
        convert_seconds=facts["seconds"],
    )


def _with_contract(
    made_by: str, name: str, converted: Callable[[], Path], terms: Stated, cache: Cache
) -> Path:
    """The entry of the converted .tflite with the contract in it: an entry of its own, made in no time.

    `made_by` is the hash of all that the conversion depends on. The converted
    file itself, twice as much to read, is not looked at where the entry is there.
    """
    sources = (contract, metadata, packing)
    key = {
        "made_by": made_by,
        "contract": terms.identity(),
        "code": [sha256_file(Path(str(source.__file__))) for source in sources],
        "versions": runtimes.versions("flatbuffers", "ai-edge-litert"),
    }

    def describe(folder: Path) -> None:
        source, destination = converted(), folder / name
        destination.write_bytes(contract.packed((source / name).read_bytes(), terms))
        seconds = json.loads((source / _FACTS).read_text())["seconds"]
        _keep_facts(folder, seconds, inspection.inspect(destination))

    return cache.get_or_build("shipped", key, describe)


def _keep_facts(folder: Path, seconds: float, inspected: Any) -> None:
    (folder / _FACTS).write_text(json.dumps({"seconds": seconds, **asdict(inspected)}))


def _tflite(original: Original, variant: Variant, feeds: Feeds) -> _Recipe:
    calibration = feeds.calibration() if variant.calibrated else None

    def convert(destination: Path) -> float:
        arrays = dict(calibration.arrays) if calibration else None
        return _ask(original, ".convert", variant.name, arrays, destination)

    return _Recipe(
        converter="tf.lite.TFLiteConverter",
        packages=("tensorflow", "keras"),
        sources=(_HERE / "tflite.py", Path(inspection.__file__)),
        key={"calibration": calibration.sha256 if calibration else None},
        convert=convert,
        inspect=inspection.inspect,
    )


def _coreml(original: Original, variant: Variant, deployment_target: str) -> _Recipe:
    wanted = interface(original.spec, original.card, deployment_target)
    return _Recipe(
        converter="coremltools.convert",
        packages=("coremltools", "tensorflow", "keras"),
        sources=(
            _HERE / "coreml.py",
            _HERE / "norms.py",
            _HERE / "tflite.py",
            Path(coreml_inspection.__file__),
        ),
        key={"interface": identity(wanted)},
        convert=lambda destination: _ask(original, ".convert_coreml", variant.name, wanted, destination),
        inspect=coreml_inspection.inspect,
    )


def identity(wanted: Interface) -> dict[str, Any]:
    """All that the interface says, and the preprocessing that its image contract names."""
    return {**asdict(wanted), "mode": asdict(wanted.image.mode) if wanted.image else None}


def _ask(original: Original, function: str, *arguments: Any) -> float:
    seconds: float = original.call(function, *arguments, stage=Stage.CONVERT, timeout=CONVERT_SECONDS)
    return seconds


def given(original: Original, path: Path) -> tuple[Path, Artifact]:
    """A file that someone else's pipeline made."""
    inspect = inspection.inspect if path.suffix == ".tflite" else coreml_inspection.inspect
    facts = inspect(path)
    return path, Artifact(
        path=str(path),
        sha256=sha256_tree(path),
        size_bytes=_size(path),
        parameters=original.card.parameters,
        converter="unknown: the artifact was given",
        versions={},
        ops=facts.ops,
        minimum_runtime=facts.minimum_runtime,
        convert_seconds=None,
        origin="given",
    )


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a package."""
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())

"""For plain scripts: open any model file, convert any model. No pytest needed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from suite import runtimes
from suite.cache import default_cache
from suite.converters import artifact as artifacts
from suite.discovery import BUNDLED, SAVED_MODELS, BrokenFixture, discover, from_model_file
from suite.errors import PocketproofError, UsageError, unknown
from suite.feeds import Feed, Feeds, scratch_folder
from suite.matrix import ARTIFACTS, first_target
from suite.original import BUILD_SECONDS, Original
from suite.record import Stage
from suite.runtimes.base import TensorInfo, match
from suite.spec import DEPLOYMENT_TARGETS, VARIANTS, Array, ModelSpec


class OriginalSession:
    """A saved Keras model or SavedModel, run in a process that holds TensorFlow."""

    def __init__(self, original: Original) -> None:
        self._original = original
        self.inputs: tuple[TensorInfo, ...] = original.card.inputs
        self.outputs: tuple[TensorInfo, ...] = original.card.outputs

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """(n, ...) arrays by input name to (n, ...) arrays by output name."""
        answers: dict[str, Array] = self._original.call(
            ".run_many", dict(feed), stage=Stage.RUN, timeout=BUILD_SECONDS
        )
        return answers


@contextmanager
def open_model(
    path: str | Path, *, engine: str = "", threads: int = 1
) -> Iterator[OriginalSession | runtimes.RemoteSession]:
    """Open a model file: .keras, .h5, a SavedModel folder, .tflite, .mlpackage, .mlmodel.

    The session has `.inputs`, `.outputs` (name, shape, dtype) and
    `.run({name: array}) -> {name: array}`; it runs in a process of its own,
    which ends with the `with` block. `engine` and `threads` are for artifacts:
    see `suite.runtimes.ENGINES`; without one, LiteRT runs .tflite, and Core ML
    or the evaluator runs .mlpackage and .mlmodel. An image input of those takes
    a picture (height, width, 3) in RGB. Raises PocketproofError with what to do.
    """
    path = Path(path)
    if path.suffix in ARTIFACTS:
        engine = engine or first_target(path).engine
        if not path.exists():
            raise UsageError(f"no artifact at {path}")
        with runtimes.open_session(engine, path, threads=threads) as session:
            yield session
        return
    if not (path.is_dir() or path.suffix in SAVED_MODELS):
        raise UsageError(
            f"{path.name} cannot be opened: known are {', '.join((*ARTIFACTS, *SAVED_MODELS))} "
            "and SavedModel folders"
        )
    with _pool() as pool:
        yield OriginalSession(Original(from_model_file(path), "offline", default_cache(), pool))


def convert(
    model: Any,
    variant: str,
    *,
    calibration: Array | Mapping[str, Array] | None = None,
    output: str | Path | None = None,
    weights: str = "offline",
    deployment_target: str = "",
) -> Path:
    """Convert a model and return the artifact's path.

    `model` is a saved model's path, the name of a bundled model, or a
    keras.Model. `calibration`: (n, ...) inputs as the model takes them, by
    input name where it has several; without it, variants that need one are
    calibrated as the suite would. `output` is where a copy goes; else the path
    is in the cache. `deployment_target` (`iOS15`, ...) is for Core ML variants.
    Raises PocketproofError with the converter's reason.
    """
    if variant not in VARIANTS:
        raise UsageError(unknown("variant", variant, VARIANTS))
    if deployment_target and deployment_target not in DEPLOYMENT_TARGETS:
        raise UsageError(unknown("deployment target", deployment_target, DEPLOYMENT_TARGETS))
    with tempfile.TemporaryDirectory(prefix="pocketproof-") as folder, _pool() as pool:
        spec, cache = _spec(model, Path(folder)), default_cache()
        original = Original(spec, weights, cache, pool)
        card = original.card
        feeds = Feeds(
            original.spec, card.inputs, scratch=scratch_folder(cache.root / "scratch"), rescales=card.rescales
        )
        if calibration is not None:
            feeds.calibrate_with(_given(calibration, card.inputs))
        try:
            path, _ = artifacts.artifact(
                original, VARIANTS[variant], feeds, cache, deployment_target=deployment_target
            )
        finally:
            feeds.discard()
        return _copied(path, Path(output)) if output is not None else path


def _copied(path: Path, output: Path) -> Path:
    """A copy at `output`, or in it where that is a folder; of a package, its whole folder."""
    if path.is_file():
        return Path(shutil.copy2(path, output))
    place = output / path.name if output.is_dir() and output.suffix != path.suffix else output
    return Path(shutil.copytree(path, place, dirs_exist_ok=True))


@contextmanager
def _pool() -> Iterator[runtimes.Pool]:
    pool = runtimes.Pool()
    try:
        yield pool
    finally:
        pool.close()


def _spec(model: Any, folder: Path) -> ModelSpec:
    if hasattr(model, "save") and hasattr(model, "count_params"):
        path = folder / f"{getattr(model, 'name', 'model')}.keras"
        model.save(path)
        return from_model_file(path)
    if isinstance(model, str) and not Path(model).exists():
        bundled = discover(BUNDLED)
        if model not in bundled:
            raise UsageError(f"no file at {model!r}, and {unknown('model', model, bundled)}")
        found = bundled[model]
        if isinstance(found, BrokenFixture):
            raise PocketproofError(str(found))
        return found
    return from_model_file(Path(model))


def _given(calibration: Array | Mapping[str, Array], inputs: tuple[TensorInfo, ...]) -> Feed:
    arrays = calibration if isinstance(calibration, Mapping) else {inputs[0].name: calibration}
    try:
        given = match({name: np.asarray(array) for name, array in arrays.items()}, inputs)
    except ValueError as error:
        raise UsageError(f"calibration: {error}") from None
    for info in inputs:
        if given[info.name].shape[1:] != info.shape[1:]:
            raise UsageError(
                f"calibration holds {given[info.name].shape} for the input {info.name}, "
                f"expected (n, ...) of {info.shape[1:]} each"
            )
    return Feed.of({info.name: given[info.name].astype(info.dtype, copy=False) for info in inputs})

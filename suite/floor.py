"""The noise floor: what rounding to a precision costs the original itself, however well it is converted.

A deep net may amplify rounding by tens of dB, and a shallow one does not: one
constant fits neither. So the original is rounded to the precision by plain
arithmetic and answers the same samples as the artifact, whose error has to be
of that size.

What is rounded is the float32 conversion, which has the original's weights and
the operators that a phone runs (batch normalisation folded, activations
fused), so that values are rounded where an artifact rounds them. It computes in
float32, by none of the integer kernels and none of the quantiser's code; and it
stands for the original only while it answers as the original does: that is
measured before, on the first samples, and there is no floor where it does not.

Keras' own float16 policy would round at the same places, weights and
activations, but runs at a hundredth of the speed on a processor without
float16 arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from suite import metrics, parity, runtimes
from suite.cache import Cache, sha256_file
from suite.converters import artifact as artifacts
from suite.converters import constants, rounding
from suite.converters.flatbuffer import Flatbuffer
from suite.errors import CaseError, StagedError
from suite.feeds import Feed, Feeds
from suite.generated import CORNERS
from suite.original import Original
from suite.record import Stage, StaticCheck, Status
from suite.record.answers import Floor
from suite.runtimes.worker import Worker
from suite.spec import VARIANTS, Array, Variant

SAMPLES = 32  # real ones, the first; a float32 net of this size takes a tenth of a second for each
GENERATED = len(CORNERS)  # the first, which every artifact answers, however slow its engine is
FAITHFUL_DB = 60.0  # the float32 conversion, before it is rounded
FAITHFUL_SAMPLES = 4
CALIBRATION_SECONDS = 900.0
ENGINE = "litert-xnnpack"

Answers = dict[str, Array]
Both = tuple[Answers, Answers]  # on real samples, and on generated ones
Recipe = Callable[[bytes, Callable[[], Array]], bytes]

RECIPES: dict[str, Recipe] = {
    "float16": lambda data, _: rounding.float16(data),
    "dynamic_int8": lambda data, _: rounding.dynamic(data),
    "int8": lambda data, ranges: rounding.integer(data, ranges(), 8),
    "int8_io": lambda data, ranges: rounding.integer(data, ranges(), 8),
    "int16x8": lambda data, ranges: rounding.integer(data, ranges(), 16),
    "mlprogram_float16": lambda data, _: rounding.float16(data),
    "mlprogram_int8_weights": lambda data, _: rounding.int8_weights(data),
}
_NONE = {
    **dict.fromkeys(
        ("float32", "mlprogram_float32", "neuralnetwork"), "float32 is the original's own precision"
    ),
    "mlprogram_palettized_6bit": "which 64 values a palette takes is the converter's choice, not rounding",
}
_ANSWERS_IN_FLOAT16 = ("mlprogram_float16", "mlprogram_int8_weights")
_CODE = (rounding.__file__,)
_RANGES_CODE = (str(Path(__file__).parent / "runtimes" / "ranges.py"),)


@dataclass(frozen=True, slots=True)
class Floors:
    """The floors of one model; each is computed once and cached by content."""

    original: Original
    feeds: Feeds
    cache: Cache
    pool: runtimes.Pool
    scratch: Path
    threads: int

    def beside(self, variant: Variant, reference: Both, actual: Both) -> tuple[Floor, Floor] | str:
        """The floor of a variant, and an artifact's error on the same samples; a reason where there is none.

        Both on real samples, then on generated ones. `reference` and `actual`
        are the original's and the artifact's answers to the first of these,
        (n, ...) by output name.
        """
        try:
            rounded = self.answers(variant)
        except StagedError as error:
            return f"it cannot be computed: {error}"
        if isinstance(rounded, str):
            return rounded
        real, made = (parity.floor(*sides, variant) for sides in zip(reference, rounded, actual, strict=True))
        return real, made

    def answers(self, variant: Variant) -> Both | str:
        """What the original answers to the first samples when it is rounded; or why it does not."""
        real, made = self.feeds.evaluation().first(SAMPLES), self.feeds.generated().first(GENERATED)
        both = self.rounded(variant, real), self.rounded(variant, made)
        if isinstance(both[0], str) or isinstance(both[1], str):
            return next(one for one in both if isinstance(one, str))
        return both[0], both[1]

    def float32_diff(self) -> float | None:
        """How far the original is from itself in float64, as `max_scaled_diff` on the first real samples.

        None where it cannot be computed in float64.
        """
        feed = self.feeds.evaluation().first(SAMPLES)
        try:
            wide = self.original.answers_in_float64(feed)
        except CaseError:
            return None
        own = self.original.answers(self.feeds.evaluation())
        few = {name: values[: feed.count] for name, values in own.items()}
        return parity.scaled_diff(wide, few)

    def rounded(self, variant: Variant, feed: Feed) -> Answers | str:
        """What the original answers to some samples when it is rounded; or why it does not.

        Raises StagedError where the float32 conversion cannot be had or run.
        """
        if variant.name not in RECIPES:
            return _NONE.get(variant.name, f"rounding to {variant.name} is not simulated")
        source, sha256 = self._float32()
        if (words := self._unfaithful(source, sha256, self.feeds.evaluation().first(SAMPLES))) is not None:
            return words
        calibration = self.feeds.calibration().sha256 if variant.calibrated else None
        key: dict[str, object] = {"of": sha256, "variant": variant.name, "calibration": calibration}
        found = self._kept(
            key, feed, lambda: self._run(RECIPES[variant.name](source.read_bytes(), self.ranges), feed)
        )
        return _stored_as_float16(found) if variant.name in _ANSWERS_IN_FLOAT16 else found

    def ranges(self) -> Array:
        """What each tensor of the float32 conversion reaches on the calibration samples, (tensors, 2)."""
        source, sha256 = self._float32()
        feed = self.feeds.calibration()

        def run() -> Answers:
            model = Flatbuffer(source.read_bytes())
            count, (data, places) = len(model.graph.tensors), rounding.with_all_answers(source.read_bytes())
            with _written(self.scratch, data) as path:
                found = self._worker().call(
                    "suite.runtimes.ranges:measure",
                    path,
                    places,
                    count,
                    self.threads,
                    dict(feed.arrays),
                    stage=Stage.RUN,
                    timeout=CALIBRATION_SECONDS,
                )
            return {"ranges": found}

        return self._kept({"of": sha256, "ranges": True}, feed, run, _RANGES_CODE)["ranges"]

    def check(self, path: Path, variant: Variant, *, converted: bool) -> dict[str, StaticCheck]:
        """The static checks of a TFLite file's numbers; nothing for float32, which parity holds closely."""
        if variant.name == "float32":
            return {}
        try:
            source, _ = self._float32()
            found = self.ranges() if variant.calibrated else None
        except StagedError as error:
            if converted:
                raise
            reason = f"not applicable: there is no float32 conversion to hold it to: {error}"
            return {"graph": StaticCheck(status=Status.SKIPPED, message=reason)}
        return constants.check(path, source, variant.name, found, converted=converted)

    def _unfaithful(self, source: Path, sha256: str, feed: Feed) -> str | None:
        """Why the float32 conversion does not stand for the original; None where it does."""
        few = feed.first(FAITHFUL_SAMPLES)
        found = self._kept({"of": sha256}, few, lambda: self._run(source.read_bytes(), few))
        reference = self.original.answers(self.feeds.evaluation())
        expected = {name: values[: few.count] for name, values in reference.items()}
        for name, (ours, theirs) in parity.align(expected, found).items():
            metrics.check_comparable(name, ours, theirs)
            if (size := metrics.error_stats(ours, theirs).sqnr_db) < FAITHFUL_DB:
                return (
                    f"the float32 conversion itself answers at {size:.1f} dB, "
                    f"expected {FAITHFUL_DB:.0f}: see its own case"
                )
        return None

    def _float32(self) -> tuple[Path, str]:
        path, facts = artifacts.artifact(self.original, VARIANTS["float32"], self.feeds, self.cache)
        return path, facts.sha256

    def _kept(
        self, key: dict[str, object], feed: Feed, run: Callable[[], Answers], sources: tuple[str, ...] = _CODE
    ) -> Answers:
        """The arrays that `run` makes, from the cache where they are there."""
        versions = runtimes.versions("ai-edge-litert", "numpy")
        code = [sha256_file(Path(file)) for file in sources]

        def compute(folder: Path) -> None:
            np.savez(folder / "arrays.npz", **run())

        place = self.cache.get_or_build(
            "floor", {**key, "feed": feed.sha256, "versions": versions, "code": code}, compute
        )
        with np.load(place / "arrays.npz") as stored:
            return {name: stored[name] for name in stored.files}

    def _run(self, data: bytes, feed: Feed) -> Answers:
        with (
            _written(self.scratch, data) as path,
            runtimes.open_session(ENGINE, path, threads=self.threads, worker=self._worker()) as session,
        ):
            return session.run_many(feed.arrays)

    def _worker(self) -> Worker:
        return self.pool.worker(runtimes.ENGINES[ENGINE].worker)


def _stored_as_float16(answers: Answers) -> Answers:
    """Below 6e-5 float16 has ever fewer bits, which splitting keeps: small probabilities lose most."""
    return {name: values.astype(np.float16).astype(values.dtype) for name, values in answers.items()}


@contextmanager
def _written(scratch: Path, data: bytes) -> Iterator[Path]:
    """A file of these bytes for the time of a block."""
    path = scratch / "rounded.tflite"
    path.write_bytes(data)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)

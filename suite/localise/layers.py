"""An artifact held to its original layer by layer, each fed with the artifact's own tensors.

So fed, a layer shows what went wrong in itself alone: errors that come from
before it are in what it is given, on both sides.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suite.feeds import Feed
from suite.lab import Lab
from suite.localise import noise
from suite.localise.views import LAST, Shown, View, plain, view
from suite.matrix import Case
from suite.metrics import SQNR_CAP_DB
from suite.original import BUILD_SECONDS
from suite.record import Stage
from suite.record.localisation import LayerError
from suite.runtimes.base import load_feed
from suite.runtimes.keras_layers import SAME, Difference, Given, Layer, Sums, named
from suite.spec import Array

MARGIN_DB = 6.0  # below the floor: the power of the error is four times what rounding explains
AT_ONCE_BYTES = 192 << 20  # of an artifact's tensors
_NAMING = 2  # how tensors are named here: what is cached under other names is matched anew
_FOREIGN = 0.5  # with fewer tensors known by name than this, the file comes from another converter


@dataclass(frozen=True, slots=True)
class Held:
    """One tensor that stands for one layer's answer."""

    shown: Shown
    layer: str
    answers: bool  # the artifact's own answer stands here for the original's, whatever it is named


class Apart:
    """An artifact and its original, both taken apart."""

    def __init__(self, lab: Lab, case: Case, path: Path, folder: Path) -> None:
        self._lab, self._case = lab, case
        self._original = lab.subject(case.spec).original
        self.layers: tuple[Layer, ...] = self._ask(".layers")
        self._inputs, self._outputs = self._ask(".ends")
        self._by_name = {layer.name: layer for layer in self.layers}
        self.view = view(lab, case, path, folder)
        self.known = self._known(folder)
        self.held = self._held()
        self.stops_at = self._stops_at()
        self._stands_for = {one.shown.key: one.layer for one in self.held}
        self._stands_for |= dict(zip(self.view.inputs, self._inputs, strict=False))

    def errors(self, fair: Feed, hard: Feed) -> list[LayerError]:
        """Each tensor's error on samples that keep within the calibrated ranges, and on others.

        On those others a tensor is forgiven what it cannot hold.
        """
        seen = [self._compare(fair, clip=False), self._compare(hard, clip=True)]
        return [
            self._error(one, [(differences[i], floors[i]) for differences, floors in seen])
            for i, one in enumerate(self.held)
        ]

    # --- which tensor stands for which layer --------------------------------------

    def _held(self) -> list[Held]:
        layer_of: dict[str | None, str] = {}
        for one in self.view.shown:
            before = self.view.same(one.key)
            layer = self.known.get(_plain_key(one.name, one.key)) or layer_of.get(before)
            if before in self.view.inputs:
                layer = dict(zip(self.view.inputs, self._inputs, strict=False)).get(str(before))
            if layer is not None:
                layer_of[one.key] = layer
        for one in reversed(self.view.shown):  # an integer answer, of which the app is given the reals
            before = self.view.same(one.key)
            if before is not None and one.key in layer_of:
                layer_of.setdefault(before, layer_of[one.key])
        held = [Held(one, layer_of[one.key], False) for one in self.view.shown if one.key in layer_of]
        if len(self._outputs) == len(self.view.outputs) == 1 and not self.view.stopped:
            answer = next((one for one in self.view.shown if one.key == self.view.outputs[0]), None)
            if answer is not None and layer_of.get(answer.key) != self._outputs[0]:
                held.append(Held(answer, self._outputs[0], True))
        return held

    def _stops_at(self) -> str | None:
        """The layer that cannot be computed; None where all can, or where it is not known."""
        if self.view.stopped and not self.view.stops_at:
            return str(self._outputs[0])
        name = self.view.stops_at
        # A layer's convolution stands for none of Keras' tensors where an activation follows within it.
        return self.known.get(name) or self.known.get(f"{name}{LAST}") or named(name, self.layers)

    def _known(self, folder: Path) -> dict[str, str]:
        """The layer of each tensor by its name, from the plainest conversion of the same original."""
        good = plain(self._case)
        path, facts = self._lab.artifact(good)
        key = {
            "model": self._original.card.content,
            "artifact": facts.sha256,
            "format": good.variant.format,
            "same": SAME,
            "naming": _NAMING,
        }

        def build(made: Path) -> None:
            matched = self._matched(view(self._lab, good, path, folder))
            (made / "layers.json").write_text(json.dumps(matched))

        place = self._lab.cache.get_or_build("layers", key, build)
        known: dict[str, str] = json.loads((place / "layers.json").read_text())
        found = sum(_plain_key(one.name, one.key) in known for one in self.view.shown)
        fewest = _FOREIGN * min(len(self.view.shown), len(known))
        if found < (1 if self.view.stopped else fewest):  # what stops early has few tensors anyway
            known = self._matched(self.view)
        return known

    def _matched(self, good: View) -> dict[str, str]:
        """By the values on one real sample; by name where the answer shows that values mislead."""
        feed = Feed.of(self._lab.subject(self._case.spec).feeds.calibration().sample(0))
        values = good.run(feed)
        tensors = dict(enumerate(values.values()))
        names = list(values)
        found: dict[int, str] = self._ask(".match_layers", dict(feed.arrays), tensors)
        written = {one.key: one.name for one in good.shown}
        known = {_plain_key(written[names[number]], names[number]): layer for number, layer in found.items()}
        if not set(self._outputs) <= set(known.values()):
            for one in good.shown:
                layer = named(one.name, self.layers)
                if layer is not None and self._fits(layer, values[one.key]):
                    known.setdefault(_plain_key(one.name, one.key), layer)
        return known

    def _fits(self, layer: str, values: Array) -> bool:
        shape = self._by_name[layer].shape
        return len(shape) == values.ndim - 1 and all(
            want in (-1, have) for want, have in zip(shape, values.shape[1:], strict=True)
        )

    # --- comparing ------------------------------------------------------------------

    def _compare(self, feed: Feed, *, clip: bool) -> tuple[list[Difference], list[float]]:
        """Sums of each held tensor over all samples, and the mean square of its rounding."""
        arrays = {name: np.asarray(array) for name, array in load_feed(feed.arrays).items()}
        step = max(1, AT_ONCE_BYTES // max(1, self.view.sample_bytes))
        total: list[Difference] = []
        floors = np.zeros(len(self.held))
        for start in range(0, feed.count, step):
            part = Feed.of({name: array[start : start + step] for name, array in arrays.items()})
            values = dict(self.view.run(part))
            given = [self._given(one, values, clip=clip) for one in self.held]
            seen: list[Difference] = self._ask(".compare_layers", dict(part.arrays), given)
            total = seen if not total else [_sum(old, new) for old, new in zip(total, seen, strict=True)]
            values |= dict(zip(self.view.inputs, load_feed(part.arrays).values(), strict=False))
            floors += [part.count / feed.count * self._noise(one, values) for one in self.held]
        return total, floors.tolist()

    def _given(self, one: Held, values: Mapping[str, Array], *, clip: bool) -> Given:
        return Given(
            layer=one.layer,
            values=values[one.shown.key],
            low=one.shown.low if clip else None,
            high=one.shown.high if clip else None,
        )

    def _noise(self, one: Held, values: Mapping[str, Array]) -> float:
        ends = [key for key, layer in self._stands_for.items() if layer != one.layer]
        return self.view.noise(one.shown.key, ends, values)

    def _error(self, one: Held, seen: Sequence[tuple[Difference, float]]) -> LayerError:
        base = noise.FLOAT16_DB if self._case.variant.name == "float16" else noise.FLOAT32_DB
        pairs = []
        for difference, rounding in seen:
            signal = _signal(difference.own) / max(1, difference.own.count)
            pairs.append((_db(difference.own), _ratio(signal, rounding + signal * 10 ** (-base / 10))))
        own, floor = max(pairs, key=lambda pair: pair[1] - pair[0])
        fits = all(difference.own.fits for difference, _ in seen)
        return LayerError(
            layer=one.layer,
            fused=self._fused(one.layer),
            operator=one.shown.operator or one.shown.name,
            own_db=own,
            floor_db=floor,
            sqnr_db=_db(seen[0][0].whole),
            message="" if fits else self._misfit(one),
        )

    def _misfit(self, one: Held) -> str:
        feed = Feed.of(self._lab.subject(self._case.spec).feeds.calibration().sample(0))
        values = self.view.run(feed)[one.shown.key]
        if not self._fits(one.layer, values):
            return f"it answers {values.shape[1:]}, expected {self._by_name[one.layer].shape}"
        return "it holds values that are NaN or infinite"

    def _fused(self, layer: str) -> tuple[str, ...]:
        """Layers before this one that no tensor of the artifact stands for."""
        standing = {*self._stands_for.values(), *self._inputs}
        found: list[str] = []
        waiting = list(self._by_name[layer].inputs)
        while waiting:
            name = waiting.pop()
            if name not in standing and name not in found:
                found.append(name)
                waiting += self._by_name[name].inputs
        order = {one.name: place for place, one in enumerate(self.layers)}
        return tuple(sorted(found, key=order.__getitem__))

    def consumers(self, layer: str) -> set[str]:
        """Layers that take a layer's answer, at once or by way of some that no tensor stands for."""
        standing = set(self._stands_for.values())
        return {
            one
            for one in standing
            if layer in self._by_name[one].inputs
            or any(layer in self._by_name[name].inputs for name in self._fused(one))
        }

    def _ask(self, function: str, *args: Any) -> Any:
        return self._original.call(function, *args, stage=Stage.COMPARE, timeout=BUILD_SECONDS)


def suspect(errors: Sequence[LayerError], margin_db: float = MARGIN_DB) -> LayerError | None:
    """The first that is below its floor by more than the margin."""
    return next((one for one in errors if one.message or one.deficit_db > margin_db), None)


def _plain_key(name: str, key: str) -> str:
    return name + (LAST if key.endswith(LAST) else "")


def _sum(old: Difference, new: Difference) -> Difference:
    return Difference(own=old.own + new.own, whole=old.whole + new.whole)


def _signal(sums: Sums) -> float:
    """Power of the reference about its mean."""
    return max(0.0, sums.reference_squared - sums.reference**2 / max(1, sums.count))


def _db(sums: Sums) -> float:
    if not sums.fits:
        return -SQNR_CAP_DB
    return _ratio(_signal(sums), sums.error_squared)


def _ratio(signal: float, error: float) -> float:
    if error <= 0:
        return SQNR_CAP_DB
    if signal <= 0:
        return -SQNR_CAP_DB
    return max(-SQNR_CAP_DB, min(SQNR_CAP_DB, 10 * math.log10(signal / error)))

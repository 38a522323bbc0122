"""Good conversions under many seeds: what the gate says against them is a false alarm.

A seed is another checkpoint (every weight moved a little), converted anew;
another draw of the samples to calibrate with and of those held out; and other
generated inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from suite.data.drawn import Drawn
from suite.errors import StagedError
from suite.feeds import Feeds
from suite.gates import Finding
from suite.lab import Lab
from suite.matrix import Case
from suite.original import Original
from suite.spec import Dataset, ModelSpec

AS_IT_IS = 0  # the seed of the bundled weights and the data set's own split
MANY_TIMES, HEAVY_TURNS = 20, 3  # the work of the lightest model; turns of which a heavier one has one


class SeededLab(Lab):
    """A lab whose models and samples can be drawn anew."""

    seed = AS_IT_IS

    def reseed(self, seed: int) -> None:
        """From now on, every model is of this seed."""
        if seed != self.seed:
            self.seed = seed
            self._forget()

    def _original(self, spec: ModelSpec) -> Original:
        return Original(spec, self._weights, self.cache, self.pool, seed=self.seed)

    def _feeds(self, original: Original) -> Feeds:
        if self.seed == AS_IT_IS:
            return super()._feeds(original)
        return self._make_feeds(original, self._drawn(original.spec), self.seed)

    def _drawn(self, spec: ModelSpec) -> Dataset | None:
        own = self._dataset or (spec.dataset() if spec.dataset is not None else None)
        return Drawn(own, self.seed) if own is not None else None


class Alarm(NamedTuple):
    """One good run that did not pass."""

    text: str  # case, seed, and what was said
    broken: bool = False  # it came to no verdict


def alarms(
    lab: SeededLab, number: int, cases: Sequence[Case], judge: Callable[[Case], Sequence[Finding]]
) -> Iterator[Alarm]:
    """What `judge` says against good conversions of one model under one seed; a StagedError is no verdict."""
    lab.reseed(number)
    for case in cases:
        called = f"{case.id}, seed {number}" if number else f"{case.id} as it is"
        try:
            found = judge(case)
        except StagedError as error:
            yield Alarm(f"{called}: {error}", broken=True)
            continue
        yield from (Alarm(f"{called}: {one.message}") for one in found[:1])


def plan(cases: Sequence[Case], runs: int, seed: int = 0) -> list[tuple[int, tuple[Case, ...]]]:
    """Seeds, each with cases of one model: every case as it is, and `runs` seeded ones, all in turns.

    A case whose fixture grants it a loss of accuracy is seeded only where there
    is no other: that bound was found for these very weights, and rounding may
    take others apart, which is then no false alarm. Models that take MANY_TIMES
    the work of the lightest have one of HEAVY_TURNS: their runs are nearly all
    of what a proof costs.
    """
    planned = [(AS_IT_IS, own) for own in _by_model(cases)]
    models = _by_model([case for case in cases if not _loses(case)] or cases)
    lightest = min((own[0].spec.gmacs for own in models), default=0.0)
    left, turn = runs, 0
    while left > 0:
        for own in models:
            heavy = own[0].spec.gmacs > MANY_TIMES * lightest
            if taken := () if heavy and turn % HEAVY_TURNS else own[:left]:
                planned.append((seed + 1 + turn, taken))
                left -= len(taken)
        turn += 1
    return planned


def _loses(case: Case) -> bool:
    return "max_accuracy_drop" in case.override


def _by_model(cases: Sequence[Case]) -> list[tuple[Case, ...]]:
    return [tuple(group) for _, group in groupby(cases, lambda case: case.spec.name)]

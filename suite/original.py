"""The original model seen from outside: its card and its answers, cached so that TensorFlow is asked once."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from suite import runtimes
from suite.cache import Cache, sha256_file, sha256_tree
from suite.card import Card, ModelRef, Norm
from suite.errors import CaseError, OtherModel
from suite.feeds import Feed
from suite.record import Stage
from suite.spec import Array, ModelSpec

BUILD_SECONDS = 1800.0
CONVERT_SECONDS = 3600.0
_MOVING = 2  # how a seed moves weights: a card of another way is another model's
_PACKAGES = ("tensorflow", "keras", "numpy")


class Original:
    """One model at one choice of weights; `seed` moves each of them a little, which is another checkpoint."""

    def __init__(
        self, spec: ModelSpec, weights: str, cache: Cache, pool: runtimes.Pool, seed: int = 0
    ) -> None:
        self.spec = spec if weights == "offline" else spec.published()
        self._cache, self._pool = cache, pool
        path = spec.file or spec.path
        if path is None:
            raise CaseError(f"{spec.name} has neither a fixture nor a saved model", stage=Stage.BUILD)
        self.ref = ModelRef(
            spec.name, path, saved=spec.file is not None and spec.path is None, weights=weights, seed=seed
        )
        self._card: Card | None = None

    @property
    def card(self) -> Card:
        """What the model is; builds it when a file or a package that the last build used is another."""
        if self._card is None:
            self._card = self._known() or self._learn()
        return self._card

    def known(self) -> bool:
        """Whether the card is there without a model being built."""
        self._card = self._card or self._known()
        return self._card is not None

    def answers(self, feed: Feed) -> dict[str, Array]:
        """The original's outputs on a feed, (n, ...) by output name."""
        return self._answers(feed, ".run_many")

    def answers_in_float64(self, feed: Feed) -> dict[str, Array]:
        """Likewise, computed in float64 throughout; CaseError where the original cannot be."""
        return self._answers(feed, ".run_in_float64", arithmetic="float64")

    def _answers(self, feed: Feed, function: str, **more: str) -> dict[str, Array]:
        key = {
            "model": self.card.content,
            "feed": feed.sha256,
            "versions": runtimes.versions(*_PACKAGES),
            "machine": platform.machine(),
            **more,
        }

        def compute(folder: Path) -> None:
            answers = self.call(function, dict(feed.arrays), stage=Stage.BUILD, timeout=BUILD_SECONDS)
            np.savez(folder / "answers.npz", **answers)

        with np.load(self._cache.get_or_build("reference", key, compute) / "answers.npz") as stored:
            return {name: stored[name] for name in stored.files}

    def asked(self, feed: Feed) -> dict[str, Array]:
        """The original's outputs on a feed that will not come again: they are not kept."""
        answers: dict[str, Array] = self.call(
            ".run_many", dict(feed.arrays), stage=Stage.BUILD, timeout=BUILD_SECONDS
        )
        return answers

    def batch_norms(self) -> list[Norm]:
        """The numbers of its batch normalisations, in its order."""
        key = {"model": self.card.content, "versions": runtimes.versions(*_PACKAGES)}
        fields = ("gamma", "beta", "mean", "variance", "epsilon")

        def compute(folder: Path) -> None:
            found: list[Norm] = self.call(".batch_norms", stage=Stage.BUILD, timeout=BUILD_SECONDS)
            arrays = {f"{i}.{name}": getattr(one, name) for i, one in enumerate(found) for name in fields}
            np.savez(folder / "norms.npz", **arrays)

        with np.load(self._cache.get_or_build("norms", key, compute) / "norms.npz") as stored:
            count = len(stored.files) // len(fields)
            read = [{name: stored[f"{i}.{name}"] for name in fields} for i in range(count)]
        return [Norm(**{**one, "epsilon": float(one["epsilon"])}) for one in read]

    def call(self, function: str, *args: Any, stage: Stage, timeout: float) -> Any:
        """Ask the workshop of the process that holds TensorFlow, about the very model of the card."""
        try:
            return self._ask(function, self.card.content, *args, stage=stage, timeout=timeout)
        except OtherModel:
            self._cache.discard("card", self._key())  # or it would be believed for ever
            raise

    def _ask(self, function: str, *args: Any, stage: Stage, timeout: float) -> Any:
        worker = self._pool.worker("TensorFlow", "suite.runtimes.workshop:Workshop")
        return worker.call(function, self.ref, *args, stage=stage, timeout=timeout)

    def _key(self) -> Mapping[str, Any]:
        return {
            "name": self.ref.name,
            "path": str(self.ref.path.resolve()),  # two checkouts may differ in what equal fixtures read
            "source": _tree(self.ref.path),
            "files": [_tree(path) for path in (*self.spec.files, *filter(None, [self.spec.file]))],
            "weights": self.ref.weights,
            **({"seed": self.ref.seed, "moved": _MOVING} if self.ref.seed else {}),
            "versions": runtimes.versions(*_PACKAGES),
        }

    def _known(self) -> Card | None:
        """The card of an earlier run; one without parameters is of an old suite, or soon made again."""
        place = self._cache.lookup("card", self._key())
        if place is None:
            return None
        card = msgspec.json.decode((place / "card.json").read_bytes(), type=Card)
        files = all(_unchanged(path, sha256) for path, sha256 in card.dependencies)
        return card if card.parameters and files and _same(dict(card.packages)) else None

    def _learn(self) -> Card:
        card: Card = self._ask(".card", stage=Stage.BUILD, timeout=BUILD_SECONDS)
        # What only the worker finds could not be asked for again without it.
        seen = tuple(package for package in card.packages if _same(dict([package])))
        card = replace(card, packages=seen)
        key = self._key()
        self._cache.discard("card", key)
        self._cache.get_or_build("card", key, lambda folder: _write(folder, card))
        return card


def _write(folder: Path, card: Card) -> None:
    (folder / "card.json").write_bytes(msgspec.json.encode(card))


def _tree(path: Path) -> str:
    if not path.exists():
        raise CaseError(f"the model's file {path} is not there", stage=Stage.BUILD)
    return sha256_tree(path)


def _same(packages: Mapping[str, str]) -> bool:
    """Whether these are the versions that are installed; a card that names no package is of an old suite."""
    return bool(packages) and runtimes.versions(*packages) == packages


def _unchanged(path: str, sha256: str) -> bool:
    return Path(path).is_file() and sha256_file(Path(path)) == sha256

"""What the suite's own tests share: a small cache, and small models in every format, made once.

TensorFlow stays out of pytest's process here as it does in a real run: models
are built in a worker, and processes of a parallel run share what one of them built.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from suite import runtimes
from suite.cache import Cache, sha256_file
from suite.converters import artifact as artifacts
from suite.discovery import from_model_file
from suite.feeds import Feed, Feeds
from suite.original import Original
from suite.record import Stage
from suite.spec import TFLITE, VARIANTS
from tests.meta import tiny
from tests.meta.product import Product

ROOT = Path(__file__).parents[2]

# The same examples at each run hold what is there; `make test-deeply` draws others, and more, to find
# what is not.
settings.register_profile("tests", derandomize="POCKETPROOF_EXAMPLES" not in os.environ)
settings.load_profile("tests")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """An empty one."""
    return Cache(tmp_path / "cache")


@pytest.fixture
def pool() -> Iterator[runtimes.Pool]:
    """Workers of this test alone, as of a run that has just begun."""
    made = runtimes.Pool()
    yield made
    made.close()


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """One for all tests, and for all processes of a parallel run."""
    own = tmp_path_factory.getbasetemp()
    return Cache((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared_cache")


@pytest.fixture(scope="session")
def tensorflow() -> Iterator[runtimes.Pool]:
    """Workers that live as long as the session: TensorFlow takes seconds to start."""
    made = runtimes.Pool()
    yield made
    made.close()


@pytest.fixture(scope="session")
def saved(shared_cache: Cache, tensorflow: runtimes.Pool) -> Path:
    """The folder with the tiny models in every format."""

    def build(folder: Path) -> None:
        worker = tensorflow.worker("TensorFlow", "suite.runtimes.workshop:Workshop")
        worker.call("tests.meta.tiny:save", folder, stage=Stage.BUILD, timeout=180)

    return shared_cache.get_or_build("tiny", {"code": sha256_file(Path(tiny.__file__))}, build)


@dataclass(frozen=True)
class Subject:
    """One model, its feeds, and its artifacts."""

    original: Original
    feeds: Feeds
    cache: Cache

    def artifact(self, variant: str) -> Path:
        return artifacts.artifact(self.original, VARIANTS[variant], self.feeds, self.cache)[0]


@pytest.fixture(scope="session")
def subject(
    shared_cache: Cache,
    tensorflow: runtimes.Pool,
    saved: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Subject]:
    """A tiny model by its file's name."""

    def make(name: str) -> Subject:
        spec = from_model_file(saved / name)
        original = Original(spec, "offline", shared_cache, tensorflow)
        feeds = Feeds(spec, original.card.inputs, scratch=tmp_path_factory.mktemp("scratch"))
        return Subject(original, feeds, shared_cache)

    return make


@pytest.fixture(scope="session")
def classifier(subject: Callable[[str], Subject]) -> Subject:
    made = subject("classifier.keras")
    for variant in TFLITE:  # while TensorFlow's process holds this model
        made.artifact(variant)
    return made


@pytest.fixture(scope="session")
def expected(classifier: Subject, images: np.ndarray) -> np.ndarray:
    """The classifier's own answers to `images`."""
    return classifier.original.answers(Feed.of({"input": images}))["output"]


@pytest.fixture(scope="session")
def two_headed(subject: Callable[[str], Subject]) -> Subject:
    return subject("two_headed.keras")


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Sixteen images as the classifier takes them."""
    return np.random.default_rng(0).uniform(0, 1, (16, 16, 16, 3)).astype(np.float32)


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python code in a process and a working folder of its own, with the suite importable."""

    def run(
        code: str, *arguments: object, timeout: float = 300, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def product_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all runs from end to end, and all xdist workers: its safety is part of the proof."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "product-cache"


@pytest.fixture
def product(product_cache: Path, tmp_path: Path) -> Product:
    return Product(product_cache, tmp_path)

"""Stand-in phones for all tests here: started once a process, skipped where the machine lacks something."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import suite
from suite.devices import standin, tools
from suite.devices.adb import Device
from suite.devices.bundle import bundle
from suite.devices.rootfs import native_abi
from suite.devices.session import describe
from suite.devices.standin import StandIn
from suite.runtimes.base import TensorInfo
from tests.meta.devices.synthetic import arrange
from tests.meta.product import Product


@contextmanager
def skipped_where_lacking() -> Iterator[None]:
    """Skip, with what to install, on a machine that cannot; .ci/run demands that it can."""
    try:
        yield
    except tools.Lacking as error:
        if os.environ.get("POCKETPROOF_REQUIRE_STAND_INS"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def phone() -> Iterator[StandIn]:
    """A stand-in of this machine's own kind, which the fixture `device` holds."""
    with skipped_where_lacking():
        bundle(native_abi())
        standin.check(native_abi())
    with standin.standins() as (made,):
        yield made


@pytest.fixture(scope="session")
def spare(phone: StandIn) -> Iterator[StandIn]:
    """One that no test holds on to."""
    with standin.standins() as (made,):
        yield made


@pytest.fixture
def synthetic(phone: StandIn) -> Iterator[StandIn]:
    """A stand-in that answers as a phone would; what it says is made up."""
    with standin.standins() as (made,):
        arrange(made)
        yield made


@pytest.fixture(scope="session")
def device(phone: StandIn) -> Iterator[Device]:
    with Device(phone.serial, phone.adb) as held:
        yield held


@pytest.fixture(scope="session")
def arm64(phone: StandIn) -> Iterator[StandIn]:
    """An emulated one, or this machine's own kind where that is arm64."""
    with skipped_where_lacking():
        bundle("arm64-v8a")
    with standin.standins(abi="arm64-v8a") as (made,):
        yield made


@pytest.fixture
def product(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Product:
    """Runs that share what was converted, and what phones are built of."""
    base = tmp_path_factory.getbasetemp()
    made = Product((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "product-cache", tmp_path)
    made.share_phone_parts()
    return made


@dataclass(frozen=True)
class Artifact:
    """A model that is quick to run, as it is on this machine."""

    path: Path
    tensors: tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]


@pytest.fixture(scope="session")
def digits_cnn() -> Artifact:
    path = suite.convert("digits_cnn", "float32")
    return Artifact(path, describe(path))


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """Images as digits_cnn takes them."""
    return np.random.default_rng(1).uniform(0, 1, (16, 32, 32, 3)).astype(np.float32)

"""What was seen: one record a case, and the words for how it ended.

A record is plain data. What was measured stands in sections, each a module of
this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from suite.record.answers import Accuracy, Contract, Parity
from suite.record.camera import RealTime
from suite.record.costs import Cpu, Energy, Latency, Memory, Sustained, Throughput
from suite.record.disagreements import Disagreements
from suite.record.localisation import Localisation

SCHEMA_VERSION = 1


class Stage(StrEnum):
    """Where in a case's life something was seen."""

    PLAN = "plan"
    BUILD = "build"  # the original model
    CONVERT = "convert"
    LOAD = "load"
    RUN = "run"
    COMPARE = "compare"
    MEASURE = "measure"


class Status(StrEnum):
    """How a check, and so a case, ended."""

    PASSED = "passed"
    FAILED = "failed"
    EXPECTED_FAILURE = "expected_failure"
    UNSUPPORTED = "unsupported"
    SKIPPED = "skipped"
    CRASHED = "crashed"
    ERROR = "error"


OK = frozenset({Status.PASSED, Status.EXPECTED_FAILURE, Status.SKIPPED})


class Check(StrEnum):
    """The questions put to a case; each is one test of `tests/validate`."""

    CONVERSION = "conversion"
    PARITY = "parity"
    ACCURACY = "accuracy"
    CONTRACT = "contract"
    HOST_PARITY = "host_parity"  # of a device
    BENCHMARK = "benchmark"
    REALTIME = "realtime"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """How one check of one case ended."""

    status: Status
    stage: Stage
    message: str = ""
    seconds: float = 0.0  # wall time the check took


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The file that would ship."""

    path: str  # relative to the cache, or as the user gave it
    sha256: str
    size_bytes: int
    parameters: int  # of the original model
    converter: str
    versions: Mapping[str, str]
    ops: Mapping[str, Mapping[str, int]]  # precision -> operator -> count
    minimum_runtime: str | None  # as the converter wrote it into the file
    convert_seconds: float | None
    origin: str = "converted"  # or "given", with --artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticCheck:
    """One thing that was read from a saved artifact without running it."""

    status: Status
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One case: what was asked, how it ended, what was measured.

    `status`, `stage` and `message` are those of the worst check. A section
    that is None was not measured; `reasons` says why, under the section's name.
    """

    case_id: str  # model/variant/target
    stage: Stage
    status: Status
    message: str = ""
    schema_version: int = SCHEMA_VERSION
    checks: Mapping[Check, CheckResult] = field(default_factory=dict)
    planned: tuple[Check, ...] = ()
    artifact: Artifact | None = None
    engine: str = ""  # what ran the artifact, where that is not the target's own: "evaluator"
    static: Mapping[str, StaticCheck] = field(default_factory=dict)  # by name
    parity: Parity | None = None
    host_parity: Parity | None = None  # a device's answers held to this machine's, of the same artifact
    localisation: Localisation | None = None  # of a failure, or where it was asked for
    disagreements: Disagreements | None = None  # of a quantised artifact that answers scores
    accuracy: Accuracy | None = None
    contract: Contract | None = None
    latency: Latency | None = None  # with all cores
    scaling: tuple[Latency, ...] = ()  # one entry a thread count
    throughput: Throughput | None = None
    memory: Memory | None = None
    cpu: Cpu | None = None
    gpu: Mapping[str, Any] | None = None
    energy: Energy | None = None
    thermal: Mapping[str, Any] | None = None
    realtime: RealTime | None = None
    sustained: Sustained | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    override: Mapping[str, float | str] = field(default_factory=dict)  # the fixture's own thresholds
    notes: tuple[str, ...] = ()  # what a reader must know of how this was measured
    environment: Mapping[str, Any] = field(default_factory=dict)
    recorded_at: str = ""  # ISO 8601, UTC

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.case_id.split("/", 2)[0]

    @property
    def variant(self) -> str:
        """Name of the variant."""
        return self.case_id.split("/", 2)[1]

    @property
    def target(self) -> str:
        """Place and engine."""
        return self.case_id.split("/", 2)[2]


SECTIONS = (
    "artifact",
    "parity",
    "host_parity",
    "localisation",
    "disagreements",
    "accuracy",
    "contract",
    "latency",
    "throughput",
    "memory",
    "cpu",
    "gpu",
    "energy",
    "thermal",
    "realtime",
    "sustained",
)

_SELDOM = (
    "realtime",
    "sustained",
    "localisation",
    "disagreements",
)  # asked for in some runs alone: told only with a reason


def unmeasured(record: Record) -> dict[str, str]:
    """Sections that are None, each with its reason."""
    of_devices = ("host_parity",) if record.target.startswith("host/") else ()
    return {
        item.name: record.reasons.get(item.name, "not asked for in this run")
        for item in fields(record)
        if item.name in SECTIONS
        and item.name not in of_devices
        and getattr(record, item.name) is None
        and (item.name in record.reasons or item.name not in _SELDOM)
    }

"""What was seen: one record a case, and the words for how it ended.

A record is plain data. It is written as one line of JSON, read back typed and
checked, and merged with other records of the same case, because a case is
seen in several steps (conversion, parity, accuracy, benchmark) and each step
is kept as soon as it has happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import cache
from typing import Any

import msgspec

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


# A case is as bad as its worst check; a skipped check says nothing against the others.
_SEVERITY = (
    Status.SKIPPED,
    Status.PASSED,
    Status.EXPECTED_FAILURE,
    Status.UNSUPPORTED,
    Status.FAILED,
    Status.CRASHED,
    Status.ERROR,
)
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
class ErrorStats:
    """`actual` against `reference` over one set of samples."""

    n: int
    max_abs_diff: float
    max_scaled_diff: float  # max_abs_diff / standard deviation of the reference
    cosine_similarity: float  # over all samples
    worst_sample_cosine: float  # of the sample that is worst by it
    sqnr_db: float  # over all samples; bit-equal outputs read as SQNR_CAP_DB
    top1_agreement: float | None  # None where the output is not a vector of scores
    worst_index: tuple[int, ...] = ()  # (sample, element...) of max_abs_diff
    worst_reference: float = 0.0
    worst_actual: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """What rounding to the artifact's precision costs the original, and the artifact on the same samples."""

    n: int
    sqnr_db: float  # of the rounded original
    cosine_similarity: float
    top1_agreement: float | None  # None where the output is not a vector of scores
    measured_db: float  # of the artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The artifact held to the original on identical tensors."""

    scale: str  # what was compared: "outputs", "log_probabilities"
    real: ErrorStats
    generated: ErrorStats
    worst_pattern: str  # the generated input with the largest difference
    tolerance: Mapping[str, float | str | None]
    max_steps: float | None = None  # largest difference in quantisation steps, where outputs are 8-bit
    floor: Floor | None = None  # on real inputs
    generated_floor: Floor | None = None
    no_floor: str = ""  # why there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStep:
    """One comparison that isolates one cause: the same samples, all else alike."""

    cause: str  # "conversion", "kernels", "runtime", "delegate", "device"
    before: str  # "original", or a target
    after: str  # a target
    sqnr_db: float | None  # of `after` against `before`; None where it could not be had
    max_abs_diff: float | None
    on_path: bool  # whether this case's own answers come this way
    message: str = ""  # why there is no number


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerError:
    """One tensor of the artifact held to the layer that it stands for."""

    layer: str  # of the original
    fused: tuple[str, ...]  # layers before it that the artifact computes along with it
    operator: str  # of the artifact, which made the tensor
    own_db: float  # SQNR against the layer fed with the artifact's own tensors: what went wrong here
    floor_db: float  # what the precision alone would leave of it
    sqnr_db: float  # against the original's tensor: what has gone wrong so far
    message: str = ""  # where there is no number to be had: another shape, NaN

    @property
    def deficit_db(self) -> float:
        """How far below the floor it is."""
        return self.floor_db - self.own_db


@dataclass(frozen=True, slots=True, kw_only=True)
class Localisation:
    """Where a difference comes in: which step of the chain, and which layer."""

    cause: str  # the step on the case's path that adds the most error; empty where none adds any to speak of
    steps: tuple[ChainStep, ...]
    engine: str = ""  # whose tensors were held to the layers
    layers: tuple[LayerError, ...] = ()  # in the order of execution
    suspect: str | None = None  # the first layer that is below its floor by more than the margin
    margin_db: float = 0.0
    message: str = ""  # in a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginBin:
    """Samples of which the original was about equally sure."""

    low: float  # margin of its two best scores, in deviations of its scores
    high: float
    n: int
    agreed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A held-out sample that is answered otherwise than by the original."""

    sample: int
    margin: float
    reference: str
    actual: str
    truth: str | None = None
    picture: str | None = None  # a data URI


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """An input that was searched for: a real photo with small changes."""

    sample: int
    change: str
    strength: float  # by how many deviations the artifact prefers another answer; below 0 they agree
    margin: float  # of the original's own answer
    reference: str
    actual: str
    picture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The worst of many inputs, each of another photo."""

    tried: int
    disagreed: int
    found: tuple[Sought, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreements:
    """Where a quantised artifact answers otherwise than its original."""

    n: int
    flipped: int
    bins: tuple[MarginBin, ...]  # from the least sure up
    flips: tuple[Flip, ...]  # those that the original was surest of
    search: Search | None = None  # where it was asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Top-k accuracy on labelled samples, and the paired difference to the reference."""

    n: int
    dataset: str
    dataset_sha256: str
    top1: float
    top1_interval: tuple[float, float]  # 95 %, Wilson
    top5: float | None
    reference_top1: float
    reference_top5: float | None
    drop: float  # reference_top1 - top1, on the same samples
    drop_interval: tuple[float, float]  # 95 %, Agresti-Min for matched pairs
    max_drop: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """From photo to label: an app that does what the artifact tells, beside the reference pipeline."""

    photos: int
    max_pixel_diff: (
        float | None
    )  # of prepared tensors, in steps of 0..255; None where they cannot be compared
    labels: int  # that the artifact names
    same_label: float | None  # share of the photos; None where either side names no scores
    wrong: tuple[str, ...] = ()  # what the artifact tells wrongly
    gaps: tuple[str, ...] = ()  # what it leaves open
    in_words: tuple[str, ...] = ()  # what stands in a description alone: the format has no field for it
    float16: bool = False  # the artifact keeps scale and bias in float16, which rounds more


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Raw samples of back-to-back inferences; percentiles are derived, not stored."""

    threads: int
    samples_ns: tuple[int, ...]
    load_ns: int
    first_ns: int
    warmup_ns: tuple[int, ...]
    cpu_ns: int  # process CPU time over the timed loop
    wall_ns: int  # wall time over the timed loop
    others_cpu_ns: int | None = None  # CPU time that other processes took meanwhile; None where not told
    cores: int | None = None  # of the machine, which that time is shared out over
    summary_ms: Mapping[str, float] = field(default_factory=dict)  # of a tool that keeps no samples
    contaminated: str = ""  # why these numbers say nothing: the phone was hot


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Inferences per second, one stream."""

    inferences_per_second: float
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPhase:
    """Memory at the end of a phase, what the process held before the model subtracted."""

    resident_bytes: int
    unique_bytes: int | None  # what would be freed if the process ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Raw times of one camera-paced scheme, in nanoseconds after the first frame was due."""

    threaded: bool  # inference in a thread of its own; else in the camera's callback
    fps: float
    offered: int  # frames
    # Of each answered frame: its number, when it was begun, and how long each stage took.
    taken: tuple[tuple[int, int, int, int, int], ...]  # number, begun, preprocess, infer, postprocess
    shown_ns: tuple[int, ...]  # when each displayed frame was
    wall_ns: int
    cpu_ns: int
    others_cpu_ns: int | None = None  # of other processes meanwhile
    cores: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RealTime:
    """A camera-paced run: both schemes on the same frames; what they say is derived (suite/frames.py)."""

    fps: float
    threads: int  # of the runtime
    frame: str  # size of a camera frame
    schemes: tuple[Stream, ...]
    peak_bytes: int | None = None  # peak resident set, baseline subtracted
    phases: Mapping[str, MemoryPhase] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sustained:
    """Throughput over minutes, in windows of equal length; the last may be shorter."""

    threads: int
    window_seconds: float
    inferences: tuple[int, ...]  # completed in each window
    window_ns: tuple[int, ...]  # wall time of each window
    # Temperature in degrees Celsius by sensor, at the end of each window; empty where none can be read.
    temperatures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    frequencies_mhz: tuple[float, ...] = ()  # mean clock of the cores, at the end of each window


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Measured in a fresh process that holds nothing but the runtime, apart from timing."""

    peak_bytes: int  # peak resident set, baseline subtracted
    baseline_bytes: int  # before the model was loaded
    loaded_bytes: int  # resident after loading, baseline subtracted
    unique_bytes: int | None  # unique set size at the end, baseline subtracted
    phases: Mapping[str, MemoryPhase] = field(default_factory=dict)  # load, first, steady


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """Share of processor time during the timed loop; 100 % is one core."""

    percent: float
    threads: int


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


def encode(record: Record) -> bytes:
    """One line of JSON, without the newline."""
    return msgspec.json.encode(record)


class _Unread(msgspec.Struct, gc=False):
    """One entry of a thread sweep, of which merging asks the thread count alone."""

    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lean(Record):
    """A record whose thread sweep is passed over."""

    scaling: tuple[_Unread, ...] = ()  # type: ignore[assignment]


@cache
def _decoder(kind: type[Record] = Record) -> msgspec.json.Decoder[Record]:
    """Made when it is wanted: it takes as long as reading a hundred records."""
    return msgspec.json.Decoder(kind)


def decode_lines(data: bytes, *, lean: bool = False) -> list[Record]:
    """Read lines at once; ValueError when any does not fit the schema.

    `lean` passes over the thread sweeps, most of what a run holds in bytes.
    """
    records = _decoder(_Lean if lean else Record).decode_lines(data)
    for record in records:
        _check_version(record.schema_version)
    return records


def decode(line: bytes) -> Record:
    """Read one line; ValueError names what does not fit the schema."""
    try:
        record = _decoder().decode(line)
    except msgspec.ValidationError:
        _check_version(msgspec.json.decode(line, type=_Version).schema_version)
        raise
    _check_version(record.schema_version)
    return record


def _check_version(version: int) -> None:
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"found schema_version {version}, expected {SCHEMA_VERSION}: "
            "read these results with the Pocketproof that wrote them"
        )


class _Version(msgspec.Struct):
    schema_version: int


def merge(records: Iterable[Record]) -> Record:
    """Everything seen of one case, later sections over earlier ones.

    A check that was planned and has no result becomes an error: absence is a failure.
    """
    merged: Record | None = None
    for record in records:
        merged = record if merged is None else _merge_two(merged, record)
    if merged is None:
        raise ValueError("no record to merge")
    return _judge(merged)


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
    "thermal",
    "realtime",
    "sustained",
)


def _merge_two(old: Record, new: Record) -> Record:
    if old.case_id != new.case_id:
        raise ValueError(f"records of two cases: {old.case_id} and {new.case_id}")
    scaling = {entry.threads: entry for entry in (*old.scaling, *new.scaling)}
    changes: dict[str, Any] = {
        name: getattr(new, name) if getattr(new, name) is not None else getattr(old, name)
        for name in SECTIONS
    }
    measured = {name for name in SECTIONS if changes[name] is not None}
    reasons = {**old.reasons, **new.reasons}
    return replace(
        new,
        **changes,
        checks=_worse(old.checks, new.checks),
        planned=tuple(dict.fromkeys((*old.planned, *new.planned))),
        scaling=tuple(scaling[threads] for threads in sorted(scaling)),
        reasons={name: reason for name, reason in reasons.items() if name not in measured},
        engine=new.engine or old.engine,
        static={**old.static, **new.static},
        override=new.override or old.override,
        notes=tuple(dict.fromkeys((*old.notes, *new.notes))),
        environment=new.environment or old.environment,
    )


def _worse(old: Mapping[Check, CheckResult], new: Mapping[Check, CheckResult]) -> dict[Check, CheckResult]:
    """A check seen twice (a benchmark has a test a thread count) is as bad as the worse time."""
    checks = dict(old)
    for check, result in new.items():
        seen = checks.get(check, result)
        checks[check] = max(seen, result, key=lambda item: _SEVERITY.index(item.status))
    return checks


def _judge(record: Record) -> Record:
    """Set status, stage and message from the worst check, missing ones included."""
    checks = dict(record.checks)
    for check in record.planned:
        checks.setdefault(
            check,
            CheckResult(
                status=Status.ERROR, stage=Stage.PLAN, message=f"{check} was planned and has no result"
            ),
        )
    if not checks:
        return record
    worst = max(checks.values(), key=lambda result: _SEVERITY.index(result.status))
    return replace(record, checks=checks, status=worst.status, stage=worst.stage, message=worst.message)


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

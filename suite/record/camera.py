"""What happened behind a camera, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from suite.record.costs import MemoryPhase


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
    gpu: Mapping[str, Any] | None = None  # busy behind the camera, in a pass of its own
    thermal: Mapping[str, Any] | None = None  # of a phone, before and after
    reasons: Mapping[str, str] = field(default_factory=dict)  # of `gpu` and `thermal` that are null
    contaminated: str = ""  # why this run says nothing: the phone was hot

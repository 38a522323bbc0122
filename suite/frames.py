"""What a camera-paced run says, derived from its raw times. Definitions: suite/realtime.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from suite.record.camera import RealTime, Stream
from suite.stats import NS_PER_MS, Soundness, percentile, too_busy

KEPT_UP = 0.95  # of the camera's frames: one in twenty may be lost before it is seen
MAX_LATENESS = 0.10  # of the period: a camera later than that is not one, whatever the model did
CLOSE = 0.20  # of the frames lost, at most: in a second a hiccup of the machine costs as many
USABLE_FPS = 1.0  # answers a second below which a smooth picture beside them is no real-time app


class Verdict(StrEnum):
    """Whether a model keeps up with a camera."""

    YES = "yes"
    WITH_THREADS = "with threads"
    NO = "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One scheme; times in milliseconds, None where no frame was answered."""

    displayed_fps: float
    processed_fps: float
    offered: int
    processed: int
    dropped: int
    deadline_misses: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    jitter_ms: float | None  # p95 of how far apart two pictures are, against the camera's period
    preprocess_ms: float | None  # median, as the two below
    infer_ms: float | None
    postprocess_ms: float | None
    pacing_p95_ms: float | None  # how late the camera itself was: of the scheme's clock, not of the model
    cpu_percent: float


def summarise(stream: Stream) -> Summary:
    """Derive everything that is reported of one scheme."""
    period = 1e9 / stream.fps
    latencies = latencies_ns(stream)
    ends = [begun + pre + infer + post for _, begun, pre, infer, post in stream.taken]
    # What began within the window may end beyond it: the window is then as long as that took.
    processing = max(stream.offered * period, max(ends, default=0)) / 1e9
    displaying = max(stream.offered * period, max(stream.shown_ns, default=0)) / 1e9
    gaps = [abs(b - a - period) for a, b in zip(stream.shown_ns, stream.shown_ns[1:], strict=False)]
    return Summary(
        displayed_fps=len(stream.shown_ns) / displaying,
        processed_fps=len(stream.taken) / processing,
        offered=stream.offered,
        processed=len(stream.taken),
        dropped=stream.offered - len(stream.taken),
        deadline_misses=sum(latency > period for latency in latencies),
        latency_p50_ms=_ms(latencies, 0.50),
        latency_p95_ms=_ms(latencies, 0.95),
        jitter_ms=_ms(gaps, 0.95),
        preprocess_ms=_median_ms([row[2] for row in stream.taken]),
        infer_ms=_median_ms([row[3] for row in stream.taken]),
        postprocess_ms=_median_ms([row[4] for row in stream.taken]),
        pacing_p95_ms=_ms(_lateness(stream), 0.95),
        cpu_percent=100 * stream.cpu_ns / max(stream.wall_ns, 1),
    )


def processed_fps(realtime: RealTime) -> float | None:
    """Frames answered a second, in the better of the schemes; None where none was answered."""
    rates = [summarise(stream).processed_fps for stream in realtime.schemes if stream.taken]
    return max(rates, default=None)


def latencies_ns(stream: Stream) -> list[float]:
    """From when a frame was due to its answer, for each answered one."""
    period = 1e9 / stream.fps
    return [begun + pre + infer + post - number * period for number, begun, pre, infer, post in stream.taken]


def _lateness(stream: Stream) -> list[float]:
    """How late the camera was where nothing kept it: every frame with threads, else those it waited for."""
    period = 1e9 / stream.fps
    if stream.threaded:
        return [shown - number * period for number, shown in enumerate(stream.shown_ns)]
    late: list[float] = []
    free = 0.0
    for number, begun, *stages in stream.taken:
        if number * period >= free:
            late.append(begun - number * period)
        free = begun + sum(stages)
    return late


def _ms(values_ns: Sequence[float], fraction: float) -> float | None:
    return percentile(sorted(values_ns), fraction) / NS_PER_MS if values_ns else None


def _median_ms(values_ns: Sequence[int]) -> float | None:
    return _ms(values_ns, 0.5)


def verdict(realtime: RealTime) -> Verdict:
    """Yes where the callback alone keeps up; with threads where the picture does, and answers follow."""
    for stream in realtime.schemes:
        seen = summarise(stream)
        if not stream.threaded and seen.processed_fps >= KEPT_UP * stream.fps:
            return Verdict.YES
    for stream in realtime.schemes:
        seen = summarise(stream)
        smooth = seen.displayed_fps >= KEPT_UP * stream.fps
        if stream.threaded and smooth and seen.processed_fps >= USABLE_FPS:
            return Verdict.WITH_THREADS
    return Verdict.NO


def close_call(stream: Stream) -> bool:
    """Whether so few of the frames that decide were lost that a longer look may decide otherwise."""
    kept = len(stream.shown_ns if stream.threaded else stream.taken)
    return 0 < stream.offered - kept <= CLOSE * stream.offered


def soundness(realtime: RealTime) -> tuple[Soundness, str]:
    """Whether the run can carry a verdict, and what speaks against it.

    Contaminated when it was marked so (a hot phone), or when other processes
    took more than a tenth of the machine in a scheme; unstable when the camera itself was late, by more than
    MAX_LATENESS of its period at p95. A model that keeps up all the same keeps up.
    """
    if realtime.contaminated:
        return Soundness.CONTAMINATED, realtime.contaminated
    for stream in realtime.schemes:
        if told := too_busy(stream):
            return Soundness.CONTAMINATED, f"{told} {scheme(stream)}"
    for stream in realtime.schemes:
        late = _ms(_lateness(stream), 0.95) or 0.0
        if late > MAX_LATENESS * 1e3 / stream.fps:
            return Soundness.UNSTABLE, f"the camera itself was {late:.1f} ms late at p95 {scheme(stream)}"
    return Soundness.SOUND, ""


def scheme(stream: Stream) -> str:
    """What a scheme is called."""
    return "with threads" if stream.threaded else "in the callback"


def sentence(realtime: RealTime) -> str:
    """The verdict as it is reported, marked where the run can hardly carry it."""
    sound, _ = soundness(realtime)
    mark = "" if sound is Soundness.SOUND else f" ({sound})"
    return f"real time at {realtime.fps:g} fps: {verdict(realtime)}{mark}"

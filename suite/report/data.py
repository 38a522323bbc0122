"""What the page's script draws from: a few numbers a case, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from suite.history import Entry
from suite.record import Record
from suite.record.camera import RealTime, Stream
from suite.record.costs import Latency, Sustained
from suite.report.marks import marks
from suite.report.view import Case, View
from suite.stats import percentile

MAX_SAMPLES = 60  # of a latency distribution: its quantiles, where there are more samples
MAX_FRAMES = 90  # of a timeline


def page_data(view: View, history: Sequence[Entry] = ()) -> str:
    """JSON that can stand in a script element: nothing in it ends one."""
    by_case: dict[str, list[Entry]] = {}
    for entry in history:
        by_case.setdefault(entry.case_id, []).append(entry)
    cases = [_case(case, by_case.get(case.record.case_id, ())) for case in view.cases]
    own = {variant: [mark.series, mark.path] for variant, mark in marks(view.variants).items()}
    text = json.dumps({"cases": cases, "marks": own}, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _case(case: Case, history: Sequence[Entry]) -> dict[str, Any]:
    record = case.record
    made = {
        "id": case.anchor,
        "model": record.model,
        "variant": record.variant,
        "target": record.target,
        "status": case.status,
        "size": _rounded(record.artifact.size_bytes / 1e6) if record.artifact else None,
        "top1": _rounded(100 * record.accuracy.top1) if record.accuracy else None,
        "sqnr": _rounded(record.parity.real.sqnr_db) if record.parity else None,
        "p50": _rounded(case.p50_ms),
        "memory": _rounded(record.memory.peak_bytes / 1e6) if record.memory else None,
        "fps": _rounded(max((s.processed_fps for _, s in case.schemes), default=None)),
        "latency": _samples(record.latency),
        "threads": [
            [t.threads, _rounded(t.summary.p50_ms), _rounded(t.summary.p95_ms)] for t in case.timings
        ],
        "camera": _camera(record.realtime),
        "sustained": _sustained(record.sustained),
        "history": _history(record, history),
    }
    return {name: value for name, value in made.items() if value not in (None, [], {})}


def _rounded(value: float | None) -> float | None:
    """Five digits: more than a plot can show."""
    return None if value is None else float(f"{value:.5g}")


def _samples(latency: Latency | None) -> list[float]:
    """Milliseconds, sorted."""
    if latency is None or not latency.samples_ns:
        return []
    ordered = sorted(latency.samples_ns)
    if len(ordered) > MAX_SAMPLES:
        steps = (index / (MAX_SAMPLES - 1) for index in range(MAX_SAMPLES))
        values = [percentile(ordered, step) for step in steps]
    else:
        values = [float(sample) for sample in ordered]
    return [float(f"{value / 1e6:.4g}") for value in values]


def _camera(realtime: RealTime | None) -> list[dict[str, Any]]:
    return [_stream(stream) for stream in realtime.schemes] if realtime else []


def _stream(stream: Stream) -> dict[str, Any]:
    """Tenths of milliseconds, which a pixel cannot show better."""
    tenth = 100_000
    return {
        "threaded": stream.threaded,
        "fps": stream.fps,
        "offered": stream.offered,
        "taken": [
            [row[0], *(round(value / tenth) for value in row[1:])] for row in stream.taken[:MAX_FRAMES]
        ],
    }


def _sustained(sustained: Sustained | None) -> dict[str, Any] | None:
    if sustained is None:
        return None
    pairs = zip(sustained.inferences, sustained.window_ns, strict=True)
    sensors = sustained.temperatures
    warmest = max(sensors, key=lambda name: max(sensors[name]), default="")  # phones have dozens
    return {
        "seconds": sustained.window_seconds,
        "rates": [_rounded(1e9 * count / max(wall, 1)) for count, wall in pairs],
        "sensor": warmest,
        "temperatures": list(sensors.get(warmest, ())),
        "clocks": list(sustained.frequencies_mhz),
    }


def _history(record: Record, entries: Sequence[Entry]) -> list[Mapping[str, Any]]:
    """Runs on the same machine, oldest first; one run is no trend."""
    machine = str(record.environment.get("fingerprint", ""))
    own = [entry for entry in entries if entry.fingerprint == machine]
    if not machine or len(own) < 2:
        return []
    return [
        {
            "run": entry.run,
            "p50": _rounded(entry.p50_ms),
            "size": _rounded(entry.size_bytes / 1e6 if entry.size_bytes is not None else None),
            "top1": _rounded(100 * entry.top1 if entry.top1 is not None else None),
            "sqnr": _rounded(entry.sqnr_db),
            "fps": _rounded(entry.processed_fps),
        }
        for entry in own
    ]

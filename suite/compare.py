"""Two runs side by side: what changed in size, operators, parity, accuracy, latency, real time and memory.

For an upgrade of a converter, a runtime or a checkout. Better and worse are
what is further apart than a run may fall behind its baseline; less is a change.
Pure functions over records; nothing is decided here about whether a release may ship.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from suite import frames, ratio
from suite.ratio import Ratio
from suite.record import OK, Artifact, Record
from suite.record.camera import RealTime
from suite.record.costs import Latency
from suite.stats import Soundness, median_ms, soundness
from suite.thresholds import BaselineTolerance

_SQNR_STEP_DB = 0.1  # below it, kernels that add in another order
_AGREEMENT_STEP = 1e-9


class Change(StrEnum):
    """How a value moved, for who ships the new one."""

    BETTER = "better"
    WORSE = "worse"
    INCONCLUSIVE = "inconclusive"  # what was measured cannot tell
    CHANGED = "changed"  # neither better nor worse by itself, or by too little to matter
    UNLIKE = "unlike"  # not comparable, and why


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One value of one case that is not what it was."""

    case_id: str
    what: str
    change: Change
    old: str
    new: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs; `missing` cases are in the old one alone, `new` ones in the new one alone."""

    differences: tuple[Difference, ...]
    missing: tuple[str, ...]
    new: tuple[str, ...]
    compared: int

    @property
    def worse(self) -> tuple[Difference, ...]:
        """What got worse."""
        return self.of(Change.WORSE)

    def of(self, change: Change) -> tuple[Difference, ...]:
        """What moved in one way."""
        return tuple(item for item in self.differences if item.change is change)


def compare(
    old: Sequence[Record], new: Sequence[Record], tolerance: BaselineTolerance | None = None
) -> Comparison:
    """Every difference, case by case, in the new run's order; beyond `tolerance` it is better or worse."""
    limits = tolerance or BaselineTolerance()
    before = {record.case_id: record for record in old}
    after = {record.case_id: record for record in new}
    common = [(before[case_id], record) for case_id, record in after.items() if case_id in before]
    return Comparison(
        differences=tuple(item for pair in common for item in _differences(*pair, limits)),
        missing=tuple(case_id for case_id in before if case_id not in after),
        new=tuple(case_id for case_id in after if case_id not in before),
        compared=len(common),
    )


def _differences(old: Record, new: Record, limits: BaselineTolerance) -> Iterator[Difference]:
    for look in (_status, _artifact, _parity, _accuracy, _latency, _realtime, _memory):
        yield from look(old, new, limits)


def _made(new: Record, what: str, change: Change, old_text: str, new_text: str, note: str = "") -> Difference:
    return Difference(case_id=new.case_id, what=what, change=change, old=old_text, new=new_text, note=note)


def _by_sign(gain: float) -> Change:
    return Change.BETTER if gain > 0 else Change.WORSE


def _by_step(gain: float, step: float | None) -> Change:
    """Where a gain or a loss up to `step` does not matter; None: none does."""
    return Change.CHANGED if step is None or abs(gain) <= step else _by_sign(gain)


def _by_ratio(old: float, new: float, limit: float | None) -> Change:
    """Of a cost, where a ratio up to `limit` does not matter, either way; None: none does."""
    if limit is None:
        return Change.CHANGED
    if new > old * limit:
        return Change.WORSE
    return Change.BETTER if old > new * limit else Change.CHANGED


def _status(old: Record, new: Record, _: BaselineTolerance) -> Iterator[Difference]:
    if old.status is new.status:
        return
    well = old.status in OK, new.status in OK
    change = Change.CHANGED if well[0] == well[1] else Change.BETTER if well[1] else Change.WORSE
    yield _made(new, "status", change, old.status, new.status, new.message.partition("\n")[0])


# --- the artifact -----------------------------------------------------------


def _artifact(old: Record, new: Record, limits: BaselineTolerance) -> Iterator[Difference]:
    before, after = old.artifact, new.artifact
    if before is None or after is None:
        yield from _lost("artifact", old, new)
        return
    if before.size_bytes != after.size_bytes:
        note = f"{100 * (after.size_bytes / before.size_bytes - 1):+.2f} %" if before.size_bytes else ""
        change = _by_ratio(before.size_bytes, after.size_bytes, limits.max_size_ratio)
        yield _made(new, "size", change, f"{before.size_bytes} B", f"{after.size_bytes} B", note)
    elif before.sha256 != after.sha256:
        yield _made(new, "content", Change.CHANGED, before.sha256[:12], after.sha256[:12], "of the same size")
    yield from _operators(new, before, after)
    if before.minimum_runtime != after.minimum_runtime:
        texts = (before.minimum_runtime or "not stated", after.minimum_runtime or "not stated")
        yield _made(
            new, "minimum runtime", Change.CHANGED, *texts, "older apps cannot load what needs a newer one"
        )
    for name, was, now in _changed({**before.versions}, {**after.versions}):
        yield _made(new, f"{name} that converted", Change.CHANGED, was, now)


def _operators(new: Record, before: Artifact, after: Artifact) -> Iterator[Difference]:
    for name, was, now in _changed(_counts(before), _counts(after), absent="0"):
        yield _made(new, f"operator {name}", Change.CHANGED, was, now)


def _counts(artifact: Artifact) -> dict[str, str]:
    return {
        f"{name} in {precision}": str(count)
        for precision, operators in artifact.ops.items()
        for name, count in operators.items()
    }


def _changed(
    old: Mapping[str, str], new: Mapping[str, str], absent: str = "absent"
) -> Iterator[tuple[str, str, str]]:
    for name in dict.fromkeys((*old, *new)):
        was, now = old.get(name, absent), new.get(name, absent)
        if was != now:
            yield name, was, now


# --- its answers ------------------------------------------------------------


def _parity(old: Record, new: Record, limits: BaselineTolerance) -> Iterator[Difference]:
    before, after = old.parity, new.parity
    if before is None or after is None:
        yield from _lost("parity", old, new)
        return
    for inputs, was, now in (
        ("real", before.real, after.real),
        ("generated", before.generated, after.generated),
    ):
        if (was.n, before.scale) != (now.n, after.scale):
            texts = f"{was.n} samples of {before.scale}", f"{now.n} samples of {after.scale}"
            yield _made(new, f"parity on {inputs} inputs", Change.UNLIKE, *texts, "measured otherwise")
            continue
        gain = now.sqnr_db - was.sqnr_db
        if was.sqnr_db != now.sqnr_db and not abs(gain) < _SQNR_STEP_DB:
            texts = f"{was.sqnr_db:.1f} dB", f"{now.sqnr_db:.1f} dB"
            change = _by_step(gain, limits.max_sqnr_drop_db)
            yield _made(new, f"SQNR on {inputs} inputs", change, *texts, f"{gain:+.1f} dB")
        if was.top1_agreement is not None and now.top1_agreement is not None:
            gain = now.top1_agreement - was.top1_agreement
            if abs(gain) > _AGREEMENT_STEP:
                texts = f"{was.top1_agreement:.4f}", f"{now.top1_agreement:.4f}"
                step = limits.max_top1_drop if inputs == "real" else None  # no baseline bounds the others
                yield _made(new, f"top-1 agreement on {inputs} inputs", _by_step(gain, step), *texts)


def _accuracy(old: Record, new: Record, limits: BaselineTolerance) -> Iterator[Difference]:
    before, after = old.accuracy, new.accuracy
    if before is None or after is None:
        yield from _lost("accuracy", old, new)
        return
    if (before.dataset_sha256, before.n) != (after.dataset_sha256, after.n):
        texts = f"{before.dataset}, n {before.n}", f"{after.dataset}, n {after.n}"
        yield _made(new, "accuracy", Change.UNLIKE, *texts, "other samples")
        return
    if before.reference_top1 != after.reference_top1:
        texts = f"{before.reference_top1:.4f}", f"{after.reference_top1:.4f}"
        yield _made(new, "top-1 of the original", Change.CHANGED, *texts, "the model itself is another one")
    if before.top1 != after.top1:
        gain = after.top1 - before.top1
        yield _made(
            new,
            "top-1",
            _by_step(gain, limits.max_top1_drop),
            f"{before.top1:.4f}",
            f"{after.top1:.4f}",
            f"{round(gain * after.n):+d} samples",
        )


# --- its costs --------------------------------------------------------------


def machine(record: Record) -> Mapping[str, Any]:
    """What is known of what measured: a phone, or else the machine itself."""
    return record.environment.get("device") or record.environment


def like(old: Record, new: Record) -> str:
    """Why costs of the two cannot be compared; empty where they can."""
    prints = [str(record.environment.get("fingerprint", "")) for record in (old, new)]
    if not all(prints):
        return "a run does not say which machine it was measured on"
    if prints[0] != prints[1]:
        seen = [machine(record) for record in (old, new)]
        places = [one.get("cpu") or one.get("model") or "unknown" for one in seen]
        return f"measured on other machines: {prints[0]} ({places[0]}) and {prints[1]} ({places[1]})"
    return ""


def _latency(old: Record, new: Record, limits: BaselineTolerance) -> Iterator[Difference]:
    before, after = old.latency, new.latency
    if before is None or after is None:
        yield from _lost("latency", old, new)
        return
    try:
        texts = f"{median_ms(before):.3f} ms", f"{median_ms(after):.3f} ms"
    except ValueError as error:
        yield _made(new, "p50 latency", Change.UNLIKE, "", "", str(error))
        return
    why = like(old, new)
    if not why and before.threads != after.threads:
        why = f"{before.threads} and {after.threads} threads"
    if not why and not (before.samples_ns and after.samples_ns):
        why = "no single samples were kept, so chance cannot be told"
    if why:
        yield _made(new, "p50 latency", Change.UNLIKE, *texts, why)
        return
    found, change, doubts = latency_change(before, after, limits.max_p50_ratio)
    if change is not Change.CHANGED:
        sure = f"python -m suite compare --models {new.model} --variants {new.variant} OLD NEW"
        note = "; ".join((f"ratio {found}", *doubts, f"not interleaved: to be sure, {sure}"))
        yield _made(new, "p50 latency", change, *texts, note)


def latency_change(old: Latency, new: Latency, limit: float | None) -> tuple[Ratio, Change, list[str]]:
    """The ratio of two finished runs' latencies, what it means, and what speaks against it.

    Worse needs the whole interval beyond `limit`, better the whole interval
    below its inverse; an interval around `limit` whose middle is beyond it is
    inconclusive. Noise only slows: a new run in doubt is inconclusive where it
    may be slower, an old one in doubt always. ValueError where a run has no
    sample, or one that took no time.
    """
    found = ratio.of_runs(old.samples_ns, new.samples_ns)
    doubts = _doubts(soundness(old), soundness(new))
    told = list(doubts.values())
    if limit is None:
        return found, Change.CHANGED, told
    if "old" in doubts or (doubts and found.high > limit):
        return found, Change.INCONCLUSIVE, told
    if found.ratio > limit:
        return found, Change.WORSE if found.low > limit else Change.INCONCLUSIVE, told
    return found, Change.BETTER if found.high < 1 / limit else Change.CHANGED, told


def _doubts(old: tuple[Soundness, str], new: tuple[Soundness, str]) -> dict[str, str]:
    """What speaks against either run."""
    return {
        whose: f"the {whose} run is {sound}: {why}"
        for whose, (sound, why) in (("old", old), ("new", new))
        if sound is not Soundness.SOUND
    }


def _realtime(old: Record, new: Record, limits: BaselineTolerance) -> Iterator[Difference]:
    before, after = old.realtime, new.realtime
    if before is None or after is None:
        yield from _lost("realtime", old, new)
        return
    was, now, change, doubts = fps_change(before, after, limits.min_fps_ratio)
    texts = f"{was:.1f} fps", f"{now:.1f} fps"
    why = like(old, new)
    if not why and (before.fps, before.threads) != (after.fps, after.threads):
        why = "another camera, or another number of threads"
    if why:
        yield _made(new, "processed fps", Change.UNLIKE, *texts, why)
    elif change is not Change.CHANGED:
        yield _made(new, "processed fps", change, *texts, "; ".join(doubts))


def fps_change(old: RealTime, new: RealTime, limit: float | None) -> tuple[float, float, Change, list[str]]:
    """Frames answered a second, then and now, what that means, and what speaks against it.

    Worse is less than `limit` of what it was. As with latencies, a new run in
    doubt is inconclusive where it may be worse, an old one where it may have
    been better: no more than its camera offered.
    """
    was, now = (frames.processed_fps(run) or 0.0 for run in (old, new))
    doubts = _doubts(frames.soundness(old), frames.soundness(new))
    told = list(doubts.values())
    if limit is None:
        return was, now, Change.CHANGED, told
    if "old" in doubts and now < limit * old.fps:
        return was, now, Change.INCONCLUSIVE, told
    if now < limit * was:
        return was, now, Change.INCONCLUSIVE if doubts else Change.WORSE, told
    return was, now, Change.BETTER if was < limit * now else Change.CHANGED, told


def _memory(old: Record, new: Record, limits: BaselineTolerance) -> Iterator[Difference]:
    before, after = old.memory, new.memory
    if before is None or after is None:
        yield from _lost("memory", old, new)
        return
    texts = f"{before.peak_bytes / 1e6:.1f} MB", f"{after.peak_bytes / 1e6:.1f} MB"
    if why := like(old, new):
        yield _made(new, "peak memory", Change.UNLIKE, *texts, why)
        return
    change = _by_ratio(before.peak_bytes, after.peak_bytes, limits.max_peak_ratio)
    if change is not Change.CHANGED:  # pages make it coarse
        yield _made(new, "peak memory", change, *texts)


def _lost(section: str, old: Record, new: Record) -> Iterator[Difference]:
    """A section that one of the two lacks."""
    had, has = getattr(old, section) is not None, getattr(new, section) is not None
    if had and not has:
        note = new.reasons.get(section, "no reason was recorded")
        yield _made(new, section, Change.WORSE, "measured", "not measured", note)
    elif has and not had:
        yield _made(new, section, Change.CHANGED, "not measured", "measured")


# --- as text ----------------------------------------------------------------


def lines(comparison: Comparison, name: Callable[[str], str] = str) -> Iterator[str]:
    """The comparison for a terminal: what got worse first, then the rest, case by case."""
    counted = {change: len(comparison.of(change)) for change in Change}
    said = ", ".join(f"{count} {change}" for change, count in counted.items() if count) or "nothing changed"
    yield f"{comparison.compared} cases in both: {said}"
    for title, case_ids in (("missing from the new run", comparison.missing), ("new", comparison.new)):
        if case_ids:
            yield f"{len(case_ids)} {title}: {', '.join(map(name, case_ids))}"
    for change in (Change.WORSE, Change.INCONCLUSIVE, Change.BETTER, Change.UNLIKE, Change.CHANGED):
        yield from _section(change, comparison.of(change))


def _section(change: Change, items: Iterable[Difference]) -> Iterator[str]:
    """One line for each way things differ; cases that differ alike share it."""
    alike: dict[tuple[str, str, str, str], list[str]] = {}
    for item in items:
        alike.setdefault((item.what, item.old, item.new, item.note), []).append(item.case_id)
    if alike:
        yield f"{change}:"
    for (what, old, new, note), case_ids in alike.items():
        where = case_ids[0] if len(case_ids) == 1 else f"{len(case_ids)} cases ({case_ids[0]}, ...)"
        yield f"  {where}: {what} {old} -> {new}" + (f" ({note})" if note else "")

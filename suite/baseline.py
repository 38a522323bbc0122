"""An earlier run that a run is held to, if both were measured on the same machine.

A baseline is results like any other, with only as many raw samples as a ratio
needs, committed under `reports/baselines/<environment>/`. What it lacks, and
what the run lacks of it, is named: absence is never a pass.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from suite import compare, frames, gates, store
from suite.compare import Change
from suite.errors import PocketproofError, UsageError
from suite.gates import Finding, Gate, Verdict, number
from suite.record import OK, Artifact, Record
from suite.record.answers import Accuracy, Parity
from suite.record.camera import RealTime
from suite.record.costs import Latency, Memory
from suite.record.lines import encode
from suite.stats import Soundness, median_ms, soundness
from suite.thresholds import BaselineTolerance, Thresholds

FOLDER = Path("reports") / "baselines"
FILE = "baseline.jsonl"
KEPT_SAMPLES = 256  # neighbours, from the middle of the loop
HELD = ("artifact", "parity", "accuracy", "memory", "latency", "realtime")  # sections of a record
_SET = "python -m suite baseline set"


@dataclass(frozen=True, slots=True)
class Baseline:
    """Records by case and by the fingerprint of the machine that measured them."""

    path: Path
    records: Mapping[str, Mapping[str, Record]]


def load(path: Path) -> Baseline:
    """Read one baseline, a run, or every baseline of a folder.

    UsageError where there is none, saying how to set one.
    """
    files = sorted(path.glob(f"*/{FILE}")) if path.is_dir() else []
    if not files:
        files = [path / FILE if (path / FILE).is_file() else path]
    if not (files[0].is_file() or (files[0] / store.RESULTS).is_file()):
        raise UsageError(f"{path}: no baseline there; set one on the machine that measures: {_SET}")
    found: dict[str, dict[str, Record]] = {}
    for file in files:
        for record in store.load(file).records:
            found.setdefault(record.case_id, {})[fingerprint(record)] = record
    if not found:
        raise UsageError(f"{path}: an empty baseline, which anything would hold; set another: {_SET}")
    return Baseline(path, found)


def fingerprint(record: Record) -> str:
    """Of the machine that measured."""
    return str(record.environment.get("fingerprint", ""))


def judge(results: store.Results, thresholds: Thresholds, baseline: Path | None = None) -> Verdict:
    """The gate's word on a run, held to its thresholds, and to a baseline where one is given."""
    if baseline is None:
        return gates.judge(results.records, thresholds, results.warnings)
    findings, warnings = hold(results.records, load(baseline), thresholds.baseline)
    return gates.judge(results.records, thresholds, (*results.warnings, *warnings), findings)


def hold(
    records: Sequence[Record], baseline: Baseline, tolerance: BaselineTolerance
) -> tuple[list[Finding], list[str]]:
    """What is worse than the baseline, or unlike it; and as warnings what was held to nothing."""
    compared, unlike, new = _matched(records, baseline)
    findings = [
        replace(found, case_id=record.case_id, options=str(record.environment.get("options", "")))
        for old, record in compared
        for found in _worse(old, record, tolerance)
    ]
    findings += [_unlike_finding(why, case_ids, baseline) for why, case_ids in unlike.items()]
    warnings = []
    for missing, text in _missing(records, baseline):
        if missing:
            findings.append(Finding(gate=Gate.BASELINE, message=text))
        else:
            warnings.append(text)
    if new and len(new) == len(records):
        why = "it holds this machine to other cases alone"
        findings.append(_unlike_finding(why, new, baseline))
    elif new:
        warnings.append(f"new since the baseline, and held to nothing in it: {', '.join(new)}. Add: {_SET}")
    if unheld := _unheld(compared):
        warnings.append(f"measured in this run, and not in the baseline: {unheld}. Add: {_SET}")
    return findings, warnings


def _matched(
    records: Sequence[Record], baseline: Baseline
) -> tuple[list[tuple[Record, Record]], dict[str, list[str]], list[str]]:
    """Old records with new ones, and the ids of the rest: unlike, by the reason, or new to a known machine.

    A machine that the baseline does not know is unlike it, whichever cases it measured.
    """
    compared: list[tuple[Record, Record]] = []
    unlike: dict[str, list[str]] = {}
    new: list[str] = []
    machines = {print_: old for known in baseline.records.values() for print_, old in known.items()}
    for record in records:
        known, own = baseline.records.get(record.case_id, {}), fingerprint(record)
        if own and own in known:
            compared.append((known[own], record))
        elif own and own in machines and not known:
            new.append(record.case_id)
        else:
            unlike.setdefault(_unlike(record, known or machines), []).append(record.case_id)
    return compared, unlike, new


def _unlike(record: Record, known: Mapping[str, Record]) -> str:
    return compare.like(next(iter(known.values())), record) or "no fingerprint was recorded"


def _unheld(pairs: Iterable[tuple[Record, Record]]) -> str:
    """Sections that the new record of a pair has and the old one lacks, of how many cases."""
    return _counted(
        section
        for old, new in pairs
        for section in HELD
        if getattr(old, section) is None and getattr(new, section) is not None
    )


def _counted(sections: Iterable[str]) -> str:
    return ", ".join(f"{section} of {count} cases" for section, count in Counter(sections).items())


def _unlike_finding(why: str, case_ids: Sequence[str], baseline: Baseline) -> Finding:
    message = (
        f"{len(case_ids)} cases are unlike the baseline {baseline.path}: {why}. "
        f"They were not compared ({', '.join(case_ids)}). Set a baseline on this machine: {_SET}"
    )
    return Finding(gate=Gate.BASELINE, message=message, inconclusive=True)


def _missing(records: Sequence[Record], baseline: Baseline) -> Iterator[tuple[bool, str]]:
    """Cases of the baseline that the run lacks: a finding, or a warning where they were not asked for."""
    present = {record.case_id for record in records}
    machines = {fingerprint(record) for record in records}
    asked = {str(record.environment.get("options", "")) for record in records}
    lost: list[str] = []
    left_out: list[str] = []
    elsewhere: dict[str, list[str]] = {}
    for case_id, known in baseline.records.items():
        if case_id in present:
            continue
        own = [record for print_, record in known.items() if print_ in machines]
        if not own:
            for record in known.values():
                elsewhere.setdefault(environment_name(record), []).append(case_id)
            continue
        same = any(str(record.environment.get("options", "")) in asked for record in own)
        (lost if same else left_out).append(case_id)
    if lost:
        advice = f"Bring them back, or, if they were taken out on purpose, set the baseline anew: {_SET}"
        yield True, f"{len(lost)} cases of the baseline are missing from the run: {', '.join(lost)}. {advice}"
    if left_out:
        yield False, f"{len(left_out)} cases of the baseline were not asked for: {', '.join(left_out)}"
    for machine, case_ids in elsewhere.items():
        place = machine or "an unnamed machine"
        told = f"{len(case_ids)} cases of the baseline were measured on {place}, and this run was not"
        yield False, f"{told}: {', '.join(case_ids)}"


# --- one case ---------------------------------------------------------------


def _worse(old: Record, new: Record, tolerance: BaselineTolerance) -> Iterator[Finding]:
    """Section by section; what the baseline has and the run lacks is a finding too."""
    if new.status not in OK:
        return  # the gate on its status says so
    latency = partial(_latency, f"--models {new.model} --variants {new.variant}")
    looks: Sequence[Callable[[Any, Any, BaselineTolerance], Iterator[Finding]]]
    looks = (_size, _sqnr, _top1, _memory, latency, _fps)
    for section, look in zip(HELD, looks, strict=True):
        before, after = getattr(old, section), getattr(new, section)
        if before is not None and after is not None:
            yield from look(before, after, tolerance)
        elif before is not None:
            why = new.reasons.get(section, "no reason was recorded")
            message = (
                f"{section}: in the baseline, and not measured in this run ({why}). Measure it, or {_SET}"
            )
            yield Finding(gate=Gate.BASELINE, message=message)


def _exceeds(name: str, value: float, limit: float | None, texts: tuple[str, str]) -> Iterator[Finding]:
    if limit is None or value <= limit:
        return
    message = (
        f"{name}: obtained {number(value, limit)}, expected at most {number(limit, value)}. "
        f"It was {texts[0]}, it is {texts[1]}. If that is meant: {_SET}"
    )
    yield Finding(gate=Gate.BASELINE, message=message, obtained=value, limit=limit)


def _size(before: Artifact, after: Artifact, tolerance: BaselineTolerance) -> Iterator[Finding]:
    texts = f"{before.size_bytes} bytes", f"{after.size_bytes} bytes"
    grown = after.size_bytes / max(before.size_bytes, 1)
    yield from _exceeds("size over the baseline's", grown, tolerance.max_size_ratio, texts)


def _memory(before: Memory, after: Memory, tolerance: BaselineTolerance) -> Iterator[Finding]:
    texts = f"{before.peak_bytes / 1e6:.1f} MB", f"{after.peak_bytes / 1e6:.1f} MB"
    grown = after.peak_bytes / max(before.peak_bytes, 1)
    yield from _exceeds("peak memory over the baseline's", grown, tolerance.max_peak_ratio, texts)


def _sqnr(before: Parity, after: Parity, tolerance: BaselineTolerance) -> Iterator[Finding]:
    if (before.real.n, before.scale) != (after.real.n, after.scale):
        yield _other_samples("parity", f"{before.real.n} samples", f"{after.real.n} samples")
        return
    texts = f"{before.real.sqnr_db:.1f} dB", f"{after.real.sqnr_db:.1f} dB"
    drop = before.real.sqnr_db - after.real.sqnr_db
    yield from _exceeds("SQNR below the baseline's, in dB", drop, tolerance.max_sqnr_drop_db, texts)


def _top1(before: Accuracy, after: Accuracy, tolerance: BaselineTolerance) -> Iterator[Finding]:
    if (before.dataset_sha256, before.n) != (after.dataset_sha256, after.n):
        yield _other_samples("accuracy", f"{before.dataset}, n {before.n}", f"{after.dataset}, n {after.n}")
        return
    texts = f"{before.top1:.4f}", f"{after.top1:.4f}"
    drop = before.top1 - after.top1
    yield from _exceeds("top-1 accuracy below the baseline's", drop, tolerance.max_top1_drop, texts)


def _other_samples(what: str, was: str, now: str) -> Finding:
    message = f"{what}: unlike the baseline, which saw {was}; this run saw {now}. If that is meant: {_SET}"
    return Finding(gate=Gate.BASELINE, message=message, inconclusive=True)


def _latency(case: str, before: Latency, after: Latency, tolerance: BaselineTolerance) -> Iterator[Finding]:
    """The whole interval of the ratio decides; what it straddles is inconclusive."""
    limit = tolerance.max_p50_ratio
    if limit is None:
        return
    if before.threads != after.threads:
        yield _other_samples("latency", f"{before.threads} threads", f"{after.threads} threads")
        return
    if before.summary_ms or after.summary_ms:
        yield from _told(before, after, limit)
        return
    try:
        found, change, doubts = compare.latency_change(before, after, limit)
    except ValueError as error:
        yield Finding(gate=Gate.BASELINE, message=f"latency cannot be compared: {error}. Measure again.")
        return
    if change not in (Change.WORSE, Change.INCONCLUSIVE):
        return
    certain = change is Change.WORSE
    word = "" if certain else "inconclusive, "
    why = f" ({'; '.join(doubts)})" if doubts else ""
    measure = f"python -m suite compare {case} OLD_RUN NEW_RUN"
    message = (
        f"p50 latency over the baseline's: {word}obtained {found}, expected at most {number(limit)}{why}. "
        f"Measure both in turn to be sure: {measure}; if slower is meant: {_SET}"
    )
    yield Finding(
        gate=Gate.BASELINE, message=message, obtained=found.ratio, limit=limit, inconclusive=not certain
    )


def _fps(before: RealTime, after: RealTime, tolerance: BaselineTolerance) -> Iterator[Finding]:
    limit = tolerance.min_fps_ratio
    if limit is None:
        return
    if (before.fps, before.threads) != (after.fps, after.threads):
        setups = (f"a camera of {run.fps:g} fps, {run.threads} threads" for run in (before, after))
        yield _other_samples("real time", *setups)
        return
    was, now, change, doubts = compare.fps_change(before, after, limit)
    if change not in (Change.WORSE, Change.INCONCLUSIVE):
        return
    certain = change is Change.WORSE
    word, why = "" if certain else "inconclusive, ", f" ({'; '.join(doubts)})" if doubts else ""
    message = (
        f"processed fps below the baseline's: {word}obtained {now:.1f}, expected at least "
        f"{limit * was:.1f}{why}. It was {was:.1f}. If that is meant: {_SET}"
    )
    yield Finding(
        gate=Gate.BASELINE, message=message, obtained=now, limit=limit * was, inconclusive=not certain
    )


def _told(old: Latency, new: Latency, limit: float) -> Iterator[Finding]:
    """Where a tool keeps no samples there is no interval: its word alone fails nothing."""
    was, now = median_ms(old), median_ms(new)
    for found in _exceeds("p50 latency over the baseline's", now / was, limit, (f"{was} ms", f"{now} ms")):
        message = f"{found.message}. Inconclusive: the tool keeps no samples"
        yield replace(found, message=message, inconclusive=True)


# --- setting one ------------------------------------------------------------


def save(records: Iterable[Record], folder: Path = FOLDER) -> list[tuple[Path, list[Record]]]:
    """Write one baseline for each machine of a run; returns each file with its cases.

    UsageError for a case that did not end well, that does not say where it was
    measured, or whose latency is unstable or contaminated: a baseline that is
    itself in doubt would excuse anything.
    """
    groups: dict[str, list[Record]] = {}
    doubts = []
    for record in records:
        doubts += [f"{record.case_id} {doubt}" for doubt in _doubts(record)]
        groups.setdefault(environment_name(record), []).append(record)
    if doubts:
        raise UsageError("this run is no baseline: " + "; ".join(doubts[:5]) + _more(doubts[5:]))
    if not groups:
        raise UsageError("this run is no baseline: it holds no case")
    written = []
    for name, group in groups.items():
        path = folder / name / FILE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            store.write_atomic(path, b"".join(encode(_thinned(record)) + b"\n" for record in group))
        except OSError as error:
            raise PocketproofError(f"{path}: cannot write the baseline: {error.strerror}") from error
        written.append((path, group))
    return written


def lacking(records: Iterable[Record]) -> str:
    """What a baseline of these holds no run to: sections, of how many cases; empty where none is missing."""
    return _counted(section for record in records for section in HELD if getattr(record, section) is None)


def _more(rest: Sequence[str]) -> str:
    return f"; and {len(rest)} more" if rest else ""


def _doubts(record: Record) -> Iterator[str]:
    if record.status not in OK:
        yield f"ended as {gates.word(record.status)}"
    if not fingerprint(record):
        yield "does not say where it was measured"
    if record.latency is not None:
        sound, why = soundness(record.latency)
        if sound is not Soundness.SOUND:
            yield f"is {sound}: {why}"
    if record.realtime is not None:
        sound, why = frames.soundness(record.realtime)
        if sound is not Soundness.SOUND:
            yield f"is {sound} behind a camera: {why}"


def environment_name(record: Record) -> str:
    """A folder's name for a machine or a phone: what people know it by, and its fingerprint."""
    seen = compare.machine(record)
    words = [str(seen[name]) for name in ("system", "model", "machine", "abi") if seen.get(name)]
    cores = [f"{seen['cores']}-cores"] if seen.get("cores") else []
    return (
        re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join([*words, *cores, fingerprint(record)])).strip("-").lower()
    )


def _thinned(record: Record) -> Record:
    """The record with only as many raw samples as a ratio needs."""
    thin: Callable[[Latency], Latency] = lambda latency: replace(  # noqa: E731
        latency, samples_ns=_middle(latency.samples_ns), warmup_ns=()
    )
    return replace(
        record,
        latency=thin(record.latency) if record.latency else None,
        scaling=(),
        sustained=None,
    )


def _middle(samples: tuple[int, ...]) -> tuple[int, ...]:
    start = max(0, (len(samples) - KEPT_SAMPLES) // 2)
    return samples[start : start + KEPT_SAMPLES]

"""Records on disk: one line each, as it happens, so that a kill at any moment loses none already written."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from suite.errors import PocketproofError, UsageError
from suite.record import SECTIONS, Record, Status
from suite.record.lines import decode, decode_lines, encode
from suite.record.merging import merge

RESULTS = "results.jsonl"
HELD_TO = "baseline.txt"  # beside them: where the baseline lies that the run is held to
LATEST = "latest"
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


@dataclass(frozen=True, slots=True)
class Results:
    """Every case of a run, merged, in order of first appearance; and what was odd about the file."""

    records: list[Record]
    warnings: list[str]


class Store:
    """The results of one run, in `results.jsonl` of its directory; several processes may append."""

    def __init__(self, run_dir: Path | str) -> None:
        """Hold the results of `run_dir`, which is created at the first append."""
        self.run_dir = Path(run_dir)
        self.path = self.run_dir / RESULTS

    def append(self, record: Record) -> None:
        """Add one record; it is on the disk when this returns.

        A section with a value that is not finite is left out, with the reason,
        because JSON has no such numbers. Raises PocketproofError when the disk
        is full or broken; the records before stay readable.
        """
        line = encode(_finite(record)) + b"\n"
        with self._disk(), self._locked() as descriptor:
            _append_line(descriptor, line)

    def load(self) -> Results:
        """Read the run back; see the function `load`."""
        return load(self.path)

    def compact(self) -> Results:
        """Rewrite the file as one merged record a line, in one step; returns what it holds.

        Raises UsageError as `load` does, and PocketproofError when the disk is full.
        """
        if not self.path.exists():
            return load(self.path)  # raises, saying what to do
        with self._disk(), self._locked():
            results = parse(self.path.read_bytes(), self.path)
            write_atomic(self.path, b"".join(encode(record) + b"\n" for record in results.records))
        return results

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Descriptor of the file at `path`, ours alone until the block ends."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if _is_current(descriptor, self.path):
                    yield descriptor
                    return
            finally:
                os.close(descriptor)  # releases the lock

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _DISK_ERRORS:
                raise PocketproofError(f"{self.path}: cannot write: {error.strerror}") from error
            raise PocketproofError(
                f"{self.path}: {_what_failed(error)}. {_count(self.path)} records are safe in that file. "
                "Free some space (reports/ and the artifact cache are the first places to look), or write "
                "elsewhere with --report-dir, then run again: what is cached is not computed twice"
            ) from error


def load(path: Path | str, *, lean: bool = False) -> Results:
    """Read results, merged by case, from a run's directory or a file.

    `lean` leaves out the thread sweeps, which a gate does not look at.

    A last line without an end is what a kill leaves behind: it is dropped, with
    a warning. Raises UsageError for a file that is not there or cannot be read,
    and for any other line that does not fit, naming it.
    """
    file = results_file(path)
    return parse(read(file), file, lean=lean)


def read(file: Path) -> bytes:
    """A file of results as it is; UsageError where it is not there or cannot be read."""
    try:
        with file.open("rb") as stream:
            with contextlib.suppress(OSError):  # file systems without locks
                fcntl.flock(stream, fcntl.LOCK_SH)
            return stream.read()
    except FileNotFoundError as error:
        raise UsageError(f"{file}: no results there; run pytest first, or name a run's directory") from error
    except OSError as error:
        raise UsageError(f"{file}: cannot read results: {error.strerror}") from error


def results_file(path: Path | str) -> Path:
    """The file with the results, given it or its directory."""
    given = Path(path)
    return given if given.is_file() or given.suffix == ".jsonl" else given / RESULTS


def held_to(run: Path | str) -> Path | None:
    """The baseline that a run was held to while it ran, if any; UsageError where that cannot be read."""
    note = results_file(run).parent / HELD_TO
    try:
        path = Path(os.fsdecode(note.read_bytes().removesuffix(b"\n")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"{note}: cannot read what the run was held to: {error.strerror}") from error
    if not os.access(path, os.R_OK):
        raise UsageError(
            f"{path}: the run was held to this baseline, which cannot be read any more; "
            "bring it back, or name it with --baseline"
        )
    return path


def parse(data: bytes, file: Path, *, lean: bool = False) -> Results:
    """As `load`, of what was read from `file`, which messages name."""
    with no_collection():
        records = parse_whole(data, lean=lean)
        if records is None:
            return _parse_lines(data.split(b"\n"), file)
        return Results(merge_cases(records), [])


def parse_whole(data: bytes, *, lean: bool = False) -> list[Record] | None:
    """All lines at once, which is quicker, unmerged; None where any is odd, to be named line by line."""
    try:
        records = decode_lines(data, lean=lean) if data.endswith(b"\n") else None
    except ValueError:
        return None
    return records if records is not None and all(map(_has_three_parts, records)) else None


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Records hold no cycles; looking for some takes longer than decoding them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _parse_lines(lines: list[bytes], file: Path) -> Results:
    unfinished = lines.pop()  # empty where the last line ended
    records = [_decode_line(line, file, number) for number, line in enumerate(lines, 1) if line.strip()]
    warnings = []
    if unfinished.strip():
        try:
            records.append(_decode_line(unfinished, file, len(lines) + 1))
        except UsageError:
            warnings.append(
                f"{file}: line {len(lines) + 1} breaks off after {len(unfinished)} bytes and was dropped; "
                "the process that wrote it was killed"
            )
    return Results(merge_cases(records), warnings)


def merge_cases(records: Iterable[Record]) -> list[Record]:
    """One record a case, in order of first appearance."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.case_id, []).append(record)
    return [group[0] if len(group) == 1 and _settled(group[0]) else merge(group) for group in groups.values()]


def _settled(record: Record) -> bool:
    """Whether merging would change nothing: a shortcut for compacted runs of thousands of cases."""
    passed, checks = Status.PASSED, record.checks
    return (
        record.status is passed
        and checks.keys() >= set(record.planned)
        and all(result.status is passed for result in checks.values())
    )


def _decode_line(line: bytes, file: Path, number: int) -> Record:
    try:
        record = decode(line)
    except ValueError as error:
        raise UsageError(f"{file}: line {number} does not fit: {error}") from error
    if not _has_three_parts(record):
        raise UsageError(
            f"{file}: line {number} does not fit: case_id {record.case_id!r}, expected model/variant/target"
        )
    return record


def _has_three_parts(record: Record) -> bool:
    model, _, rest = record.case_id.partition("/")
    variant, _, target = rest.partition("/")
    return bool(model and variant and target)


# --- writing ----------------------------------------------------------------


def _append_line(descriptor: int, line: bytes) -> None:
    size = _mend_tail(descriptor)
    try:
        if os.write(descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


def _mend_tail(descriptor: int) -> int:
    """End the last line, so that the next one does not run into it; returns the size.

    A writer that was killed may have left half a line, which was never safe: it is cut off.
    """
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    data = os.pread(descriptor, size, 0)
    start = data.rfind(b"\n") + 1
    try:
        decode(data[start:])
    except ValueError:
        os.ftruncate(descriptor, start)
        return start
    return size + os.write(descriptor, b"\n")


def _is_current(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`; `compact` puts another in its place."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(descriptor)
    return (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the file at `path` in one step: a reader sees the old one or the new one, whole.

    Raises OSError; the old file then stands.
    """
    import tempfile  # not where results are only read: it loads random and shutil

    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _what_failed(error: OSError) -> str:
    return "the disk does not answer (input/output error)" if error.errno == errno.EIO else "the disk is full"


def _count(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n") if path.is_file() else 0
    except OSError:
        return 0


def _finite(record: Record) -> Record:
    """The record without the sections that hold NaN or infinity, the reason in their place."""
    changes: dict[str, Any] = {}
    reasons = dict(record.reasons)
    for name in SECTIONS:
        section = getattr(record, name)
        if section is not None and not _all_finite(msgspec.to_builtins(section)):
            changes[name] = None
            reasons[name] = "a value was NaN or infinite"
    return replace(record, **changes, reasons=reasons) if changes else record


def _all_finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(_all_finite(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_all_finite(item) for item in value)
    return True


# --- runs -------------------------------------------------------------------


def new_run_dir(reports_dir: Path | str) -> Path:
    """Create and return a directory for one run, named by the time (UTC); no two callers get the same."""
    reports = Path(reports_dir)
    reports.mkdir(parents=True, exist_ok=True)
    name = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    attempt = 1
    while True:
        path = reports / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            path.mkdir()
        except FileExistsError:
            attempt += 1
        else:
            return path


def point_latest(reports_dir: Path | str, run_dir: Path | str) -> None:
    """Let `reports/latest` name this run, in one step.

    Raises PocketproofError where something other than a link has that name.
    """
    reports = Path(reports_dir)
    link = reports / LATEST
    if link.exists() and not link.is_symlink():
        raise PocketproofError(f"{link}: is not a link to a run; move it away")
    scratch = reports / f".{LATEST}-{os.getpid()}-{os.urandom(4).hex()}"
    scratch.symlink_to(os.path.relpath(run_dir, reports), target_is_directory=True)
    scratch.replace(link)

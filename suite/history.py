"""What every run measured, in one SQLite file beside the runs; several processes may append."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from suite import frames
from suite.errors import PocketproofError, UsageError
from suite.record import Record
from suite.stats import median_ms

FILE = "history.sqlite"
_VERSION = 2  # of the table; PRAGMA user_version. 1 had no processed_fps
_PATIENCE = 60.0  # seconds that a writer waits for another


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One case of one run; a number that was not measured is None."""

    run: str
    case_id: str
    recorded_at: str
    fingerprint: str
    git_revision: str | None
    status: str
    p50_ms: float | None
    size_bytes: int | None
    sqnr_db: float | None
    top1: float | None
    peak_bytes: int | None
    processed_fps: float | None = None  # behind a camera, in the better of the schemes


_COLUMNS = tuple(item.name for item in fields(Entry))


def entry(run: str, record: Record) -> Entry:
    """The numbers of a record."""
    revision = record.environment.get("git_revision")
    return Entry(
        run=run,
        case_id=record.case_id,
        recorded_at=record.recorded_at,
        fingerprint=str(record.environment.get("fingerprint", "")),
        git_revision=None if revision is None else str(revision),
        status=str(record.status),
        p50_ms=_p50(record),
        size_bytes=record.artifact.size_bytes if record.artifact else None,
        sqnr_db=record.parity.real.sqnr_db if record.parity else None,
        top1=record.accuracy.top1 if record.accuracy else None,
        peak_bytes=record.memory.peak_bytes if record.memory else None,
        processed_fps=frames.processed_fps(record.realtime) if record.realtime else None,
    )


def _p50(record: Record) -> float | None:
    try:
        return median_ms(record.latency) if record.latency else None
    except ValueError:
        return None


def named_by_time(records: Iterable[Record]) -> str:
    """A name for a run whose folder has none of its own: when its first case was done, as folders say it."""
    first = min((record.recorded_at for record in records if record.recorded_at), default="")
    then = datetime.fromisoformat(first) if first else datetime.now(UTC)
    return then.astimezone(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")


def append(path: Path, run: str, records: Iterable[Record]) -> None:
    """Add a run; one that is there already is replaced. PocketproofError where the file cannot be written."""
    places = ", ".join("?" * len(_COLUMNS))
    statement = f"INSERT OR REPLACE INTO entries ({', '.join(_COLUMNS)}) VALUES ({places})"
    with _opened(path) as database, database:
        database.execute("BEGIN IMMEDIATE")
        _create(database)
        database.executemany(statement, [astuple(entry(run, record)) for record in records])


def load(path: Path, model: str = "*", runs: int = 50) -> list[Entry]:
    """Entries of the models that match a pattern, oldest first; UsageError without a file.

    Of each case on each machine the newest `runs`: other models' runs push none of them out.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no history there yet; every run of pytest appends to it")
    columns = ", ".join(_COLUMNS)
    query = f"""
        SELECT {columns} FROM (
            SELECT {columns}, row_number() OVER (
                PARTITION BY case_id, fingerprint ORDER BY recorded_at DESC, run DESC) AS age
            FROM entries WHERE case_id GLOB ?)
        WHERE age <= ? ORDER BY recorded_at, run, case_id"""
    with _opened(path) as database:
        rows = database.execute(query, (f"{model}/*", runs)).fetchall()
    return [Entry(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)) as database:
            if _version_of(database) == 1:
                _add_fps(database)
            if (version := _version_of(database)) not in (0, _VERSION):
                raise UsageError(
                    f"{path}: written by another Pocketproof (version {version}, expected {_VERSION})"
                )
            yield database
    except sqlite3.Error as error:
        raise PocketproofError(
            f"{path}: the history cannot be read or written: {error}. The run's results are safe; "
            "move the file away to begin a new history"
        ) from error


def _version_of(database: sqlite3.Connection) -> int:
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    return version


def _add_fps(database: sqlite3.Connection) -> None:
    """Bring a file of version 1 up to date, unless another process is quicker."""
    with database:
        database.execute("BEGIN IMMEDIATE")
        if _version_of(database) == 1:
            database.execute("ALTER TABLE entries ADD COLUMN processed_fps")
            database.execute("PRAGMA user_version = 2")


def _create(database: sqlite3.Connection) -> None:
    database.execute(
        f"CREATE TABLE IF NOT EXISTS entries ({', '.join(_COLUMNS)}, "
        "PRIMARY KEY (run, case_id)) WITHOUT ROWID"
    )
    database.execute(f"PRAGMA user_version = {_VERSION}")


def beside(run_dir: Path) -> Path | None:
    """The history that a run belongs to, in its own folder or among its siblings; None without one."""
    return next((file for file in (run_dir / FILE, run_dir.parent / FILE) if file.is_file()), None)

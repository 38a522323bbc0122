"""What every run measured, in one SQLite file beside the runs; several processes may append."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from suite.errors import PocketproofError, UsageError
from suite.record import Record
from suite.stats import median_ms

FILE = "history.sqlite"
_VERSION = 1  # of the table; PRAGMA user_version
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
    )


def _p50(record: Record) -> float | None:
    try:
        return median_ms(record.latency) if record.latency else None
    except ValueError:
        return None


def append(path: Path, run: str, records: Iterable[Record]) -> None:
    """Add a run; one that is there already is replaced. PocketproofError where the file cannot be written."""
    places = ", ".join("?" * len(_COLUMNS))
    statement = f"INSERT OR REPLACE INTO entries ({', '.join(_COLUMNS)}) VALUES ({places})"
    with _opened(path) as database, database:
        database.execute("BEGIN IMMEDIATE")
        _create(database)
        database.executemany(statement, [astuple(entry(run, record)) for record in records])


def load(path: Path, model: str = "*", runs: int = 50) -> list[Entry]:
    """Entries of the models that match a pattern, oldest first; UsageError without a file."""
    if not path.is_file():
        raise UsageError(f"{path}: no history there yet; every run of pytest appends to it")
    query = f"""
        SELECT {", ".join(_COLUMNS)} FROM entries
        WHERE case_id GLOB ? AND run IN (
            SELECT run FROM entries GROUP BY run ORDER BY max(recorded_at) DESC, run DESC LIMIT ?)
        ORDER BY recorded_at, run, case_id"""
    with _opened(path) as database:
        rows = database.execute(query, (f"{model}/*", runs)).fetchall()
    return [Entry(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)) as database:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise UsageError(
                    f"{path}: written by another Pocketproof (version {version}, expected {_VERSION})"
                )
            yield database
    except sqlite3.Error as error:
        raise PocketproofError(
            f"{path}: the history cannot be read or written: {error}. The run's results are safe; "
            "move the file away to begin a new history"
        ) from error


def _create(database: sqlite3.Connection) -> None:
    database.execute(
        f"CREATE TABLE IF NOT EXISTS entries ({', '.join(_COLUMNS)}, "
        "PRIMARY KEY (run, case_id)) WITHOUT ROWID"
    )
    database.execute(f"PRAGMA user_version = {_VERSION}")


def beside(run_dir: Path) -> Path | None:
    """The history that a run belongs to, in its own folder or among its siblings; None without one."""
    return next((file for file in (run_dir / FILE, run_dir.parent / FILE) if file.is_file()), None)

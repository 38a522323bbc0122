"""Records on disk: nothing written is lost, whoever writes and whatever is killed."""

from __future__ import annotations

import errno
import math
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import pytest

from suite.errors import PocketproofError, UsageError
from suite.record import Check, Status
from suite.record.lines import encode
from suite.store import RESULTS, Store, load, merge_cases, new_run_dir, point_latest, write_atomic
from tests.meta import records

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "run")


def _append_many(run_dir: str, writer: int, count: int) -> None:
    store = Store(run_dir)
    for index in range(count):
        store.append(records.passed(f"model_{writer}_{index}"))


def _compact_often(run_dir: str, count: int) -> None:
    for _ in range(count):
        Store(run_dir).compact()


# --- reading ----------------------------------------------------------------


def test_what_is_appended_is_loaded_in_order(store: Store) -> None:
    run = records.run()
    for record in run:
        store.append(record)
    assert [record.case_id for record in store.load().records] == [record.case_id for record in run]
    assert store.load().records[0] == run[0]
    assert load(store.run_dir) == load(store.path) == store.load()


def test_what_a_gate_does_without_is_not_read_and_nothing_else_is_lost(store: Store) -> None:
    steps = [replace(records.passed(), scaling=(entry,)) for entry in records.passed().scaling]
    for record in (*steps, records.passed("resnet50")):
        store.append(record)
    lean, full = load(store.path, lean=True), store.load()
    assert [len(record.scaling) for record in lean.records] == [2, 2]
    for a, b in zip(lean.records, full.records, strict=True):
        assert all(
            getattr(a, item.name) == getattr(b, item.name) for item in fields(b) if item.name != "scaling"
        )
    assert lean.records[0].scaling != full.records[0].scaling


def test_steps_of_a_case_are_merged_where_it_first_appeared(store: Store) -> None:
    first, other = records.passed("squeezenet"), records.passed("resnet50")
    failed = records.with_check(first, Check.PARITY, Status.FAILED, "too far")
    for record in (replace(first, parity=None), other, failed):
        store.append(record)
    loaded = store.load().records
    assert [record.model for record in loaded] == ["squeezenet", "resnet50"]
    assert loaded[0].status is Status.FAILED


@pytest.mark.parametrize("record", records.run(), ids=lambda record: record.case_id)
def test_the_short_cut_for_lone_records_judges_as_merging_does(record: object) -> None:
    from suite.record import Record
    from suite.record.merging import merge

    assert isinstance(record, Record)
    alone, merged = merge_cases([record])[0], merge([record])
    assert (alone.status, alone.checks, alone.artifact) == (merged.status, merged.checks, merged.artifact)


def test_planned_without_result_is_an_error_when_alone(store: Store) -> None:
    checks = {Check.CONVERSION: records.checks()[Check.CONVERSION]}
    store.append(replace(records.passed(), checks=checks))
    assert store.load().records[0].status is Status.ERROR


def test_a_line_cut_short_by_a_kill_is_dropped_with_a_warning(store: Store) -> None:
    store.append(records.passed())
    with store.path.open("ab") as stream:
        stream.write(encode(records.passed("resnet50"))[:100])
    results = store.load()
    assert [record.model for record in results.records] == ["squeezenet"]
    assert len(results.warnings) == 1
    assert "line 2 breaks off after 100 bytes" in results.warnings[0]


def test_a_whole_last_line_without_newline_counts(store: Store) -> None:
    store.run_dir.mkdir()
    store.path.write_bytes(encode(records.passed()))
    assert len(store.load().records) == 1
    store.append(records.passed("resnet50"))
    assert [record.model for record in store.load().records] == ["squeezenet", "resnet50"]


def test_the_next_append_does_not_run_into_a_line_cut_short(store: Store) -> None:
    store.append(records.passed())
    with store.path.open("ab") as stream:
        stream.write(b'{"case_id": "half')
    store.append(records.passed("resnet50"))
    assert [record.model for record in store.load().records] == ["squeezenet", "resnet50"]
    assert store.load().warnings == []


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"{", "truncated"),
        (b"\xff\xfe", "."),
        (b'{"schema_version": 1}', "case_id"),
        (encode(replace(records.passed(), schema_version=7)), "schema_version 7"),
        (encode(replace(records.passed(), case_id="squeezenet")), "model/variant/target"),
        (encode(replace(records.passed(), case_id="squeezenet//")), "model/variant/target"),
    ],
    ids=["cut", "no text", "no case", "another schema", "model alone", "empty parts"],
)
def test_any_other_bad_line_is_named(store: Store, line: bytes, what: str) -> None:
    store.append(records.passed())
    with store.path.open("ab") as stream:
        stream.write(line + b"\n" + encode(records.passed("resnet50")) + b"\n")
    with pytest.raises(UsageError, match=rf"results\.jsonl: line 2 does not fit: .*{what}"):
        store.load()


def test_no_results_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run pytest first"):
        load(tmp_path)
    with pytest.raises(UsageError, match="run pytest first"):
        Store(tmp_path).compact()


def test_an_empty_file_is_an_empty_run(tmp_path: Path) -> None:
    (tmp_path / RESULTS).touch()
    assert load(tmp_path).records == []


# --- writing ----------------------------------------------------------------


def test_several_processes_append_while_another_compacts(store: Store) -> None:
    store.append(records.passed("first"))
    writers = [SPAWN.Process(target=_append_many, args=(str(store.run_dir), n, 25)) for n in range(3)]
    compactor = SPAWN.Process(target=_compact_often, args=(str(store.run_dir), 25))
    for process in (*writers, compactor):
        process.start()
    for process in (*writers, compactor):
        process.join(60)
        assert process.exitcode == 0
    results = store.load()
    expected = {"first"} | {f"model_{writer}_{index}" for writer in range(3) for index in range(25)}
    assert {record.model for record in results.records} == expected
    assert results.warnings == []


def test_compact_leaves_one_line_a_case_and_the_same_content(store: Store) -> None:
    for record in (replace(records.passed(), parity=None), records.passed("resnet50"), records.passed()):
        store.append(record)
    before = store.load().records
    assert store.compact().records == before == store.load().records
    assert store.path.read_bytes().count(b"\n") == 2
    assert [path.name for path in store.run_dir.iterdir()] == [RESULTS]


def test_compact_of_a_bad_file_changes_nothing(store: Store) -> None:
    store.append(records.passed())
    content = store.path.read_bytes() + b"nonsense\n"
    store.path.write_bytes(content)
    with pytest.raises(UsageError, match="line 2"):
        store.compact()
    assert store.path.read_bytes() == content


def test_a_section_that_is_not_finite_is_left_out_with_the_reason(store: Store) -> None:
    record = replace(records.passed(), parity=records.parity(sqnr_db=40.0, max_abs_diff=math.nan))
    store.append(record)
    loaded = store.load().records[0]
    assert loaded.parity is None
    assert loaded.reasons["parity"] == "a value was NaN or infinite"
    assert loaded.accuracy == record.accuracy


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_full_disk_says_so_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / RESULTS).symlink_to("/dev/full")
    with pytest.raises(PocketproofError, match=r"the disk is full\. 0 records are safe .* --report-dir"):
        Store(tmp_path).append(records.passed())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_half_way_leaves_the_rest_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    for model in ("squeezenet", "resnet50"):
        store.append(records.passed(model))
    content = store.path.read_bytes()
    write = os.write

    def fail_half_way(descriptor: int, data: bytes) -> int:
        write(descriptor, data[:50])
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", fail_half_way)
    what = "disk is full" if code == errno.ENOSPC else "input/output error"
    with pytest.raises(PocketproofError, match=rf"{what}.*2 records are safe"):
        store.append(records.passed("densenet121"))
    assert store.path.read_bytes() == content


def test_a_short_write_is_a_full_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append(records.passed())
    content = store.path.read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:50]))
    with pytest.raises(PocketproofError, match="1 records are safe"):
        store.append(records.passed("resnet50"))
    assert store.path.read_bytes() == content


def test_a_failed_replacement_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", _raise_full)
    with pytest.raises(OSError, match="space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def _raise_full(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# --- runs -------------------------------------------------------------------


def test_no_two_runs_share_a_directory(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        directories = list(pool.map(lambda _: new_run_dir(tmp_path / "reports"), range(24)))
    assert len(set(directories)) == 24
    assert all(directory.is_dir() for directory in directories)


def test_latest_points_at_the_newest_even_when_moved(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    for _ in range(2):
        newest = new_run_dir(reports)
        point_latest(reports, newest)
    moved = reports.rename(tmp_path / "elsewhere")
    assert (moved / "latest").resolve() == (moved / newest.name).resolve()
    assert sorted(path.name for path in moved.iterdir() if path.name.startswith(".")) == []


def test_latest_does_not_replace_a_directory(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(PocketproofError, match="not a link"):
        point_latest(tmp_path, new_run_dir(tmp_path))

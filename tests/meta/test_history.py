"""The history: every run's numbers, whoever writes at the same time, and never at the cost of a run."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from suite import history
from suite.__main__ import main
from suite.errors import PocketproofError, UsageError
from tests.meta import records
from tests.meta.conftest import ROOT

WRITER = """
import sys
from pathlib import Path
from suite import history
from tests.meta import records
run = [records.passed(), records.passed("resnet50")]
for index in range(20):
    history.append(Path(sys.argv[1]), f"{sys.argv[2]}-{index:02}", run)
"""


def test_runs_come_back_oldest_first_and_by_model(tmp_path: Path) -> None:
    file = tmp_path / history.FILE
    for day in (3, 1, 2):
        record = replace(records.passed(), recorded_at=f"2026-01-0{day}T00:00:00+00:00")
        history.append(file, f"run{day}", [record, records.passed("resnet50")])
    assert [entry.run for entry in history.load(file, "squeezenet")] == ["run1", "run2", "run3"]
    assert {entry.case_id for entry in history.load(file, "res*")} == {"resnet50/float32/host/litert-xnnpack"}
    assert {entry.run for entry in history.load(file, runs=1, model="squeezenet")} <= {"run1", "run2", "run3"}
    (entry,) = [entry for entry in history.load(file, "squeezenet") if entry.run == "run1"]
    assert entry.p50_ms == pytest.approx(9.1, rel=0.1)
    assert (entry.sqnr_db, entry.status) == (112.0, "passed")


def test_other_models_runs_push_none_of_a_model_out(tmp_path: Path) -> None:
    file = tmp_path / history.FILE
    record = replace(records.passed(), recorded_at="2026-01-01T00:00:00+00:00")
    history.append(file, "first", [record, replace(record, environment={"fingerprint": "elsewhere"})])
    history.append(file, "second", [replace(record, recorded_at="2026-01-02T00:00:00+00:00")])
    for day in range(3, 28):
        then = f"2026-01-{day:02}T00:00:00+00:00"
        history.append(file, f"other{day}", [replace(records.passed("resnet50"), recorded_at=then)])
    assert [entry.run for entry in history.load(file, "squeezenet", runs=5)] == ["first", "second"]
    assert {entry.run for entry in history.load(file, runs=1)} == {"first", "second", "other27"}
    assert len(history.load(file, "resnet50", runs=5)) == 5


def test_a_machines_runs_push_none_of_another_machine_out(tmp_path: Path) -> None:
    file = tmp_path / history.FILE
    for day, machine in enumerate(("a", "b", "b", "b"), 1):
        then = f"2026-01-0{day}T00:00:00+00:00"
        record = replace(records.passed(), recorded_at=then, environment={"fingerprint": machine})
        history.append(file, f"run{day}", [record])
    assert [entry.run for entry in history.load(file, runs=2)] == ["run1", "run3", "run4"]


def test_frames_behind_a_camera_are_kept(tmp_path: Path) -> None:
    file = tmp_path / history.FILE
    slow = replace(records.passed("resnet50"), realtime=records.realtime(100.0))
    history.append(file, "run", [slow, replace(records.passed(), realtime=None)])
    fps = {entry.case_id.partition("/")[0]: entry.processed_fps for entry in history.load(file)}
    assert fps == {"resnet50": pytest.approx(9.8, abs=0.5), "squeezenet": None}


def test_a_file_of_the_first_version_is_read_and_kept_on_with(tmp_path: Path) -> None:
    file = tmp_path / history.FILE
    history.append(file, "old", [records.passed()])
    with sqlite3.connect(file) as database:
        database.execute("ALTER TABLE entries DROP COLUMN processed_fps")
        database.execute("PRAGMA user_version = 1")
    database.close()
    (entry,) = history.load(file)
    assert (entry.run, entry.processed_fps) == ("old", None)
    history.append(file, "run", [records.passed()])
    assert [entry.processed_fps is None for entry in history.load(file)] == [True, False]


def test_runs_into_one_folder_are_told_apart_by_their_time() -> None:
    first, second = (replace(records.passed(), recorded_at=f"2026-01-01T00:00:0{n}+00:00") for n in (1, 2))
    assert history.named_by_time([second, first]) == "2026-01-01T00-00-01Z"
    assert history.named_by_time([second]) == "2026-01-01T00-00-02Z"
    assert history.named_by_time([])


def test_what_was_not_measured_is_null_and_a_run_is_kept_once(tmp_path: Path) -> None:
    file = tmp_path / history.FILE
    for _ in range(2):
        history.append(file, "run", [replace(records.passed(), latency=None, accuracy=None)])
    (entry,) = history.load(file)
    assert (entry.p50_ms, entry.top1) == (None, None)


def test_two_processes_append_at_once(tmp_path: Path) -> None:
    file = tmp_path / history.FILE
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(file), name], cwd=ROOT) for name in ("a", "b")
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    entries = history.load(file, runs=1000)
    assert len(entries) == 80
    assert len({entry.run for entry in entries}) == 40


def test_a_damaged_file_and_one_of_another_version_say_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / history.FILE
    file.write_bytes(b"no database at all" * 100)
    with pytest.raises(PocketproofError, match="move the file away"):
        history.append(file, "run", [records.passed()])
    file.unlink()
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(UsageError, match="another Pocketproof"):
        history.load(file)


def test_the_command_shows_each_case_over_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / history.FILE
    assert main(["history", "squeezenet", "--file", str(file)]) == 2
    assert "no history there yet" in capsys.readouterr().err
    for name in ("monday", "tuesday"):
        history.append(file, name, [records.passed()])
    assert main(["history", "squeezenet", "--file", str(file)]) == 0
    told = capsys.readouterr().out
    assert told.index("squeezenet/float32") < told.index("monday") < told.index("tuesday")
    assert "top-1 0.9639" in told
    assert main(["history", "nothing", "--file", str(file)]) == 2


def test_the_history_of_a_run_is_found_beside_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert history.beside(run) is None
    history.append(tmp_path / history.FILE, "run", [])
    assert history.beside(run) == tmp_path / history.FILE

"""A run's folder: it holds what this run found, and nothing of the one before."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from suite import store
from suite.devices.fleet import Fleet
from suite.errors import UsageError
from suite.run import Run
from suite.thresholds import Thresholds

OLD = ("results.jsonl", "index.html", "summary.md", "junit.xml", "benchmark.json")


def begun(report_dir: Path | None, root: Path) -> Run:
    """A run that has not yet made its folder."""
    option = SimpleNamespace(report_dir=report_dir and str(report_dir))
    return Run(
        config=SimpleNamespace(option=option, rootpath=root),
        cases=[],
        thresholds=Thresholds(),
        bounds=None,
        dataset=None,
        continues=False,
        phones=Fleet(),
    )


def test_nothing_of_an_earlier_run_is_left_in_a_folder_that_is_used_again(tmp_path: Path) -> None:
    for name in (*OLD, "history.sqlite", "prove.json"):
        (tmp_path / name).write_text("of an earlier run")
    assert begun(tmp_path, tmp_path).open() == tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.sqlite", "prove.json"]


def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = begun(tmp_path / "file" / "run", tmp_path)
    with pytest.raises(UsageError, match=r"file/run: cannot be written .*Not a directory.*--report-dir"):
        run.open()
    assert not run.begun
    (tmp_path / "reports").write_text("")
    with pytest.raises(UsageError, match=r"reports: cannot be written"):
        begun(None, tmp_path).open()


def test_a_run_is_the_latest_from_its_first_case_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    earlier = store.new_run_dir(tmp_path / "reports")
    store.point_latest(tmp_path / "reports", earlier)
    run = begun(None, tmp_path)
    latest = tmp_path / "reports" / "latest"
    run.open()
    assert latest.resolve() == earlier.resolve(), "as long as nothing was planned"
    run.plan([])
    assert latest.resolve() == run.open().resolve()


def test_a_run_into_a_folder_of_its_own_is_not_the_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    begun(tmp_path / "mine", tmp_path).plan([])
    assert not (tmp_path / "reports").exists()

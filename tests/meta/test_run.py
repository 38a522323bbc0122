"""A run's folder: it holds what this run found, and nothing of the one before."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from suite import store
from suite.devices.fleet import Fleet
from suite.discovery import BUNDLED, load_fixture
from suite.errors import UsageError
from suite.matrix import Case
from suite.record import Check
from suite.run import _SELECTING, Run, _baseline, _bounds
from suite.spec import VARIANTS, Target
from suite.thresholds import Thresholds
from tests.meta import records
from tests.meta.product import ROOT

CASE = Case(load_fixture(BUNDLED / "digits_cnn.py"), VARIANTS["float32"], Target("host", "litert-xnnpack"))
OLD = ("results.jsonl", "index.html", "summary.md", "junit.xml", "benchmark.json", "baseline.txt")


def begun(report_dir: Path | None, root: Path, baseline: Path | None = None) -> Run:
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
        baseline=baseline,
    )


def test_nothing_of_an_earlier_run_is_left_in_a_folder_that_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    kept = ["history.sqlite", "prove.json"]
    for name in (*OLD, *kept):
        (tmp_path / name).write_text("of an earlier run")
    run = begun(tmp_path, tmp_path)
    assert run.open() == tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*OLD, *kept]), "nothing was selected"
    assert not run.begun, "those results are another run's"
    run.plan([(CASE, Check.CONVERSION)])
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == sorted(
        [store.RESULTS, *kept]
    )
    assert run.begun


def test_a_test_of_minutes_is_reproduced_with_them(tmp_path: Path) -> None:
    run = begun(tmp_path, tmp_path)
    given = dict.fromkeys(_SELECTING, "") | {"models": "digits_cnn", "profile": "smoke", "sustained": 2.0}
    vars(run.config.option).update(given)
    case = "[digits_cnn/int8/host/litert-xnnpack]"
    line = run.reproduced_by(f"tests/validate/test_sustained.py::test_sustained{case}")
    assert line.endswith(f"test_sustained{case}' --profile=smoke --models=digits_cnn --sustained=2")
    assert "sustained" not in run.reproduced_by(f"tests/validate/test_parity.py::test_parity{case}")


@pytest.mark.parametrize("text", ["-inf,inf", "nan,1", "0,1e400", "1,0", "0;1", "3"])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"--input-range {text!r} is ")):
        _bounds(text)
    assert _bounds("-1,1.5") == (-1.0, 1.5)


@pytest.mark.parametrize("given", ["-1", "inf", "nan"])
def test_minutes_that_never_pass_are_refused(given: str) -> None:
    command = [sys.executable, "-m", "pytest", f"--sustained={given}", "--collect-only", "-q"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 4
    assert f"--sustained {given}: give the minutes, such as 10" in done.stderr


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


def test_what_a_run_is_held_to_is_kept_beside_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    baseline = tmp_path / "baselines"
    baseline.mkdir()
    begun(tmp_path / "run", tmp_path, baseline).plan([])
    assert store.held_to(tmp_path / "run") == baseline
    baseline.rmdir()
    with pytest.raises(UsageError, match="held to this baseline, which cannot be read"):
        store.held_to(tmp_path / "run")
    begun(tmp_path / "run", tmp_path).plan([])
    assert store.held_to(tmp_path / "run") is None, "of the run before"


def test_a_baseline_is_another_run_and_stays_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def asked(baseline: str, report_dir: str | None = None) -> Path | None:
        return _baseline(SimpleNamespace(option=SimpleNamespace(baseline=baseline, report_dir=report_dir)))

    earlier = store.new_run_dir("reports").resolve()
    store.point_latest("reports", earlier)
    store.Store(earlier).append(records.passed())
    assert asked("") is None
    assert asked("reports/latest", "elsewhere") == earlier, "where it leads to before this run begins"
    for same in (str(earlier), "reports/latest/results.jsonl"):
        with pytest.raises(UsageError, match="held to itself"):
            asked(same, "reports/latest")
    with pytest.raises(UsageError, match="no baseline there"):
        asked("nowhere")

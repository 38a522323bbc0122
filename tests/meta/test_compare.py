"""Two runs side by side: each kind of difference is found and named, and none where there is none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite import compare
from suite.__main__ import main
from suite.compare import Change
from suite.record import Check, Record, Status
from suite.record.lines import encode
from tests.meta import records

HERE = {"fingerprint": "aaaa", "cpu": "one"}


def made(**changes: Any) -> Record:
    return replace(records.passed(), environment=HERE, **changes)


def write(path: Path, run: list[Record]) -> Path:
    path.mkdir()
    (path / "results.jsonl").write_bytes(b"".join(encode(record) + b"\n" for record in run))
    return path


def test_a_run_is_no_different_from_itself() -> None:
    run = [replace(record, environment=HERE) for record in records.run()]
    found = compare.compare(run, run)
    assert found.differences == ()
    assert (found.missing, found.new, found.compared) == ((), (), len(run))


OLD = made()
PLANTED: tuple[tuple[str, Callable[[], Record], str, Change], ...] = (
    ("status", lambda: records.with_check(OLD, Check.PARITY, Status.FAILED, "off"), "status", Change.WORSE),
    ("larger", lambda: made(artifact=records.artifact(size_bytes=9_000_000)), "size", Change.WORSE),
    ("smaller", lambda: made(artifact=records.artifact(size_bytes=9_000)), "size", Change.BETTER),
    ("bytes", lambda: made(artifact=records.artifact(sha256="0" * 64)), "content", Change.CHANGED),
    (
        "operators",
        lambda: made(artifact=records.artifact(ops={"float32": {"CONV_2D": 25, "QUANTIZE": 1}})),
        "operator CONV_2D in float32",
        Change.CHANGED,
    ),
    (
        "runtime",
        lambda: made(artifact=records.artifact(minimum_runtime="2.1.0")),
        "minimum runtime",
        Change.CHANGED,
    ),
    (
        "converter",
        lambda: made(artifact=records.artifact(versions={"tensorflow": "2.22.0", "keras": "3.13.1"})),
        "tensorflow that converted",
        Change.CHANGED,
    ),
    ("sqnr", lambda: made(parity=records.parity(60.0)), "SQNR on real inputs", Change.WORSE),
    (
        "agreement",
        lambda: made(parity=records.parity(112.0, top1_agreement=0.9)),
        "top-1 agreement on real inputs",
        Change.WORSE,
    ),
    ("other samples", lambda: made(accuracy=records.accuracy(0.9, 0, n=10)), "accuracy", Change.UNLIKE),
    ("accuracy", lambda: made(accuracy=records.accuracy(0.964, 9)), "top-1", Change.WORSE),
    (
        "original",
        lambda: made(accuracy=records.accuracy(0.5, 0)),
        "top-1 of the original",
        Change.CHANGED,
    ),
    ("slower", lambda: made(latency=records.latency(20.0)), "p50 latency", Change.WORSE),
    ("faster", lambda: made(latency=records.latency(4.0)), "p50 latency", Change.BETTER),
    ("threads", lambda: made(latency=records.latency(9.1, 1)), "p50 latency", Change.UNLIKE),
    (
        "machine",
        lambda: replace(made(latency=records.latency(20.0)), environment={**HERE, "fingerprint": "bbbb"}),
        "p50 latency",
        Change.UNLIKE,
    ),
    ("no machine", lambda: replace(made(), environment={}), "p50 latency", Change.UNLIKE),
    ("no samples", lambda: made(latency=replace(OLD.latency, samples_ns=())), "p50 latency", Change.UNLIKE),
    ("memory", lambda: made(memory=replace(OLD.memory, peak_bytes=10**9)), "peak memory", Change.WORSE),
    ("lost", lambda: made(parity=None), "parity", Change.WORSE),
)


@pytest.mark.parametrize(("name", "new", "what", "change"), PLANTED, ids=[row[0] for row in PLANTED])
def test_a_planted_difference_is_found(
    name: str, new: Callable[[], Record], what: str, change: Change
) -> None:
    found = compare.compare([OLD], [new()]).differences
    assert (what, change) in [(item.what, item.change) for item in found]
    if change is Change.UNLIKE:
        assert all(item.note for item in found if item.what == what)


def test_a_section_that_came_is_a_change_and_no_harm() -> None:
    (found,) = compare.compare([made(memory=None)], [OLD]).differences
    assert (found.what, found.change) == ("memory", Change.CHANGED)


def test_cases_of_one_run_alone_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = write(tmp_path / "old", [OLD, made(case_id="gone/float32/host/x")])
    new = write(tmp_path / "new", [OLD, made(case_id="come/float32/host/x")])
    assert main(["compare", str(old), str(new)]) == 1  # absence is no pass
    told = capsys.readouterr().out
    assert "1 missing from the new run: gone/float32/host/x" in told
    assert "1 new: come/float32/host/x" in told
    assert "1 cases in both: nothing changed" in told


def test_the_upgrade_of_a_converter_is_told_in_lines_that_cases_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = [replace(record, environment=HERE) for record in records.run() if record.artifact]
    upgraded = [
        replace(
            record, artifact=replace(record.artifact, versions={"tensorflow": "2.22.0", "keras": "3.13.1"})
        )
        for record in run
    ]
    upgraded[0] = replace(upgraded[0], parity=records.parity(50.0))
    old, new = write(tmp_path / "old", run), write(tmp_path / "new", upgraded)
    assert main(["compare", str(old), str(new), "--json", str(tmp_path / "found.json")]) == 1
    told = capsys.readouterr().out
    assert f"{len(run)} cases (mobilenet_v1/float32" in told
    assert "tensorflow that converted 2.21.0 -> 2.22.0" in told
    assert told.index("worse:") < told.index("changed:")
    assert '"what": "SQNR on real inputs"' in (tmp_path / "found.json").read_text()


def test_better_alone_is_no_failure(tmp_path: Path) -> None:
    old = write(tmp_path / "old", [made(latency=records.latency(20.0))])
    assert main(["compare", str(old), str(write(tmp_path / "new", [OLD]))]) == 0


def test_runs_without_a_common_case_compare_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = write(tmp_path / "old", [OLD])
    new = write(tmp_path / "new", [made(case_id="other/float32/host/x")])
    assert main(["compare", str(old), str(new)]) == 2
    assert "no case in common" in capsys.readouterr().err


def test_results_are_compared_where_no_runtime_is_installed(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old", [OLD]), write(tmp_path / "new", [OLD])
    code = (
        "import sys; vendors = ['tensorflow', 'keras', 'ai_edge_litert', 'coremltools']; "
        "sys.modules.update(dict.fromkeys(vendors)); "
        "from suite.__main__ import main; sys.exit(main(['compare', *sys.argv[1:]]))"
    )
    done = subprocess.run([sys.executable, "-c", code, old, new], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1 cases in both: nothing changed\n")

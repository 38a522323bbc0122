"""A run held to a baseline: like with like, nothing missing in silence, no verdict on what is in doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite import baseline
from suite.__main__ import main
from suite.errors import UsageError
from suite.gates import Finding, Gate, Verdict
from suite.record import Check, Record, Status
from suite.record.camera import RealTime
from suite.record.lines import encode
from suite.store import HELD_TO, Results, load
from suite.thresholds import BaselineTolerance, Thresholds
from tests.meta import records
from tests.meta.product import ROOT

HERE = {"fingerprint": "aaaa", "cpu": "one", "system": "Linux", "machine": "x86_64", "cores": 2}
ELSEWHERE = {**HERE, "fingerprint": "bbbb", "cpu": "two"}


def made(**changes: Any) -> Record:
    return replace(records.passed(), **{"environment": HERE, **changes})


OLD = made()


def held(
    new: list[Record], tmp_path: Path, old: list[Record] | None = None
) -> tuple[list[Finding], list[str]]:
    baseline.save(old or [OLD], tmp_path)
    return baseline.hold(new, baseline.load(tmp_path), BaselineTolerance())


def test_a_run_like_its_baseline_holds(tmp_path: Path) -> None:
    assert held([OLD], tmp_path) == ([], [])


def busy(realtime: RealTime) -> RealTime:
    schemes = (replace(one, others_cpu_ns=one.wall_ns, cores=2) for one in realtime.schemes)
    return replace(realtime, schemes=tuple(schemes))


WORSE: tuple[tuple[str, Callable[[], Record], str, bool], ...] = (
    ("slower", lambda: made(latency=records.latency(9.1 * 1.3)), "p50 latency over", False),
    ("larger", lambda: made(artifact=records.artifact(size_bytes=9_000_000)), "size over", False),
    ("further off", lambda: made(parity=records.parity(100.0)), "SQNR below", False),
    ("less accurate", lambda: made(accuracy=records.accuracy(0.964, 9)), "top-1 accuracy below", False),
    ("hungrier", lambda: made(memory=replace(OLD.memory, peak_bytes=10**9)), "peak memory over", False),
    ("not compared", lambda: made(parity=None), "parity: in the baseline, and not measured", False),
    ("not timed", lambda: made(latency=None), "latency: in the baseline, and not measured", False),
    ("jerky", lambda: made(realtime=records.realtime(100.0)), "processed fps below", False),
    ("jerky, on a busy machine", lambda: made(realtime=busy(records.realtime(100.0))), "fps below", True),
    ("no camera", lambda: made(realtime=None), "realtime: in the baseline, and not measured", False),
    ("camera", lambda: made(realtime=replace(OLD.realtime, threads=1)), "real time: unlike", True),
    ("threads", lambda: made(latency=records.latency(9.1, 1)), "latency: unlike", True),
    ("samples", lambda: made(accuracy=records.accuracy(0.964, 0, n=20)), "accuracy: unlike", True),
    ("machine", lambda: made(environment=ELSEWHERE), "unlike the baseline", True),
    (
        "machine and case",
        lambda: made(environment=ELSEWHERE, case_id="other/float32/host/x"),
        "unlike the baseline",
        True,
    ),
    ("case", lambda: made(case_id="other/float32/host/x"), "other cases alone", True),
    ("no machine", lambda: made(environment={}), "does not say which machine", True),
    ("no samples", lambda: made(latency=replace(OLD.latency, samples_ns=())), "cannot be compared", False),
)


@pytest.mark.parametrize(("name", "new", "words", "inconclusive"), WORSE, ids=[row[0] for row in WORSE])
def test_what_is_worse_or_unlike_is_found(
    name: str, new: Callable[[], Record], words: str, inconclusive: bool, tmp_path: Path
) -> None:
    findings, _ = held([new()], tmp_path)
    assert [found.inconclusive for found in findings if words in found.message] == [inconclusive]
    assert all(found.gate is Gate.BASELINE for found in findings)


def test_slower_on_a_machine_that_others_used_is_inconclusive(tmp_path: Path) -> None:
    slow = records.latency(9.1 * 1.3)
    busy = replace(slow, others_cpu_ns=slow.wall_ns, cores=2)
    (found,), _ = held([made(latency=busy)], tmp_path)
    assert found.inconclusive
    assert "the new run is contaminated: other processes took 50 %" in found.message
    assert "compare --models squeezenet --variants float32" in found.message


def test_as_quick_as_before_on_a_busy_machine_holds(tmp_path: Path) -> None:
    """Others only slow a model down."""
    busy = replace(records.latency(9.1 * 0.8), others_cpu_ns=10**12, cores=2)
    assert held([made(latency=busy)], tmp_path)[0] == []


def test_a_run_held_to_one_in_doubt_is_inconclusive(tmp_path: Path) -> None:
    """A whole run may be given as the baseline, which nobody asked whether it is sound."""
    assert OLD.latency is not None
    doubtful = made(latency=replace(OLD.latency, others_cpu_ns=10**12, cores=2))
    (tmp_path / "results.jsonl").write_bytes(encode(doubtful) + b"\n")
    (found,), _ = baseline.hold([OLD], baseline.load(tmp_path), BaselineTolerance())
    assert found.inconclusive
    assert "the old run is contaminated" in found.message


def test_as_many_frames_as_before_on_a_busy_machine_hold(tmp_path: Path) -> None:
    assert OLD.realtime is not None
    assert held([made(realtime=busy(OLD.realtime))], tmp_path)[0] == []


def test_a_missing_case_is_a_finding_and_a_new_one_is_named(tmp_path: Path) -> None:
    lost = made(case_id="gone/float32/host/x")
    (found,), (told,) = held([OLD, made(case_id="come/float32/host/x")], tmp_path, [OLD, lost])
    assert "1 cases of the baseline are missing from the run: gone/float32/host/x" in found.message
    assert not found.inconclusive
    assert "come/float32/host/x" in told


def test_cases_that_were_not_asked_for_are_told_and_no_finding(tmp_path: Path) -> None:
    lost = made(case_id="gone/float32/host/x")
    asked = made(environment={**HERE, "options": "--models=squeezenet"})
    findings, (told,) = held([asked], tmp_path, [OLD, lost])
    assert findings == []
    assert "not asked for: gone/float32/host/x" in told


def phone(serial: str, **facts: Any) -> Record:
    """A case of a phone on this machine, which has facts of its own."""
    device = {"serial": serial, "model": f"Phone {serial}", "abi": "arm64-v8a", "cores": 8, **facts}
    environment = {**HERE, "fingerprint": f"of-{serial}".lower(), "device": device}
    return made(environment=environment, case_id=f"squeezenet/float32/android:{serial}/xnnpack")


def test_a_phone_is_held_to_no_other_and_each_is_named_by_its_own_facts(tmp_path: Path) -> None:
    """Their cases bear their serials, so that no case of the one is the other's."""
    (found,), (told,) = held([phone("B")], tmp_path, [phone("A")])
    assert found.inconclusive
    assert "unlike the baseline" in found.message
    assert "of-a (Phone A) and of-b (Phone B)" in found.message
    assert "measured on phone-a-arm64-v8a-8-cores-of-a, and this run was not: squeezenet/float32/" in told
    assert [path.parent.name for path in tmp_path.glob("*/*")] == ["phone-a-arm64-v8a-8-cores-of-a"]
    assert held([phone("A")], tmp_path, [phone("A")]) == ([], [])


def test_a_phone_that_is_new_beside_a_known_one_is_unlike_and_not_only_new(tmp_path: Path) -> None:
    (found,), warnings = held([phone("A"), phone("B")], tmp_path, [phone("A")])
    assert found.inconclusive
    assert "1 cases are unlike the baseline" in found.message
    assert warnings == []


def test_a_baseline_that_lacks_what_the_run_measured_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = made(parity=None, latency=None)
    other = made(case_id="other/float32/host/x", latency=None)
    whole = [OLD, made(case_id=other.case_id)]
    findings, (told,) = held(whole, tmp_path, [lacking, other])
    assert findings == []
    assert "not in the baseline: parity of 1 cases, latency of 2 cases" in told
    assert held([lacking, other], tmp_path, [lacking, other]) == ([], []), "it need not have what no run has"
    (tmp_path / "results.jsonl").write_bytes(encode(lacking) + b"\n" + encode(other) + b"\n")
    assert main(["baseline", "set", str(tmp_path), "--folder", str(tmp_path / "set")]) == 0
    assert "holds no run to: parity of 1 cases, latency of 2 cases" in capsys.readouterr().out


def test_an_empty_run_misses_what_the_baseline_holds(tmp_path: Path) -> None:
    baseline.save([OLD], tmp_path)
    (path,) = tmp_path.glob("*/baseline.jsonl")
    results = Results([], [])
    verdict = baseline.judge(results, Thresholds(), path)
    assert not verdict.passed


def test_baselines_of_several_machines_lie_side_by_side(tmp_path: Path) -> None:
    both = [OLD, made(environment=ELSEWHERE, case_id="phone/int8/android/x")]
    paths = [path for path, _ in baseline.save(both, tmp_path)]
    assert [path.parent.name for path in paths] == ["linux-x86_64-2-cores-aaaa", "linux-x86_64-2-cores-bbbb"]
    assert baseline.hold(both, baseline.load(tmp_path), BaselineTolerance()) == ([], [])


def test_a_baseline_is_small_and_keeps_neighbouring_samples(tmp_path: Path) -> None:
    long = made(latency=records.latency(9.1, n=1024), scaling=(records.latency(9.1, n=1024),), realtime=None)
    ((path, _),) = baseline.save([long], tmp_path)
    kept = baseline.load(path).records[long.case_id]["aaaa"].latency
    assert kept is not None
    assert kept.samples_ns == long.latency.samples_ns[384:640]  # type: ignore[union-attr]
    assert path.stat().st_size < 8000


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (records.with_check(OLD, Check.PARITY, Status.FAILED, "off"), "ended as failed"),
        (made(environment={}), "does not say where"),
        (made(latency=replace(OLD.latency, others_cpu_ns=10**12, cores=2)), "is contaminated"),
        (made(latency=replace(OLD.latency, samples_ns=(5, 10, 20) * 20)), "is unstable"),
        (made(realtime=busy(records.realtime())), "is contaminated behind a camera"),
    ],
)
def test_a_run_in_doubt_is_no_baseline(spoilt: Record, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        baseline.save([spoilt], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_baseline_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no baseline there; set one"):
        baseline.load(tmp_path)
    (tmp_path / "results.jsonl").write_text("")
    with pytest.raises(UsageError, match="empty baseline"):
        baseline.load(tmp_path)
    with pytest.raises(UsageError, match="holds no case"):
        baseline.save([], tmp_path)


def test_set_show_and_gate_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "results.jsonl").write_bytes(encode(OLD) + b"\n")
    folder = tmp_path / "baselines"
    assert main(["baseline", "set", str(run), "--folder", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "1 cases; commit it" in told
    assert "lacks" not in told
    assert main(["baseline", "show", "--folder", str(folder)]) == 0
    assert "squeezenet/float32/host/litert-xnnpack: p50 9.1" in capsys.readouterr().out
    assert main(["gate", str(run), "--baseline", str(folder)]) == 0
    slow = made(latency=records.latency(20.0))
    (run / "results.jsonl").write_bytes(encode(slow) + b"\n")
    assert main(["gate", str(run), "--baseline", str(folder), "--explain"]) == 1
    assert "worse than the one that was agreed on" in capsys.readouterr().out
    (run / "results.jsonl").write_bytes(encode(replace(slow, environment=ELSEWHERE)) + b"\n")
    assert main(["gate", str(run), "--baseline", str(folder)]) == 3
    assert "INCONCLUSIVE: this release may not ship yet" in capsys.readouterr().out
    assert main(["report", str(run), "--baseline", str(folder)]) == 0
    assert "may not ship yet" in (run / "index.html").read_text()
    assert main(["gate", str(run), "--baseline", str(tmp_path / "nowhere")]) == 2


def test_what_a_run_was_held_to_it_is_held_to_ever_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline.save([OLD], tmp_path / "baselines")
    run = tmp_path / "run"
    run.mkdir()
    (run / "results.jsonl").write_bytes(encode(made(latency=records.latency(20.0))) + b"\n")
    assert main(["gate", str(run)]) == 0, "held to nothing"
    (run / HELD_TO).write_text(f"{tmp_path / 'baselines'}\n")
    for given in (run, run / "results.jsonl"):
        assert main(["gate", str(given)]) == 1
        assert main(["report", str(given)]) == 0
        assert "FAILED" in capsys.readouterr().out.splitlines()[-1]
    (tmp_path / "baselines").rename(tmp_path / "moved")
    for command in ("gate", "report"):
        assert main([command, str(run)]) == 2
        assert f"{tmp_path / 'baselines'}: the run was held to this baseline" in capsys.readouterr().err
    assert main(["gate", str(run), "--baseline", str(tmp_path / "moved")]) == 1


COMMITTED = sorted((ROOT / baseline.FOLDER).glob(f"*/{baseline.FILE}"))


def test_a_baseline_is_committed_and_small() -> None:
    assert COMMITTED
    assert all(path.stat().st_size < 100_000 for path in COMMITTED)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_a_committed_baseline_holds_its_own_machine_and_says_unlike_of_any_other(path: Path) -> None:
    def judged(run: list[Record]) -> tuple[Verdict, list[Finding]]:
        verdict = baseline.judge(Results(run, []), Thresholds(), ROOT / baseline.FOLDER)
        return verdict, [finding for finding in verdict.findings if finding.gate is Gate.BASELINE]

    kept = load(path).records
    assert {baseline.environment_name(record) for record in kept} == {path.parent.name}
    assert judged(kept)[1] == []
    elsewhere = [
        replace(record, environment={**record.environment, "fingerprint": "another"}) for record in kept
    ]
    verdict, (unlike,) = judged(elsewhere)
    assert not verdict.passed
    assert unlike.inconclusive
    assert f"{len(kept)} cases are unlike the baseline" in unlike.message
    assert all(record.case_id in unlike.message for record in kept)


def test_the_tolerance_is_that_of_pyproject_and_can_be_moved(tmp_path: Path) -> None:
    assert Thresholds.load(ROOT / "pyproject.toml").baseline == BaselineTolerance()
    path = tmp_path / "pyproject.toml"
    path.write_text('[tool.pocketproof.baseline]\nmax_p50_ratio = 1.5\nmax_size_ratio = "unbounded"\n')
    moved = Thresholds.load(path).baseline
    assert (moved.max_p50_ratio, moved.max_size_ratio) == (1.5, None)
    baseline.save([OLD], tmp_path / "b")
    slow = made(latency=records.latency(9.1 * 1.3), artifact=records.artifact(size_bytes=9_000_000))
    assert baseline.hold([slow], baseline.load(tmp_path / "b"), moved)[0] == []
    path.write_text("[tool.pocketproof.baseline]\nmax_p50 = 1.5\n")
    with pytest.raises(UsageError, match="did you mean 'max_p50_ratio'"):
        Thresholds.load(path)

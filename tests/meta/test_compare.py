"""Two runs side by side: each kind of difference is found and named, and none where there is none."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from suite import compare, ratio
from suite.__main__ import main
from suite.compare import Change
from suite.record import Artifact, Check, Record, Status
from suite.record.camera import RealTime
from suite.record.costs import Latency
from suite.record.lines import encode
from suite.thresholds import BaselineTolerance
from tests.meta import records, weather

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


def busy(latency: Latency) -> Latency:
    return replace(latency, others_cpu_ns=latency.wall_ns, cores=2)


def busy_camera(realtime: RealTime) -> RealTime:
    schemes = (replace(one, others_cpu_ns=one.wall_ns, cores=2) for one in realtime.schemes)
    return replace(realtime, schemes=tuple(schemes))


def straddling() -> Latency:
    """A run whose median lies just beyond the limit, and its interval around it."""
    assert OLD.latency is not None
    samples = tuple(round(1.105 * ns) for ns in OLD.latency.samples_ns)
    return replace(OLD.latency, samples_ns=samples)


def grown(count: int) -> Artifact:
    assert OLD.artifact is not None
    return replace(OLD.artifact, size_bytes=OLD.artifact.size_bytes + count)


PLANTED: tuple[tuple[str, Callable[[], Record], str, Change], ...] = (
    ("status", lambda: records.with_check(OLD, Check.PARITY, Status.FAILED, "off"), "status", Change.WORSE),
    ("larger", lambda: made(artifact=records.artifact(size_bytes=9_000_000)), "size", Change.WORSE),
    ("smaller", lambda: made(artifact=records.artifact(size_bytes=9_000)), "size", Change.BETTER),
    ("a byte larger", lambda: made(artifact=grown(1)), "size", Change.CHANGED),
    ("a byte smaller", lambda: made(artifact=grown(-1)), "size", Change.CHANGED),
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
    (
        "agreement within the limit",
        lambda: made(parity=records.parity(112.0, top1_agreement=0.996)),
        "top-1 agreement on real inputs",
        Change.CHANGED,
    ),
    (
        "agreement on generated inputs",
        lambda: made(parity=replace(OLD.parity, generated=records.errors(105.8, n=42, top1_agreement=0.5))),
        "top-1 agreement on generated inputs",
        Change.CHANGED,
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
    (
        "slower, on a machine that others used",
        lambda: made(latency=busy(records.latency(20.0))),
        "p50 latency",
        Change.INCONCLUSIVE,
    ),
    ("hardly slower", lambda: made(latency=straddling()), "p50 latency", Change.INCONCLUSIVE),
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
    ("jerky", lambda: made(realtime=records.realtime(100.0)), "processed fps", Change.WORSE),
    (
        "jerky, on a machine that others used",
        lambda: made(realtime=busy_camera(records.realtime(100.0))),
        "processed fps",
        Change.INCONCLUSIVE,
    ),
    (
        "camera",
        lambda: made(realtime=replace(records.realtime(9.1), threads=1)),
        "processed fps",
        Change.UNLIKE,
    ),
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


RUNS = 100  # pairs of finished runs
DRIFT = 1.08  # from one run to the next: clock speed, heat, where a process lies in memory


def drifted(random: np.random.Generator, slower: float = 1.0) -> Record:
    """A run that is calm in itself, on a machine whose runs as a whole differ."""
    times = 1e7 * slower * random.uniform(1, DRIFT) * np.exp(random.normal(0, 0.02, 256))
    return run_of(times)


def weathered(random: np.random.Generator, slower: float = 1.0) -> Record:
    """A run on a shared machine, whose clock moves by up to a tenth within it too."""
    return run_of(weather.latencies(random, 256, 1e7 * slower))


def run_of(times: npt.NDArray[np.float64]) -> Record:
    return made(latency=replace(records.latency(), samples_ns=tuple(times.astype(np.int64).tolist())))


Finished = Callable[..., Record]


def pairs(finished: Finished, slower: float = 1.0) -> Iterator[tuple[Record, Record]]:
    for seed in range(RUNS):
        random = np.random.default_rng([seed, 6])
        yield finished(random), finished(random, slower)


def changes_of_latency(finished: Finished, slower: float = 1.0) -> Counter[Change]:
    seen: Counter[Change] = Counter()
    for old, new in pairs(finished, slower):
        found = compare.compare([old], [new]).differences
        seen.update([item.change for item in found if item.what == "p50 latency"] or [Change.CHANGED])
    return seen


def test_runs_of_the_same_raise_no_alarm_for_the_machine_drifted_between_them() -> None:
    assert changes_of_latency(drifted) == {Change.CHANGED: RUNS}


def test_runs_of_the_same_on_a_shared_machine_seldom_raise_one() -> None:
    seen = changes_of_latency(weathered)
    assert seen[Change.WORSE] + seen[Change.BETTER] <= RUNS // 20, seen
    assert seen[Change.CHANGED] >= RUNS // 2, seen  # and it is not all left undecided


@pytest.mark.parametrize(("finished", "told"), [(drifted, 1.0), (weathered, 0.5)])
def test_a_run_that_is_much_slower_never_passes(finished: Finished, told: float) -> None:
    seen = changes_of_latency(finished, 1.5)
    assert seen[Change.WORSE] + seen[Change.INCONCLUSIVE] == RUNS, seen
    assert seen[Change.WORSE] >= told * RUNS, seen


@pytest.mark.parametrize("finished", [drifted, weathered])
def test_to_judge_finished_runs_as_interleaved_ones_would_raise_false_alarms(finished: Finished) -> None:
    """The planted bad way: as if the machine did not drift from one run to the next."""
    alarms = 0
    for old, new in pairs(finished):
        assert old.latency is not None
        assert new.latency is not None
        word = ratio.verdict(ratio.of_runs(old.latency.samples_ns, new.latency.samples_ns))
        alarms += word in (ratio.Verdict.SLOWER, ratio.Verdict.FASTER)
    assert alarms > RUNS // 4


def test_an_old_run_in_doubt_excuses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Others may have slowed it as much as the new one is slower by itself."""
    assert OLD.latency is not None
    old = write(tmp_path / "old", [made(latency=busy(OLD.latency))])
    assert main(["compare", str(old), str(write(tmp_path / "new", [OLD]))]) == 3
    told = capsys.readouterr().out
    assert "inconclusive:" in told
    assert "the old run is contaminated: other processes took 50 %" in told
    assert "compare --models squeezenet --variants float32 OLD NEW" in told


def test_a_camera_in_doubt_excuses_nothing_but_what_reached_its_rate() -> None:
    slow, quick = records.realtime(100.0), records.realtime(9.1)

    def change(old: RealTime, new: RealTime) -> Change:
        return compare.fps_change(old, new, 0.9)[2]

    assert change(busy_camera(slow), slow) is Change.INCONCLUSIVE
    assert change(busy_camera(slow), quick) is Change.BETTER  # no camera offers more
    assert change(slow, busy_camera(slow)) is Change.CHANGED
    assert change(slow, quick) is Change.BETTER
    assert change(quick, slow) is Change.WORSE


def test_what_got_worse_outweighs_what_cannot_be_told(tmp_path: Path) -> None:
    assert OLD.latency is not None
    old = write(tmp_path / "old", [made(latency=busy(OLD.latency))])
    assert main(["compare", str(old), str(write(tmp_path / "new", [made(parity=records.parity(60.0))]))]) == 1


def test_how_far_apart_is_worse_stands_in_pyproject(tmp_path: Path) -> None:
    slower = made(latency=records.latency(9.1 * 1.3))
    assert compare.compare([OLD], [slower]).worse
    assert not compare.compare([OLD], [slower], BaselineTolerance(max_p50_ratio=2.0)).worse
    assert not compare.compare([OLD], [slower], BaselineTolerance(max_p50_ratio=None)).worse
    config = tmp_path / "pyproject.toml"
    config.write_text("[tool.pocketproof.baseline]\nmax_p50_ratio = 2.0\n")
    runs = [str(write(tmp_path / name, [run])) for name, run in (("old", OLD), ("new", slower))]
    assert main(["compare", *runs]) == 1
    assert main(["compare", *runs, "--config", str(config)]) == 0


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

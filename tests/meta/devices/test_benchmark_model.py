"""Google's benchmark_model: what it prints, whether the delegate ran, and a synthetic one on a stand-in."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from suite import benchmark, gates, on_phone
from suite.cache import Cache, sha256_file
from suite.devices import benchmark_model
from suite.devices.adb import Device
from suite.devices.benchmark_model import BenchmarkModelSession, located, parse
from suite.devices.tools import Lacking
from suite.errors import CaseError, CheckFailed, StagedError, UsageError, WorkerCrashed
from suite.record import Stage
from suite.report import words
from suite.runtimes.base import TimingPolicy
from suite.spec import Budget
from suite.stats import median_ms, summary_of
from tests.meta.devices.conftest import Artifact

# The lines as the tool's source writes them.
TIMES = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Num threads: [4]
INFO: Graph: [/data/local/tmp/m.tflite]
INFO: Loaded model /data/local/tmp/m.tflite
{delegation}INFO: The input model file size (MB): 3.58
INFO: Initialized session in 842.225ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=13 first=115098 curr=36666 min=32079 max=115098 avg=40199.8 std=21694{newer}

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=1694 first=35688 curr=33419 min=30394 max=42335 avg=35134.9 std=1733{newer}

INFO: Inference timings in us: Init: 842225, First inference: 115098, Warmup (avg): 40199.8, Inference (avg): 35134.9
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE ...
INFO: Memory footprint delta from the start of the tool (MB): init=63.4883 overall=74.6641
INFO: Overall peak memory footprint (MB) via periodic monitoring: 93.2383
"""  # noqa: E501 - as they are printed
COMPLETE = "INFO: Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.\n"  # noqa: E501
PARTIAL = (
    "INFO: Explicitly applied GPU delegate, and the model graph will be partially executed by the delegate "
    "w/ 3 delegate kernels.\n"
)
NONE = (
    "INFO: Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate.\n"
)
OLD = "Applied GPU delegate, and the model graph will be completely executed w/ the delegate.\n"
ON_CPU = COMPLETE.replace("GPU", "XNNPACK")


def said(delegation: str = "", newer: str = "") -> str:
    return TIMES.format(delegation=delegation, newer=newer)


def test_its_figures_are_read() -> None:
    told = parse(said(newer=" p5=31000 median=34900 p95=38500"))
    assert (told.init_us, told.first_us, told.warmup_us, told.mean_us) == (842225, 115098, 40199.8, 35134.9)
    assert told.summary_ms == {
        "mean": 35.1349,
        "n": 1694,
        "min": 30.394,
        "max": 42.335,
        "std": 1.733,
        "p5": 31.0,
        "p50": 34.9,
        "p95": 38.5,
    }
    assert (told.init_mb, told.overall_mb) == (63.4883, 74.6641)


def test_an_older_build_tells_less() -> None:
    told = parse(said())
    assert "p50" not in told.summary_ms
    assert told.summary_ms["mean"] == pytest.approx(35.1349)
    short = (
        "Inference timings in us: Init: 5388, First inference: 101726, "
        "Warmup (avg): 1.00135e+07, Inference (avg): 90865.9"
    )
    told = parse(short)
    assert told.warmup_us == 1.00135e7
    assert (told.init_mb, told.overall_mb, told.delegations) == (None, None, ())
    with pytest.raises(ValueError, match="no inference timings"):
        parse("Segmentation fault")


@pytest.mark.parametrize(
    "lines", [COMPLETE, OLD, ON_CPU + COMPLETE, COMPLETE + PARTIAL.replace("GPU", "XNNPACK")]
)
def test_a_delegate_that_took_the_whole_graph_holds(lines: str) -> None:
    told = parse(said(lines))
    for engine in ("gpu", "xnnpack", "cpu"):
        benchmark_model.check_delegation(told, engine, "phone")


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (PARTIAL, PARTIAL),
        (NONE, NONE),
        (ON_CPU + NONE, NONE),
        (NONE + ON_CPU, NONE),
        (COMPLETE + PARTIAL, PARTIAL),
        (ON_CPU, "nothing in the output says that it ran"),
        (COMPLETE.replace("GPU", "NNAPI"), "nothing in the output says that it ran"),
        ("", "nothing in the output says that it ran"),
    ],
)
def test_a_delegate_that_did_not_is_told(lines: str, why: str) -> None:
    told = parse(said(lines))
    benchmark_model.check_delegation(told, "xnnpack", "phone")
    with pytest.raises(CheckFailed, match=r"phone: the GPU did not run the whole graph") as caught:
        benchmark_model.check_delegation(told, "gpu", "phone")
    assert caught.value.stage is Stage.RUN
    assert why.removeprefix("INFO: ").rstrip(".\n") in str(caught.value)


def test_the_program_is_named_by_path_or_with_what_lies_beside_it(tmp_path: Path) -> None:
    program = tmp_path / "benchmark_model"
    program.write_text("x")
    (tmp_path / "libLiteRtDispatch.so").write_text("y")
    assert dict(located(str(program), "arm64-v8a").files) == {"benchmark_model": program}
    beside = located(str(tmp_path), "arm64-v8a")
    assert set(beside.files) == {"benchmark_model", "libLiteRtDispatch.so"}
    assert beside.sha256 == sha256_file(program)
    with pytest.raises(UsageError, match="no such program; give the path of benchmark_model"):
        located(str(tmp_path / "absent"), "arm64-v8a")


def test_what_cannot_be_fetched_says_what_was_tried(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_model, "_URL", "http://127.0.0.1:9/android_{}_benchmark_model")
    with pytest.raises(
        Lacking,
        match=r"could not be fetched from http://127.0.0.1:9/android_aarch64_benchmark_model: .*refused",
    ) as caught:
        located("", "arm64-v8a", cache)
    assert "--benchmark-model PATH" in str(caught.value)
    with pytest.raises(Lacking, match="publishes no benchmark_model for the ABI x86_64"):
        located("", "x86_64", cache)


def test_it_is_fetched_once_and_known_by_its_hash(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = tmp_path / "android_aarch64_benchmark_model"
    served.write_bytes(b"\x7fELF" + os.urandom(100))
    monkeypatch.setattr(benchmark_model, "_URL", f"{tmp_path.as_uri()}/android_{{}}_benchmark_model")
    first = located("", "arm64-v8a", cache)
    assert first.sha256 == sha256_file(served)
    served.unlink()
    assert located("", "arm64-v8a", cache) == first


# --- on a stand-in, by a program that is synthetic --------------------------------------------

PROGRAM = """#!/system/bin/sh
# synthetic: prints what benchmark_model prints, and answers with zeros of the output's size
for word in "$@"; do case $word in
  --output_filepath=*) head -c 40 /dev/zero > ${{word#*=}};;
  --use_gpu=true) used=1;;
esac; done
{early}
cat <<'END'
{text}END
"""


def tool(folder: Path, text: str, early: str = "") -> benchmark_model.Tool:
    program = folder / "benchmark_model"
    program.write_text(PROGRAM.format(text=text, early=early))
    return located(str(program), "x86_64")


def session(
    device: Device, artifact: Artifact, made: benchmark_model.Tool, engine: str
) -> BenchmarkModelSession:
    return BenchmarkModelSession(
        device, artifact.path, tool=made, engine=engine, tensors=artifact.tensors, threads=4
    )


def test_it_runs_behind_the_same_protocol(
    device: Device, digits_cnn: Artifact, digits: np.ndarray, tmp_path: Path
) -> None:
    made = tool(tmp_path, said(COMPLETE, newer=" p5=31000 median=34900 p95=38500"))
    there = session(device, digits_cnn, made, "gpu")
    answers = there.run_many({"image": digits[:3]})
    assert next(iter(answers.values())).shape == (3, 10)
    seen = on_phone.speed(there, {"image": digits[:1]}, TimingPolicy(), 0)
    assert seen.latency.samples_ns == ()
    assert median_ms(seen.latency) == 34.9
    assert seen.throughput.inferences_per_second == pytest.approx(1000 / 35.1349)
    assert seen.cpu is None
    assert seen.reasons["cpu"]
    assert gates.check_latency(seen.latency, Budget(max_p50_ms=40)) == []
    (finding,) = gates.check_latency(seen.latency, Budget(max_p50_ms=30))
    assert finding.obtained == 34.9
    use = there.memory({"image": digits[:1]}, 5)
    assert (use.loaded_bytes, use.peak_bytes) == (round(63.4883 * 2**20), round(74.6641 * 2**20))
    told = benchmark.memory(use)
    assert list(told.phases) == ["load"]
    assert set(told.reasons) == {"first", "steady", "unique"}
    row = summary_of(seen.latency)
    assert (row.n, row.p50_ms, row.p95_ms) == (1694, 34.9, 38.5)
    assert words.ms(row.p90_ms) == words.NOT_MEASURED


@pytest.mark.parametrize(
    ("text", "early", "kind", "message"),
    [
        (said(PARTIAL), "", CheckFailed, "partially executed by the delegate w/ 3 delegate kernels"),
        (said(ON_CPU + NONE), "", CheckFailed, "will not be executed by the delegate"),
        (said(), "", CheckFailed, "nothing in the output says that it ran"),
        ("rubbish\n", "", StagedError, "said what is no answer, it told no inference timings: 'rubbish'"),
        ("", "echo Failed to apply; exit 1", CaseError, "benchmark_model ended with 1: Failed to apply"),
        ("", "kill -SEGV $$", WorkerCrashed, "ended by signal 11"),
        (said(COMPLETE), "echo x > ../output.bin", StagedError, "holds 2 bytes, expected 1 answers of 40"),
    ],
    ids=["partial", "none", "silent", "rubbish", "failed", "crashed", "wrong size"],
)
def test_a_run_that_goes_wrong_is_explained(
    device: Device,
    digits_cnn: Artifact,
    digits: np.ndarray,
    tmp_path: Path,
    text: str,
    early: str,
    kind: type[StagedError],
    message: str,
) -> None:
    there = session(device, digits_cnn, tool(tmp_path, text, early), "gpu")
    with pytest.raises(StagedError, match=message) as caught:
        there.run_many({"image": digits[:1]})
    assert type(caught.value) is kind
    assert caught.value.stage is Stage.RUN
    assert device.serial in str(caught.value)

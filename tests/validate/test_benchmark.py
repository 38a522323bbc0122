"""Each artifact is fast and small enough on this machine; with one thread and with all cores."""

import pytest

from suite import measurements
from suite.benchmark import SampleClock, played, thread_counts
from suite.gates import check_latency, check_memory, enforce
from suite.record import Stage
from suite.stats import median_ms

CLOCK = SampleClock()


@pytest.mark.benchmark(timer=CLOCK, disable_gc=False, warmup=False)
def test_benchmark(case, threads, artifact, lab, limits, recorder, benchmark):
    path, facts = artifact
    speed = measurements.speed(lab, case, path, threads)
    recorder.add(artifact=facts, scaling=(speed.latency,), thermal=speed.thermal)
    recorder.without(**speed.reasons)
    findings = []
    if threads == thread_counts(case.target)[-1]:
        memory = measurements.memory(lab, case, path, threads)
        recorder.add(latency=speed.latency, throughput=speed.throughput, cpu=speed.cpu)
        consumption = measurements.consumption(lab, case, path, threads)
        recorder.add(gpu=consumption.gpu, energy=consumption.energy)
        recorder.without(**consumption.reasons)
        findings = check_latency(speed.latency, limits[1])
        if isinstance(memory, str):
            recorder.without(memory=memory)
        else:
            recorder.add(memory=memory)
            findings += check_memory(memory, limits[1])
    p50_ms = median_ms(speed.latency)
    samples = played(speed.latency)
    benchmark.extra_info.update(case_id=case.id, threads=threads)
    benchmark.extra_info.update(cpu_percent=speed.cpu.percent if speed.cpu else None)
    benchmark.pedantic(CLOCK.replay(samples), rounds=len(samples), iterations=1)
    hot = ", inconclusive: the phone is hot" if speed.latency.contaminated else ""
    recorder.said = f"p50 {p50_ms:.2f} ms{hot}"
    enforce(findings, Stage.MEASURE)

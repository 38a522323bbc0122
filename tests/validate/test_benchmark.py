"""Each artifact is fast and small enough on this machine; with one thread and with all cores."""

import pytest

from suite.benchmark import SampleClock
from suite.environment import cores
from suite.gates import check_latency, check_memory
from suite.plugin import enforce
from suite.record import Stage
from suite.stats import summarise

CLOCK = SampleClock()


@pytest.mark.benchmark(timer=CLOCK, disable_gc=False, warmup=False)
def test_benchmark(case, threads, artifact, lab, limits, recorder, benchmark):
    path, facts = artifact
    speed = lab.speed(case, path, threads)
    recorder.add(artifact=facts, scaling=(speed.latency,))
    recorder.without(gpu="the engine runs on the CPU", thermal="the machine is not a battery's")
    findings = []
    if threads == cores():
        memory = lab.memory(case, path, threads)
        recorder.add(latency=speed.latency, throughput=speed.throughput, cpu=speed.cpu, memory=memory)
        findings = [*check_latency(speed.latency, limits[1]), *check_memory(memory, limits[1])]
    samples = speed.latency.samples_ns
    benchmark.extra_info.update(case_id=case.id, threads=threads, cpu_percent=speed.cpu.percent)
    benchmark.pedantic(CLOCK.replay(samples), rounds=len(samples), iterations=1)
    recorder.said = f"p50 {summarise(samples).p50_ms:.2f} ms"
    enforce(findings, Stage.MEASURE)

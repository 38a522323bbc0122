"""What phones were timed at in a parallel run, in pytest-benchmark's own file.

Phones are timed by xdist's workers, where pytest-benchmark keeps nothing; their
samples are in the records, and are written from there as it would have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from suite.benchmark import played
from suite.record import Record
from suite.record.costs import Latency

_NODE = re.compile(r"::(?P<name>test_benchmark\[(?P<param>(?P<case>.+)-threads=(?P<threads>\d+))\])$")
Timed = tuple[str, int]  # a case's id, and how many threads


def timed(nodeid: str) -> Timed | None:
    """Which case and threads a test times; None for other tests."""
    found = _NODE.search(nodeid)
    return (found["case"], int(found["threads"])) if found else None


def add(path: Path, config: Any, records: Iterable[Record], nodeids: Mapping[Timed, str]) -> None:
    """Add the latencies of `records` that the tests `nodeids` measured to the file, or begin it."""
    from pytest_benchmark import utils

    dumps: Any = utils.safe_dumps
    made = [
        _entry(nodeid, latency)
        for record in records
        for latency in record.scaling
        if (nodeid := nodeids.get((record.case_id, latency.threads))) is not None
    ]
    if not made:
        return
    hook = config.hook
    content = hook.pytest_benchmark_generate_json(
        config=config,
        benchmarks=made,
        include_data=True,
        machine_info=hook.pytest_benchmark_generate_machine_info(config=config),
        commit_info=hook.pytest_benchmark_generate_commit_info(config=config),
    )
    if path.exists():
        there = json.loads(path.read_text())
        content = {**there, "benchmarks": [*there["benchmarks"], *content["benchmarks"]]}
    path.write_text(dumps(content, ensure_ascii=True, indent=4))


def _entry(nodeid: str, latency: Latency) -> Any:
    """One test's samples, as pytest-benchmark keeps them."""
    from pytest_benchmark import stats

    metadata: Any = stats.Metadata
    found = _NODE.search(nodeid)
    assert found is not None, nodeid
    cpu_ns = latency.cpu_ns if latency.wall_ns else None
    test = SimpleNamespace(
        name=found["name"],
        fullname=nodeid,
        group=None,
        param=found["param"],
        params={"case": found["case"], "threads": latency.threads},
        extra_info={
            "case_id": found["case"],
            "threads": latency.threads,
            "cpu_percent": None if cpu_ns is None else 100 * cpu_ns / latency.wall_ns,
        },
        cprofile_stats=None,
        has_error=False,
    )
    made = metadata(
        test, iterations=1, options={"timer": "SampleClock", "warmup": False, "disable_gc": False}
    )
    for sample in played(latency):
        made.update(sample / 1e9)
    return made

"""What a gate and a report cost on thousands of recorded cases."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from suite import report
from suite.record.lines import encode
from suite.thresholds import Thresholds
from tests.bench.figures import held
from tests.meta import records

_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# When the page has loaded and its script has run, by the browser's own clock.
_LOADED = "<script>onload = () => document.title = 'loaded in ' + performance.now()</script>"


GATES, BUILDS = 7, 3  # the quickest counts: neighbours on the machine only add


def main(profile: str) -> bool:
    """The gate over 10,000 cases, and the report of 1,000: built, opened, and its size."""
    with tempfile.TemporaryDirectory(prefix="pocketproof-bench-") as folder:
        many = _write(Path(folder) / "gate", 10_000)
        gate = [sys.executable, "-m", "suite", "gate", many]
        before = _children_cpu()
        gating = [
            _seconds(lambda: subprocess.run(gate, check=True, capture_output=True)) for _ in range(GATES)
        ]
        cpu = (_children_cpu() - before) / GATES
        some = _write(Path(folder) / "report", 1000)
        building = [_seconds(lambda: report.build(some, Thresholds())) for _ in range(BUILDS)]
        page = some / report.INDEX
        print(f"       gate, each time: {_listed(gating)} s, of the processor {cpu:.2f} s")
        print(f"       report, each time: {_listed(building)} s")
        holds = [
            held("gate over 10,000 cases, its process started", min(gating), 1.0, "s"),
            held("report of 1,000 cases built", min(building), 5.0, "s"),
            held("index.html of 1,000 cases", page.stat().st_size / 1e6, 5.0, "MB"),
        ]
        if _CHROMIUM is not None:
            opening = min(_open(page) for _ in range(BUILDS))
            holds.append(held("index.html of 1,000 cases opened", opening, 2.0, "s"))
    return all(holds)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _write(folder: Path, count: int) -> Path:
    folder.mkdir()
    (folder / "results.jsonl").write_bytes(b"".join(encode(one) + b"\n" for one in records.many(count)))
    return folder


def _open(page: Path) -> float:
    timed = page.with_name("timed.html")
    timed.write_text(page.read_text().replace("</body>", f"{_LOADED}</body>"))
    with tempfile.TemporaryDirectory() as profile:
        command = [str(_CHROMIUM), *_FLAGS, f"--user-data-dir={profile}", "--dump-dom", timed.as_uri()]
        dom = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(dom.partition("<title>loaded in ")[2].partition("<")[0]) / 1000

"""What a gate and a report cost on thousands of recorded cases."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from suite import report
from suite.record import encode
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


def main(profile: str) -> bool:
    """The gate over 10,000 cases, and the report of 1,000: built, opened, and its size."""
    with tempfile.TemporaryDirectory(prefix="pocketproof-bench-") as folder:
        many = _write(Path(folder) / "gate", 10_000)
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "suite", "gate", many], check=True, capture_output=True)
        gate_seconds = time.perf_counter() - start
        some = _write(Path(folder) / "report", 1000)
        start = time.perf_counter()
        report.build(some, Thresholds())
        build_seconds = time.perf_counter() - start
        page = some / report.INDEX
        holds = [
            held("gate over 10,000 cases, its process started", gate_seconds, 1.0, "s"),
            held("report of 1,000 cases built", build_seconds, 5.0, "s"),
            held("index.html of 1,000 cases", page.stat().st_size / 1e6, 5.0, "MB"),
        ]
        if _CHROMIUM is not None:
            holds.append(held("index.html of 1,000 cases opened", _open(page), 2.0, "s"))
    return all(holds)


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

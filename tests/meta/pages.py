"""What the report's tests share: a run arranged, and a run written out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from suite import report
from suite.gates import judge
from suite.record import Record
from suite.record.lines import encode
from suite.report.view import View, view
from suite.thresholds import Thresholds

THRESHOLDS = Thresholds()
EVIL = '<script>alert("x")</script>'


def arrange(run: list[Record]) -> View:
    return view(run, judge(run, THRESHOLDS), THRESHOLDS)


def build(directory: Path, run: Iterable[Record]) -> str:
    directory.mkdir(exist_ok=True)
    (directory / "results.jsonl").write_bytes(b"".join(encode(record) + b"\n" for record in run))
    report.build(directory, THRESHOLDS)
    return (directory / report.INDEX).read_text(encoding="utf-8")

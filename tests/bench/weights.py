"""Whether the bundled weights carry signal: how often the models are right, and what narrowing costs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from suite import store
from suite.discovery import BUNDLED, discover
from suite.record import Record
from tests.bench.figures import held_from_below

TOP1 = {"digits_cnn": 0.95}
TOP1_TRAINED, TOP1_CONDITIONED = 0.90, 0.85
FLOAT16_DB = 30.0
INT8_AGREEMENT = 0.95  # of nets trained for real; what int8 costs the others stands in their fixtures
_ENGINE = "litert-xnnpack"  # the weights are the same on all


def main(profile: str) -> bool:
    """All bundled models: float32's top-1 on held-out photos, float16's SQNR, int8's agreement."""
    with tempfile.TemporaryDirectory(prefix="pocketproof-bench-") as folder:
        options = ["-n", "2", "-q", "--profile", "full", "--variants", "float32,float16,int8"]
        command = [sys.executable, "-m", "pytest", *options, "-m", "parity or accuracy"]
        subprocess.run([*command, "-k", _ENGINE, "--report-dir", folder], capture_output=True, check=False)
        seen = {record.case_id: record for record in store.load(Path(folder)).records}
    held = [_held(name, getattr(model, "weights", ""), seen) for name, model in discover(BUNDLED).items()]
    return all(held)


def _held(name: str, weights: str, seen: dict[str, Record]) -> bool:
    wide, half, narrow = (seen.get(f"{name}/{it}/host/{_ENGINE}") for it in ("float32", "float16", "int8"))
    if wide is None or half is None or wide.accuracy is None or half.parity is None:
        print(f"FAILS  {name}: no answers were recorded")
        return False
    least = TOP1.get(name, TOP1_TRAINED if weights == "trained" else TOP1_CONDITIONED)
    held = [
        held_from_below(f"{name}/float32 top-1", wide.accuracy.top1, least, ""),
        held_from_below(f"{name}/float16 SQNR", half.parity.real.sqnr_db, FLOAT16_DB, "dB"),
    ]
    if weights == "trained":
        agreement = None if narrow is None or narrow.parity is None else narrow.parity.real.top1_agreement
        held.append(held_from_below(f"{name}/int8 top-1 agreement", agreement or 0.0, INT8_AGREEMENT, ""))
    return all(held)

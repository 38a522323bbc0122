"""What a golden bundle's replay brought back, checked and judged here as any other result.

Only the answers and the times are taken from the result; the comparison is
made anew. A result of another bundle is refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from suite import gates, parity
from suite.cache import digest, sha256_file, sha256_tree
from suite.errors import CheckFailed, UsageError
from suite.record import Artifact, Check, CheckResult, Record, Stage, Status
from suite.record.answers import Parity
from suite.record.costs import Latency, Throughput
from suite.spec import VARIANTS, Array, Tolerance

Both = tuple[dict[str, Array], dict[str, Array]]  # answers to real samples, and to generated ones
BUNDLE = "bundle.json"
BUNDLE_VERSION = 2
ENGINES = {
    "ALL": "coreml",
    "CPU_ONLY": "coreml-cpu",
    "CPU_AND_GPU": "coreml-cpu-gpu",
    "CPU_AND_NE": "coreml-cpu-ne",
}
_STAND_IN = "engine: evaluator, in the place of Core ML: speed and memory are the device's to tell"


def records(result: Path, bundle: Path | None = None) -> list[Record]:
    """The records of a result; `bundle` is the folder it was made from, by default the result's own.

    Raises UsageError for a result that cannot be read, or that belongs to
    another bundle, or a bundle that was altered.
    """
    found = _read(result, "the result of a replay")
    folder = bundle or result.resolve().parent
    contents = _read(folder / BUNDLE, "a golden bundle")
    if found.get("schema_version") != 1 or contents.get("schema_version") != BUNDLE_VERSION:
        raise UsageError(
            f"{result}: made by another version of Pocketproof: bundle, replay and import with one"
        )
    if found.get("bundle") != sha256_file(folder / BUNDLE):
        raise UsageError(
            f"{result} is the result of another bundle than {folder}: "
            "name the folder that it was made from with --bundle"
        )
    for name, sha256 in contents["files"].items():
        if not (folder / name).exists() or sha256_tree(folder / name) != sha256:
            raise UsageError(f"{folder / name} is not as it was bundled: make the bundle anew and replay it")
    if found.get("replay") != contents["files"]["replay.py"]:
        raise UsageError(f"{result} was made by an altered replay.py: replay with the one in the bundle")
    try:
        return list(_records(found, contents, folder))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{result} is no whole result ({type(error).__name__}: {error}): replay the bundle again"
        ) from error


def _read(path: Path, what: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"no file at {path}: {what} was expected there") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is not {what}: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not {what}: it holds a {type(content).__name__}")
    return content


def _records(found: Mapping[str, Any], contents: Mapping[str, Any], folder: Path) -> Iterator[Record]:
    machine = found["machine"]
    mac = machine["system"] == "Darwin"
    with np.load(folder / "reference.npz") as stored:
        reference = tuple(
            {name: stored[f"{kind}/{name}"] for name in contents["reference_outputs"]}
            for kind in ("real", "generated")
        )
    rounded = _rounded(folder, contents)
    artifact = msgspec.convert(contents["artifact"], Artifact)
    tolerance = msgspec.convert(contents["tolerance"], Tolerance)
    for units, run in found["runs"].items():
        name = f"{contents['case']['model']}/{contents['case']['variant']}"
        yield _record(
            f"{name}/{'mac' if mac else 'stand-in'}/{ENGINES[units]}",
            run,
            (reference[0], reference[1]),
            rounded,
            contents,
            tolerance,
            artifact=artifact,
            override=contents["override"],
            engine="" if mac else "evaluator",
            notes=(*contents["notes"], *(() if mac else ("replayed without Core ML, on a stand-in for it",))),
            environment={"fingerprint": digest(machine)[:12], **machine},
            recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def _rounded(folder: Path, contents: Mapping[str, Any]) -> Both | None:
    """What the original answered when it was rounded to the precision; None where that is not known."""
    if contents["no_floor"]:
        return None
    names = contents["reference_outputs"]
    with np.load(folder / "rounded.npz") as stored:
        real, made = ({name: stored[f"{kind}/{name}"] for name in names} for kind in ("real", "generated"))
    return real, made


def _record(
    case_id: str,
    run: Mapping[str, Any],
    reference: Both,
    rounded: Both | None,
    contents: Mapping[str, Any],
    tolerance: Tolerance,
    **sections: Any,
) -> Record:
    reasons = {"memory": "a replay does not measure it"}
    measured: Parity | None = None
    if "error" in run:
        result = CheckResult(status=Status.ERROR, stage=Stage.RUN, message=str(run["error"]))
    else:
        measured, result = _compared(run, reference, rounded, contents, tolerance)
    checks = {Check.PARITY: result}
    latency = _latency(run)
    if latency is not None:
        checks[Check.BENCHMARK] = CheckResult(status=Status.PASSED, stage=Stage.MEASURE)
        sections["latency"] = latency
        sections["throughput"] = Throughput(
            inferences_per_second=1e9 * len(latency.samples_ns) / sum(latency.samples_ns),
            threads=latency.threads,
        )
    elif sections["engine"]:
        reasons = dict.fromkeys(("latency", "throughput", "memory", "cpu", "gpu", "thermal"), _STAND_IN)
    return Record(
        case_id=case_id,
        stage=result.stage,
        status=result.status,
        message=result.message,
        checks=checks,
        planned=tuple(checks),
        parity=measured,
        reasons=reasons,
        **sections,
    )


def _compared(
    run: Mapping[str, Any],
    reference: Both,
    rounded: Both | None,
    contents: Mapping[str, Any],
    tolerance: Tolerance,
) -> tuple[Parity | None, CheckResult]:
    """Parity and noise floor anew, from the answers that were brought back."""
    answers = tuple(
        {name: _unpack(run["answers"][kind][name]) for name in contents["outputs"]}
        for kind in ("real", "generated")
    )
    variant = VARIANTS[contents["case"]["variant"]]
    patterns = tuple(contents["patterns"])
    try:
        measured = parity.measure(
            reference, (answers[0], answers[1]), patterns, tolerance, quantised=variant.quantised
        )
        measured = replace(measured, no_floor=contents["no_floor"])
        if rounded is not None:
            real, made = (
                parity.floor(*sides, variant) for sides in zip(reference, rounded, answers, strict=True)
            )
            measured = replace(measured, floor=real, generated_floor=made)
    except CheckFailed as error:
        return None, CheckResult(status=error.status, stage=error.stage, message=str(error))
    findings = gates.check_parity(measured, tolerance)
    return measured, CheckResult(
        status=Status.FAILED if findings else Status.PASSED,
        stage=Stage.COMPARE,
        message="\n".join(finding.message for finding in findings),
    )


def _unpack(packed: Mapping[str, Any]) -> Array:
    return np.frombuffer(base64.b64decode(packed["float32"]), "<f4").reshape(packed["shape"])


def _latency(run: Mapping[str, Any]) -> Latency | None:
    samples = tuple(int(one) for one in run.get("samples_ns", ()))
    if not samples:
        return None
    return Latency(
        threads=1,
        samples_ns=samples,
        load_ns=int(run["load_ns"]),
        first_ns=samples[0],
        warmup_ns=(),
        cpu_ns=None,
        wall_ns=sum(samples),
    )

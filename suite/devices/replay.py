"""Replays a golden bundle on this Mac and judges what Core ML answers: `python replay.py`.

Needs coremltools, NumPy and, for photos, Pillow: `pip install coremltools pillow`.
Reads the files beside it, writes `result.json` there. Bring that back and give
it to `python -m suite import result.json --bundle FOLDER`.

Exit status: 0 every comparison holds; 1 one does not; 2 the bundle is not whole,
or nothing could be run.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
UNITS = ("ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE")
WARM_UP, TIMED = 5, 50


def main(arguments: list[str] | None = None) -> int:
    """Replay on each of the compute units; write result.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", default=",".join(UNITS), help="compute units (default: %(default)s)")
    parser.add_argument("--bundle", type=Path, default=Path(__file__).resolve().parent, help="folder")
    given = parser.parse_args(arguments)
    folder: Path = given.bundle
    contents = json.loads((folder / "bundle.json").read_text())
    if damaged := [name for name, sha256 in contents["files"].items() if sha256_of(folder / name) != sha256]:
        print(f"not as they were bundled: {', '.join(damaged)}. Copy the bundle anew", file=sys.stderr)
        return 2
    runs = {}
    for units in given.units.split(","):
        try:
            runs[units] = replay(folder, contents, units)
        except Exception as error:  # the other units may do
            runs[units] = {"error": f"{type(error).__name__}: {error}"}
        print(f"{units:12} {words(runs[units])}", flush=True)
    result = {
        "schema_version": 1,
        "bundle": sha256_of(folder / "bundle.json"),
        "replay": sha256_of(Path(__file__)),
        "case": contents["case"],
        "machine": machine(),
        "runs": runs,
    }
    (folder / "result.json").write_text(json.dumps(result))
    print(f"written: {folder / 'result.json'}")
    if all("error" in run for run in runs.values()):
        return 2
    return 0 if all(not run.get("broken", ["error"]) for run in runs.values()) else 1


def replay(folder: Path, contents: Mapping[str, Any], units: str) -> dict[str, Any]:
    """Predict every sample on these units, compare with the reference, and time one sample."""
    import coremltools as ct

    start = time.perf_counter_ns()
    model = ct.models.MLModel(str(folder / contents["model"]), compute_units=ct.ComputeUnit[units])
    load_ns = time.perf_counter_ns() - start
    stats: dict[str, list[dict[str, Any]]] = {}
    answers: dict[str, Any] = {}
    broken: list[str] = []
    with (
        np.load(folder / "samples.npz") as samples,
        np.load(folder / "reference.npz") as reference,
        np.load(folder / "rounded.npz") as rounded,
    ):
        for kind in ("real", "generated"):
            feed = {name: samples[f"{kind}/{name}"] for name in contents["inputs"]}
            found = predict(model, contents, feed)
            answers[kind] = {name: pack(values) for name, values in found.items()}
            expected = {name: reference[f"{kind}/{name}"] for name in contents["reference_outputs"]}
            stats[kind] = []
            for (source, wanted), (name, values) in zip(expected.items(), found.items(), strict=True):
                one = compare(wanted, values, quantised=contents["quantised"])
                stats[kind].append(one)
                broken += beyond(one, contents["bounds"], kind, name)
                if "n" in one and f"{kind}/{source}" in rounded:
                    simulated = rounded[f"{kind}/{source}"]
                    broken += below(wanted, simulated, values, contents, f"{name}, {kind}")
        first = one_sample(contents, {name: samples[f"real/{name}"] for name in contents["inputs"]}, 0)
    return {
        "stats": stats,
        "broken": broken,
        "answers": answers,
        "load_ns": load_ns,
        "samples_ns": timed(model, first) if platform.system() == "Darwin" else [],
    }


def predict(model: Any, contents: Mapping[str, Any], feed: Mapping[str, Array]) -> dict[str, Array]:
    """(n, ...) samples to (n, ...) answers, by output name."""
    count = len(next(iter(feed.values())))
    rows = [model.predict(one_sample(contents, feed, place)) for place in range(count)]
    return {name: np.stack([scores(contents, row[name]) for row in rows]) for name in contents["outputs"]}


def one_sample(contents: Mapping[str, Any], feed: Mapping[str, Array], place: int) -> dict[str, Any]:
    """One sample as Core ML takes it: a picture for an image input, else an array with its batch axis."""
    given: dict[str, Any] = {}
    for name, values in feed.items():
        if contents["photos"]:
            from PIL import Image

            given[name] = Image.fromarray(values[place])
        else:
            given[name] = values[place : place + 1]
    return given


def scores(contents: Mapping[str, Any], value: Any) -> Array:
    """An answer without its batch axis; a classifier's dictionary in the order of the labels."""
    if isinstance(value, dict):
        return np.array([value[label] for label in contents["labels"]], np.float32)
    array = np.asarray(value, np.float32)
    return array[0] if array.ndim > 1 and array.shape[0] == 1 else array


def compare(reference: Array, actual: Array, *, quantised: bool = False) -> dict[str, Any]:
    """Error statistics of (n, ...) answers; probabilities are compared by their logarithms."""
    if reference.shape != actual.shape:
        return {"shape": f"found {actual.shape}, expected {reference.shape}"}
    expected, found = reference.astype(np.float64), actual.astype(np.float64)
    if not np.isfinite(found).all():
        return {"shape": f"{int((~np.isfinite(found)).sum())} answers are NaN or infinite"}
    if not quantised and is_probabilities(expected) and is_probabilities(found):
        expected, found = log_scores(expected), log_scores(found)
    error, deviation = np.abs(found - expected), float(expected.std()) or 1.0
    norms = float(np.linalg.norm(expected) * np.linalg.norm(found)) or 1.0
    noise = float(((found - expected) ** 2).sum())
    power = float(((expected - expected.mean()) ** 2).sum())
    return {
        "n": len(reference),
        "max_abs_diff": float(error.max()),
        "max_scaled_diff": float(error.max()) / deviation,
        "cosine_similarity": float((expected * found).sum()) / norms,
        "sqnr_db": 10 * float(np.log10(power / noise)) if noise and power else 300.0,
        "top1_agreement": float((expected.argmax(-1) == found.argmax(-1)).mean())
        if expected.ndim == 2
        else None,
    }


def is_probabilities(values: Array) -> bool:
    """Whether (n, k) rows are not negative and sum to one."""
    return bool(
        values.ndim == 2
        and values.shape[1] > 1
        and (values >= 0).all()
        and np.allclose(values.sum(axis=1), 1, atol=1e-3)
    )


def log_scores(probabilities: Array) -> Array:
    """The logarithm of probabilities, less its mean of each sample."""
    logs = np.log(np.maximum(probabilities, 1e-7))
    return np.asarray(logs - logs.mean(axis=-1, keepdims=True))


def below(
    reference: Array, rounded: Array, actual: Array, contents: Mapping[str, Any], what: str
) -> list[str]:
    """Whether more is lost than rounding the original to this precision loses, on the samples of that."""
    generated = "generated_" if what.endswith("generated") else ""
    margin = contents["tolerance"].get(f"{generated}floor_margin_db")
    if margin is None:
        return []
    count = min(len(rounded), len(actual))
    floor, found = (
        compare(reference[:count], side[:count], quantised=contents["quantised"])["sqnr_db"]
        for side in (rounded, actual)
    )
    if found >= floor - margin:
        return []
    return [f"{what}: SQNR is {found:.1f} dB, rounding alone leaves {floor:.1f}, and {margin:g} are allowed"]


def beyond(stats: Mapping[str, Any], tolerance: Mapping[str, Any], kind: str, name: str) -> list[str]:
    """What lies outside of the tolerance; NaN lies outside of any."""
    if "shape" in stats:
        return [f"{name}, {kind}: {stats['shape']}"]
    bounds = ([("max_scaled_diff", "max_scaled_diff", -1)] if kind == "real" else []) + [
        (measure, f"{'' if kind == 'real' else 'generated_'}min_{short}", 1)
        for measure, short in (
            ("cosine_similarity", "cosine"),
            ("sqnr_db", "sqnr_db"),
            ("top1_agreement", "top1_agreement"),
        )
    ]
    found = []
    for measure, bound, sign in bounds:
        limit, value = tolerance.get(bound), stats[measure]
        if limit is not None and value is not None and not sign * value >= sign * limit:
            found.append(f"{name}, {kind}: {measure} is {value:.6g}, the bound is {limit:g}")
    return found


def timed(model: Any, sample: Mapping[str, Any]) -> list[int]:
    """Nanoseconds of back-to-back predictions of one sample, after a warm-up."""
    found = []
    for turn in range(WARM_UP + TIMED):
        start = time.perf_counter_ns()
        model.predict(dict(sample))
        end = time.perf_counter_ns()
        if turn >= WARM_UP:
            found.append(end - start)
    return found


def words(run: Mapping[str, Any]) -> str:
    """One line for the terminal."""
    if "error" in run:
        return f"ERROR {run['error']}"
    real = run["stats"]["real"][0]
    text = f"SQNR {real['sqnr_db']:.1f} dB, cosine {real['cosine_similarity']:.7f}" if "n" in real else ""
    if run["samples_ns"]:
        text += f", median {sorted(run['samples_ns'])[len(run['samples_ns']) // 2] / 1e6:.2f} ms"
    return (
        ("FAILED " if run["broken"] else "passed ") + text + "".join(f"\n    {one}" for one in run["broken"])
    )


def machine() -> dict[str, Any]:
    """Which machine this is, and what runs on it."""
    import coremltools

    return {
        "system": platform.system(),
        "release": platform.mac_ver()[0] or platform.release(),
        "machine": platform.machine(),
        "node": platform.node(),
        "python": platform.python_version(),
        "versions": {"coremltools": coremltools.__version__, "numpy": np.__version__},
    }


def pack(values: Array) -> dict[str, Any]:
    """An array as JSON holds it."""
    array = np.ascontiguousarray(values, "<f4")
    return {"shape": list(array.shape), "float32": base64.b64encode(array.tobytes()).decode()}


def sha256_of(path: Path) -> str:
    """Of a file, or of every file below a folder with its relative name; "" where there is none."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    if not files:
        return ""
    tree = {file.relative_to(path).as_posix(): sha256_of(file) for file in files}
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())

"""How much slower the Core ML evaluator is than LiteRT with XNNPACK, one thread each, float32.

Each turn times LiteRT, the evaluator, and LiteRT again, and compares those
neighbours alone: a shared machine changes its speed within seconds. Time is
that of the processor, of all threads, so that others' turns on it do not count.
The figure is the median over the turns.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import suite
from suite.discovery import BUNDLED, discover
from suite.spec import ImageInput
from tests.bench.figures import held

DENSE, DEPTHWISE = 3.0, 20.0  # times LiteRT's time, for nets of dense convolutions and of depthwise ones
LIMITS = {
    "resnet50": DENSE,
    "inception_v3": DENSE,
    "densenet121": DENSE,
    "mobilenet_v1": DEPTHWISE,
    "mobilenet_v2": DEPTHWISE,
    "mobilenet_v3_small": DEPTHWISE,
    "efficientnet_v2_b0": DEPTHWISE,
    "nasnet_mobile": DEPTHWISE,
}
TURNS = 15
OPEN_SECONDS = 1.0
OPENINGS = 5
_CHILD = """
import sys
import numpy as np
from suite.coreml.evaluator import Evaluator
model = Evaluator.open(sys.argv[1])
model.run({one.name: np.zeros(one.shape, one.dtype) for one in model.inputs})
assert not {"tensorflow", "coremltools"} & sys.modules.keys()
"""


def main(_profile: str = "") -> bool:
    """The ratios of all models; and what a fresh process takes to open and run MobileNet."""
    return measure(list(LIMITS))


def measure(models: list[str]) -> bool:
    """The ratios of the models that are named, and what a fresh process takes for MobileNet."""
    return all([*(_compare(name, LIMITS[name]) for name in models), _fresh()])


def _compare(name: str, limit: float) -> bool:
    from suite.runtimes.coreml_evaluator import settle

    spec = discover(BUNDLED)[name].input  # type: ignore[union-attr]
    assert isinstance(spec, ImageInput)
    ours = _evaluator(suite.convert(name, "mlprogram_float32"))
    theirs = _litert(suite.convert(name, "float32"), spec)
    settle(1)
    for run in (ours, theirs):
        run()  # warms up
    count = max(1, round(_seconds(ours) / _seconds(theirs) / 2))  # as long before and after as ours
    ratios, own, other = [], [], []
    for _ in range(TURNS):
        around = [_seconds(theirs) for _ in range(count)]
        own.append(_seconds(ours))
        around += [_seconds(theirs) for _ in range(count)]
        other.append(statistics.median(around))
        ratios.append(own[-1] / other[-1])
    low, ratio, high = statistics.quantiles(ratios, n=4)
    times = f"{statistics.median(own) * 1e3:.1f} ms, LiteRT {statistics.median(other) * 1e3:.1f} ms"
    print(f"       {name}: {times}; ratio's quartiles {low:.2f}, {ratio:.2f}, {high:.2f}", flush=True)
    return held(f"evaluator / LiteRT, {name}", ratio, limit, "times")


def _seconds(run: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    start = clock()
    run()
    return clock() - start


def _evaluator(path: Path) -> Callable[[], object]:
    import numpy as np

    from suite.coreml.evaluator import Evaluator

    model, rng = Evaluator.open(path), np.random.default_rng(0)
    picture = {one.name: rng.integers(0, 255, one.shape).astype(one.dtype) for one in model.inputs}
    return lambda: model.run(picture)


def _litert(path: Path, spec: ImageInput) -> Callable[[], object]:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    [detail] = interpreter.get_input_details()
    interpreter.resize_tensor_input(detail["index"], [1, *spec.shape])
    interpreter.allocate_tensors()
    interpreter.set_tensor(detail["index"], np.random.default_rng(0).random((1, *spec.shape), np.float32))
    invoke: Callable[[], object] = interpreter.invoke
    return invoke


def _fresh() -> bool:
    """Import, opening and one inference; of a process that has the machine to itself, also the wall time."""
    path = suite.convert("mobilenet_v1", "mlprogram_float32")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _CHILD, str(path)]

    def start() -> None:
        subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parents[2])

    start()  # reads the files from the disk
    used, passed = [], []
    for _ in range(OPENINGS):
        begun = time.perf_counter()
        used.append(_seconds(start, _children_seconds))
        passed.append(time.perf_counter() - begun)
    print(f"       a fresh process: {statistics.median(passed):.2f} s of wall time")
    name = "a fresh process that opens and runs MobileNet, of the processor's time"
    return held(name, statistics.median(used), OPEN_SECONDS, "s")


def _children_seconds() -> float:
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return use.ru_utime + use.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.evaluator", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(LIMITS)}; default: all")
    sys.exit(0 if measure(parser.parse_args().models or list(LIMITS)) else 1)

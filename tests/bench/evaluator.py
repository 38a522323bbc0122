"""How much slower the Core ML evaluator is than LiteRT with XNNPACK, one thread each, float32."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import suite
from suite.discovery import BUNDLED, discover
from suite.spec import ImageInput
from tests.bench.figures import held

DENSE = {"resnet50": 3.0, "inception_v3": 3.0}  # nets of dense convolutions
DEPTHWISE = {"mobilenet_v1": 20.0, "mobilenet_v2": 20.0, "efficientnet_v2_b0": 20.0}
ROUNDS = 7  # each runs both, in turn first and second
OPEN_SECONDS = 1.0
_CHILD = """
import sys, time
start = time.perf_counter()
import numpy as np
from suite.coreml.evaluator import Evaluator
model = Evaluator.open(sys.argv[1])
feed = {one.name: np.zeros(one.shape, one.dtype) for one in model.inputs}
model.run(feed)
assert not {"tensorflow", "coremltools"} & sys.modules.keys()
print(time.perf_counter() - start)
"""


def main(profile: str) -> bool:
    """The ratio of medians by model; and what a fresh process takes to open and run MobileNet."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    results = [_compare(name, limit) for name, limit in {**DENSE, **DEPTHWISE}.items()]
    return all([*results, _fresh()])


def _compare(name: str, limit: float) -> bool:
    import numpy as np
    from threadpoolctl import threadpool_limits

    from suite.coreml.evaluator import Evaluator

    threadpool_limits(1)
    spec = discover(BUNDLED)[name].input  # type: ignore[union-attr]
    assert isinstance(spec, ImageInput)
    rng = np.random.default_rng(0)
    ours = Evaluator.open(suite.convert(name, "mlprogram_float32"))
    picture = {one.name: rng.integers(0, 255, one.shape).astype(one.dtype) for one in ours.inputs}
    theirs = _litert(suite.convert(name, "float32"), spec)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(ROUNDS + 1):
        for own in (turn % 2 == 0, turn % 2 == 1):
            start = time.perf_counter()
            if own:
                ours.run(picture)
            else:
                theirs()
            if turn:  # the first warms up
                seconds[own].append(time.perf_counter() - start)
    one, other = (statistics.median(seconds[own]) * 1e3 for own in (True, False))
    print(f"       evaluator {one:.1f} ms, LiteRT {other:.1f} ms")
    return held(f"evaluator / LiteRT, {name}", one / other, limit, "times")


def _litert(path: Path, spec: ImageInput):  # type: ignore[no-untyped-def]
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    [detail] = interpreter.get_input_details()
    interpreter.resize_tensor_input(detail["index"], [1, *spec.shape])
    interpreter.allocate_tensors()
    interpreter.set_tensor(detail["index"], np.random.default_rng(0).random((1, *spec.shape), np.float32))
    return interpreter.invoke


def _fresh() -> bool:
    path = suite.convert("mobilenet_v1", "mlprogram_float32")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    found = [
        float(
            subprocess.run(
                [sys.executable, "-c", _CHILD, str(path)],
                check=True,
                capture_output=True,
                text=True,
                env=environment,
                cwd=Path(__file__).parents[2],
            ).stdout
        )
        for _ in range(3)
    ]
    return held(
        "import, open and run MobileNet in a fresh process", statistics.median(found), OPEN_SECONDS, "s"
    )

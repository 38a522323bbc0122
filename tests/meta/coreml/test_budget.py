"""Packages that ask for more than any phone has are refused, before they take it."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.coreml import layers, ops
from suite.coreml.evaluator import Evaluator
from suite.coreml.ops import budget
from suite.coreml.ops.budget import (
    CALL_WORK,
    ELEMENT_WORK,
    MOST_LIVE_BYTES,
    MOST_WORK,
    Budget,
    TooMuch,
    budgeted,
    spend,
)
from suite.coreml.ops.registry import OpError, room
from suite.coreml.saved import proto
from suite.errors import CaseError
from tests.meta.conftest import ROOT
from tests.meta.coreml.writing import Package, small

MEMORY_BYTES = 3 << 30  # of a process that refuses
CPU_SECONDS = 60


def test_a_budget_knows_what_is_alive() -> None:
    mine = Budget()
    mine.hold("a", MOST_LIVE_BYTES - 10)
    mine.hold("b", 10)
    with pytest.raises(TooMuch, match="4 GiB"):
        mine.hold("c", 1)
    mine.free("c")
    mine.hold("b", 5)  # the next turn of a loop, in place of the last
    mine.fits(5)
    mine.free("a")
    mine.free("not there")
    assert mine.bytes == 5


def test_work_is_counted_before_it_is_done() -> None:
    with budgeted() as mine:
        spend(10, 20, calls=2)
        assert mine.work == 200 + 2 * CALL_WORK
        with pytest.raises(TooMuch, match="multiply-adds"):
            spend(MOST_WORK)
        with budgeted() as inner:
            spend(1)
        assert inner.work == 1
    spend(MOST_WORK, 2)  # outside of an inference nothing is counted
    with budgeted() as mine:
        mine.hold("a", MOST_LIVE_BYTES - 4)
        room((1,))
        with pytest.raises(TooMuch):
            room((2,))


def test_what_a_program_takes_is_told_by_its_declarations(tmp_path: Path) -> None:
    model = Evaluator.open(small().save(tmp_path / "m.mlpackage"))
    takes = model._plan.takes  # type: ignore[union-attr]
    convolution = 4 * 6 * 6 * 3 * 3 * 3
    assert takes.work == convolution + ELEMENT_WORK * (144 + 4 + 144)
    assert takes.bytes == 4 * 144  # the answer is alive at the end


# --- hostile programs ---------------------------------------------------------------------


def _many_large() -> Package:
    """Ten tensors of 1 GiB, all needed at the end."""
    package, size = Package(), (1 << 28,)
    package.input("x", (1,))
    package.const("reps", np.int32([1 << 28]))
    package.const("axis", np.int32(0))
    for i in range(10):
        package.op("tile", f"t{i}", size, x="x", reps="reps")
    package.const("keep", np.array(True))
    for i in range(10):
        package.op("reduce_sum", f"s{i}", (1,), x=f"t{i}", axes="axis", keep_dims="keep")
    package.op("concat", "y", (10,), values=[f"s{i}" for i in range(10)], axis="axis")
    return package


def _large_convolution() -> Package:
    """Each tensor is small; the sum of products is not."""
    package = Package()
    package.input("x", (1, 4096, 300, 300))
    package.const("weight", np.zeros((4096, 4096, 1, 1), np.float32), stored=True)
    package.op("conv", "y", (1, 4096, 300, 300), x="x", weight="weight")
    return package


def _large_product() -> Package:
    package = Package()
    package.input("x", (1 << 14, 1 << 14))
    package.op("matmul", "y", (1 << 14, 1 << 14), x="x", y="x")
    return package


def _lying(dims: tuple[int, ...]) -> Package:
    """The sizes are free, so nothing can be known before."""
    package = Package()
    package.input("x", (1,))
    package.const("reps", np.int32(dims))
    package.const("one", np.int32([1] * len(dims)))
    package.op("reshape", "r", (-1,) * len(dims), x="x", shape="one")
    package.op("tile", "t", (-1,) * len(dims), x="r", reps="reps")
    return package


def _free_product() -> Package:
    package = _lying((1 << 14, 1 << 14))
    package.op("matmul", "y", (-1, -1), x="t", y="t")
    return package


def _wide_window() -> Package:
    """A pooling whose window has no weights to be paid for."""
    package = _lying((1, 1, 1 << 28))
    package.const("size", np.int32([1 << 28]))
    package.const("valid", "valid")
    package.op("max_pool", "y", (-1, -1, -1), x="t", kernel_sizes="size", pad_type="valid")
    return package


def _endless_sequence() -> Package:
    package = _lying((1 << 26, 1, 1))
    package.const("zero", np.zeros((1, 1), np.float32))
    package.const("w", np.zeros((1, 1), np.float32))
    package.const("every", np.array(True))
    package.op("rnn", "y", (-1, -1, -1), x="t", initial_h="zero", weight_ih="w", weight_hh="w")
    return package


def _long_list() -> Package:
    """One write far beyond the end of a list of large tensors."""
    package = _lying((1 << 20,))
    package.const("zero", np.int32([0]))
    package.const("none", np.int32(0))
    package.const("far", np.int32((1 << 20) - 1))
    for one in (
        package.op("make_list", "l", (), elem_shape="none"),
        package.op("list_write", "l2", (), ls="l", index="far", value="t"),
    ):
        one.outputs[0].type.Clear()
        one.outputs[0].type.listType.type.tensorType.dataType = 11
    package.op("list_gather", "y", (-1, -1), ls="l2", indices="zero")
    return package


def _nested_loops() -> Package:
    """Two loops, each of as many turns as are allowed."""
    package = Package()
    package.input("x", (1,))
    package.const("one", np.float32(1))
    package.const("many", np.float32(90_000))
    outer = package.op("while_loop", "y", (1,), loop_vars="x")
    for number, (inside, answer) in enumerate((("a", "go"), ("b", "next"))):
        block = outer.blocks.add()
        package.typed(block.inputs.add(name=inside).type, "float32", (1,))
        if number == 0:
            step = block.operations.add(type="less")
            step.inputs["y"].arguments.add(name="many")
        else:
            _inner_loop(package, block)
            step = block.operations.add(type="add")
            step.inputs["y"].arguments.add(name="one")
        step.inputs["x"].arguments.add(name=inside)
        package.typed(step.outputs.add(name=answer).type, "float32" if number else "bool", (1,))
        block.outputs.append(answer)
    return package


def _inner_loop(package: Package, block: object) -> None:
    one = block.operations.add(type="while_loop")  # type: ignore[attr-defined]
    one.inputs["loop_vars"].arguments.add(name="b")
    package.typed(one.outputs.add(name="unused").type, "float32", (1,))
    for number, (inside, answer) in enumerate((("c", "go2"), ("d", "next2"))):
        inner = one.blocks.add()
        package.typed(inner.inputs.add(name=inside).type, "float32", (1,))
        step = inner.operations.add(type="add" if number else "less")
        step.inputs["x"].arguments.add(name=inside)
        step.inputs["y"].arguments.add(name="one" if number else "many")
        package.typed(step.outputs.add(name=answer).type, "float32" if number else "bool", (1,))
        inner.outputs.append(answer)


HALVES = 1 << 24  # a blob of 32 MB


def _one_blob_a_hundred_times() -> Package:
    """A hundred descriptions of the same halves: 64 MB each, once they are float32."""
    package = Package()
    package.input("x", (1,))
    place = package.store(np.zeros(HALVES, np.float16))
    for i in range(100):
        package.weights += bytes(-len(package.weights) % 64)
        offset = len(package.weights)
        package.weights += package.weights[place : place + 64]
        package.const(f"h{i}", np.zeros(0, np.float16), stored=True)
        _point(package, offset)
    package.op("identity", "y", (1,), x="x")
    return package


def _point(package: Package, offset: int) -> None:
    """Make the newest constant what lies at this offset."""
    made = package.block.operations[-1]
    for kind in (made.outputs[0].type, made.attributes["val"].type):
        kind.tensorType.dimensions[0].constant.size = HALVES
    made.attributes["val"].blobFileValue.offset = offset


def _wide_number() -> Package:
    """What should be one number is a row of them, and the tensor a column."""
    package = _lying((1 << 20, 1))
    package.const("alpha", np.zeros((1, 1 << 20), np.float32), stored=True)
    package.op("leaky_relu", "y", (-1, -1), x="t", alpha="alpha")
    return package


HOSTILE: dict[str, tuple[Callable[[], Package], str]] = {
    "one blob a hundred times": (_one_blob_a_hundred_times, "unpack to more than 4 GiB"),
    "a number that is a tensor": (_wide_number, "one number was expected"),
    "many large tensors": (_many_large, "needed at one time"),
    "a large convolution": (_large_convolution, "multiply-adds"),
    "a large product": (_large_product, "multiply-adds"),
    "a product of free sizes": (_free_product, "multiply-adds"),
    "a window as wide as the world": (_wide_window, "multiply-adds"),
    "an endless sequence": (_endless_sequence, "multiply-adds"),
    "a list of large tensors": (_long_list, "needed at one time"),
    "loops within loops": (_nested_loops, "multiply-adds"),
}

RUN = """
import resource, sys, time
import numpy as np
from suite.coreml.evaluator import Evaluator
from suite.errors import CaseError

start = time.perf_counter()
try:
    model = Evaluator.open(sys.argv[1])
    # Zeros that the system gives only as they are written.
    model.run({one.name: np.zeros([max(size, 1) for size in one.shape], np.float32) for one in model.inputs})
except CaseError as error:
    print(error)
"""


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_is_refused_in_bounded_memory_and_time(tmp_path: Path, name: str) -> None:
    make, words = HOSTILE[name]
    package = make()
    package.answer("y")
    path = package.save(tmp_path / "m.mlpackage")
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path)],
        cwd=ROOT, capture_output=True, text=True, timeout=900, check=False, preexec_fn=_limit,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert words in done.stdout
    assert "cannot be executed" in done.stdout


def test_the_refusal_names_the_operation_before_anything_runs(tmp_path: Path) -> None:
    package = _large_product()
    package.answer("y")
    with pytest.raises(CaseError, match=r"matmul \(y\) cannot be executed.*hostile"):
        Evaluator.open(package.save(tmp_path / "m.mlpackage"))


def test_weights_that_unpack_without_end_are_refused(tmp_path: Path) -> None:
    """A palette of one bit holds thirty-two times what it takes: many of them are counted together."""
    package = Package()
    package.input("x", (1,))
    for i in range(5):
        package.op("constexpr_lut_to_dense", f"w{i}", (1 << 28,))
    package.op("identity", "y", (1,), x="x")
    package.answer("y")
    with pytest.raises(CaseError, match="unpack to more than 4 GiB"):
        Evaluator.open(package.save(tmp_path / "m.mlpackage"))


@pytest.mark.parametrize("kind", ["conv", "matmul"])
def test_what_a_phone_does_is_not_refused(tmp_path: Path, kind: str) -> None:
    """A layer as large as the largest of vision transformers, by its declarations."""
    package = Package()
    if kind == "conv":
        package.input("x", (1, 512, 112, 112))
        package.const("weight", np.zeros((512, 512, 3, 3), np.float32), stored=True)
        package.const("same", "same")
        package.op("conv", "y", (1, 512, 112, 112), x="x", weight="weight", pad_type="same")
    else:
        package.input("x", (1, 4096, 4096))
        package.op("matmul", "y", (1, 4096, 4096), x="x", y="x")
    package.answer("y")
    assert Evaluator.open(package.save(tmp_path / "m.mlpackage")).outputs[0].name == "y"


def test_what_many_constants_share_is_read_once(tmp_path: Path) -> None:
    package = Package()
    package.input("x", (4,), "float16")
    place = package.store(np.arange(4, dtype=np.float16))
    for i in range(3):
        package.const(f"c{i}", np.zeros(4, np.float16), stored=True)
        package.block.operations[-1].attributes["val"].blobFileValue.offset = place
        package.op("add", f"s{i}", (4,), "float16", x=f"s{i - 1}" if i else "x", y=f"c{i}")
    package.answer("s2")
    model = Evaluator.open(package.save(tmp_path / "m.mlpackage"))
    held = [model._plan.constants[f"c{i}"] for i in range(3)]
    assert held[0] is held[1] is held[2]
    answer = model.run({"x": np.ones(4, np.float16)})["s2"]
    np.testing.assert_array_equal(answer, 1 + 3 * np.arange(4))


def test_what_an_operator_prepares_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights in another order live as long as the plan, beside the values of one inference."""
    model = Evaluator.open(small().save(tmp_path / "m.mlpackage"))
    feed, answers, prepared = {"x": np.ones((1, 3, 6, 6), np.float32)}, 4 * 144, 4 * 4 * 3 * 3 * 3
    monkeypatch.setattr(budget, "MOST_LIVE_BYTES", 2 * answers + 16 + prepared)
    model.run(feed)
    monkeypatch.setattr(budget, "MOST_LIVE_BYTES", 2 * answers + 16)
    with pytest.raises(CaseError, match="needed at one time"):
        model.run(feed)


ONE_NUMBER = (
    ("clamped_relu", ("alpha", "beta")),
    ("leaky_relu", ("alpha",)),
    ("elu", ("alpha",)),
    ("sigmoid_hard", ("alpha", "beta")),
    ("linear_activation", ("alpha", "beta")),
    ("scaled_tanh", ("alpha", "beta")),
    ("thresholded_relu", ("alpha",)),
    ("threshold", ("alpha",)),
    ("clip", ("alpha", "beta")),
    ("inverse", ("epsilon",)),
    ("log", ("epsilon",)),
    ("rsqrt", ("epsilon",)),
    ("l2_norm", ("epsilon",)),
    ("batch_norm", ("epsilon",)),
    ("layer_norm", ("epsilon",)),
    ("local_response_norm", ("alpha", "beta", "k")),
)


@pytest.mark.parametrize(("name", "spoilt"), [(name, one) for name, all_ in ONE_NUMBER for one in all_])
def test_a_number_is_no_tensor(name: str, spoilt: str) -> None:
    """A tensor in its place would make the answer as large as it likes."""
    found = ops.get(name)
    assert found is not None
    arguments = dict.fromkeys(dict(ONE_NUMBER)[name], np.float32(1))
    if name == "batch_norm":
        arguments |= dict.fromkeys(("mean", "variance"), np.ones(2, np.float32))
    if name == "local_response_norm":
        arguments["size"] = np.int32(3)
    x = np.ones((1, 2, 3, 3), np.float32)
    assert found.run(x, **arguments).shape == x.shape
    with pytest.raises(OpError, match="one number was expected"):
        found.run(x, **{**arguments, spoilt: np.ones((9, 1, 1, 1, 1), np.float32)})


def _scale(p: Any) -> None:
    p.scale.shapeScale.append(WIDE)
    p.scale.scale.floatValue.extend([1.0] * WIDE)


def _bias(p: Any) -> None:
    p.bias.shape.append(WIDE)
    p.bias.bias.floatValue.extend([1.0] * WIDE)


WIDE = 1 << 16


@pytest.mark.parametrize("kind", ["scale", "bias", "average"])
def test_a_layer_that_spreads_its_input_asks_for_room(kind: str) -> None:
    """Two vectors of 256 KB, one along each axis, would make 16 GiB."""
    layer = proto("NeuralNetwork_pb2").NeuralNetworkLayer()
    getattr(layer, kind).SetInParent()
    {"scale": _scale, "bias": _bias}.get(kind, lambda p: None)(layer)
    run = layers.make(kind, getattr(layer, kind))
    assert run is not None
    columns = [np.ones((WIDE, 1, 1), np.float32)] if kind == "average" else []
    assert run(np.ones((1, 1, 2), np.float32), *columns).shape == (WIDE, 1, 2)
    with pytest.raises(OpError, match="would take more"):
        run(np.ones((1, 1, WIDE), np.float32), *columns)


def test_attention_and_quantisation_ask_for_room() -> None:
    query = np.ones((1, 1, 2, 4), np.float32)
    attend, scaled = ops.get("scaled_dot_product_attention"), ops.get("dequantize")
    assert attend is not None
    assert scaled is not None
    assert attend.run(query, query, query, np.zeros((1, 1, 2, 2), np.float32)).shape == query.shape
    with pytest.raises(OpError, match="would take more"):
        attend.run(query, query, query, np.broadcast_to(np.float32(0), (1 << 28, 1, 1, 1)))
    steps = np.ones((1, 3), np.int8)
    assert scaled.run(steps, np.ones(3, np.float32), axis=1).shape == (1, 3)
    with pytest.raises(OpError, match="along axis 0"):
        scaled.run(steps, np.ones(1 << 20, np.float32), axis=0)

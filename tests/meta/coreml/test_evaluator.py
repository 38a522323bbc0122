"""Saved models executed: what they answer, and what happens to bad ones."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.coreml import ops
from suite.coreml.evaluator import Evaluator
from suite.errors import CaseError, PocketproofError, Unsupported, UsageError
from suite.spec import Array
from tests.meta.conftest import ROOT
from tests.meta.coreml.writing import Package, small


@pytest.fixture
def feed() -> dict[str, Array]:
    return {"x": np.random.default_rng(1).standard_normal((1, 3, 6, 6)).astype(np.float32)}


def test_a_program_answers_and_shows_what_is_inside(tmp_path: Path, feed: dict[str, Array]) -> None:
    model = Evaluator.open(small().save(tmp_path / "m.mlpackage"))
    assert [(one.name, one.shape, one.dtype) for one in model.inputs] == [("x", (1, 3, 6, 6), "float32")]
    found = model.intermediates(feed)
    assert list(found) == ["c", "r", "m", "y"]
    np.testing.assert_array_equal(found["r"], np.maximum(found["c"], 0))
    np.testing.assert_array_equal(found["y"], found["r"] + found["m"])
    np.testing.assert_array_equal(model.run(feed)["y"], found["y"])
    np.testing.assert_array_equal(model.run(feed)["y"], found["y"])  # nothing is left behind
    assert list(model.intermediates(feed, ["m"])) == ["m"]
    with pytest.raises(UsageError, match="no value"):
        model.intermediates(feed, ["z"])


def test_halves_are_rounded_after_every_operation(tmp_path: Path, feed: dict[str, Array]) -> None:
    model = Evaluator.open(small("float16").save(tmp_path / "m.mlpackage"))
    for value in model.intermediates(feed).values():
        np.testing.assert_array_equal(value, value.astype(np.float16).astype(np.float32))
    assert model.run(feed)["y"].dtype == np.float16


def _loop() -> Package:
    """y: x doubled until it is 100 or more."""
    package = Package()
    package.input("x", (1,))
    package.const("two", np.float32(2))
    package.const("hundred", np.float32(100))
    one = package.op("while_loop", "y", (1,), loop_vars="x")
    for number, (inside, answer) in enumerate((("a", "go"), ("b", "next"))):
        block = one.blocks.add()
        package.typed(block.inputs.add(name=inside).type, "float32", (1,))
        step = block.operations.add(type="less" if number == 0 else "mul")
        step.inputs["x"].arguments.add(name=inside)
        step.inputs["y"].arguments.add(name="two" if number else "hundred")
        package.typed(step.outputs.add(name=answer).type, "float32" if number else "bool", (1,))
        block.outputs.append(answer)
    package.answer("y")
    return package


def test_a_loop_ends_or_is_ended(tmp_path: Path) -> None:
    model = Evaluator.open(_loop().save(tmp_path / "m.mlpackage"))
    assert model.run({"x": np.float32([3])})["y"] == [192]
    assert model.run({"x": np.float32([500])})["y"] == [500]
    with pytest.raises(CaseError, match="did not end"):
        model.run({"x": np.float32([-1])})


def test_a_branch_is_chosen(tmp_path: Path) -> None:
    package = Package()
    package.input("x", ())
    package.const("zero", np.float32(0))
    package.op("greater", "p", (), "bool", x="x", y="zero")
    one = package.op("cond", "y", (), pred="p")
    for kind in ("exp", "square"):
        block = one.blocks.add()
        step = block.operations.add(type=kind)
        step.inputs["x"].arguments.add(name="x")
        package.typed(step.outputs.add(name=kind).type, "float32", ())
        block.outputs.append(kind)
    package.answer("y")
    model = Evaluator.open(package.save(tmp_path / "m.mlpackage"))
    assert model.run({"x": np.float32(-3)})["y"] == 9
    assert model.run({"x": np.float32(1)})["y"] == pytest.approx(np.e)


def test_a_free_size_is_taken_as_it_comes(tmp_path: Path) -> None:
    package = Package()
    package.input("x", (-1, 2))
    package.op("relu", "y", (-1, 2), x="x")
    package.answer("y")
    model = Evaluator.open(package.save(tmp_path / "m.mlpackage"))
    assert model.run({"x": np.ones((5, 2))})["y"].shape == (5, 2)
    with pytest.raises(CaseError, match="declares"):
        model.run({"x": np.ones((5, 3))})
    with pytest.raises(UsageError, match="expected x"):
        model.run({"z": np.ones((5, 2))})


def _operation(package: Package, name: str) -> Any:
    return next(one for one in package.block.operations if one.outputs[0].name == name)


def _rename(package: Package) -> None:
    _operation(package, "r").type = "relu_of_tomorrow"


def _shape(package: Package) -> None:
    _operation(package, "c").outputs[0].type.tensorType.dimensions[2].constant.size = 5


def _cycle(package: Package) -> None:
    _operation(package, "c").inputs["x"].arguments[0].name = "y"


def _twice(package: Package) -> None:
    _operation(package, "r").outputs[0].name = "c"


def _missing(package: Package) -> None:
    del _operation(package, "c").inputs["weight"]


def _extra(package: Package) -> None:
    _operation(package, "r").inputs["speed"].arguments.add(name="axes")


def _offset(package: Package) -> None:
    _operation(package, "weight").attributes["val"].blobFileValue.offset = 1 << 40


def _absurd(package: Package) -> None:
    _operation(package, "c").outputs[0].type.tensorType.dimensions[0].constant.size = 1 << 40


def _newer(package: Package) -> None:
    package.model.specificationVersion = 99


def _dtype(package: Package) -> None:
    _operation(package, "m").outputs[0].type.tensorType.dataType = 23


def _unanswered(package: Package) -> None:
    package.block.outputs[0] = "nothing"


def _foreign_file(package: Package) -> None:
    _operation(package, "weight").attributes["val"].blobFileValue.fileName = "/etc/passwd"


def _other_type(package: Package) -> None:
    package.model.glmRegressor.SetInParent()


FAULTS: dict[str, tuple[Callable[[Package], None], type[PocketproofError], str]] = {
    "an operation that is not known": (_rename, Unsupported, r"relu_of_tomorrow \(r\)"),
    "a wrong shape": (_shape, CaseError, r"conv \(c\).*1x4x6x6.*1x4x5x6"),
    "a cycle": (_cycle, CaseError, "before anything defines it"),
    "a name twice": (_twice, CaseError, "second time"),
    "an argument too few": (_missing, CaseError, "weight is missing"),
    "an argument too many": (_extra, CaseError, "speed is not known"),
    "a weight outside of its file": (_offset, CaseError, "not within"),
    "an absurd size": (_absurd, CaseError, "hostile"),
    "a version to come": (_newer, Unsupported, "version 99"),
    "another type": (_dtype, CaseError, "float32 for m.*int32"),
    "an answer that is not there": (_unanswered, CaseError, "nothing defines"),
    "another file's weights": (_foreign_file, CaseError, "not there"),
    "another kind of model": (_other_type, Unsupported, "glmRegressor"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named(tmp_path: Path, feed: dict[str, Array], fault: str) -> None:
    plant, kind, words = FAULTS[fault]
    package = small()
    plant(package)
    path = package.save(tmp_path / "m.mlpackage")
    with pytest.raises(kind, match=words):
        Evaluator.open(path).run(feed)


def test_nothing_is_read_from_outside_of_the_package(tmp_path: Path) -> None:
    path = small().save(tmp_path / "m.mlpackage")
    manifest = path / "Manifest.json"
    good = json.loads(manifest.read_text())
    for place in ("../../secret", "/etc/passwd", "com.apple.CoreML/link"):
        (path / "Data/com.apple.CoreML/link").unlink(missing_ok=True)
        (path / "Data/com.apple.CoreML/link").symlink_to("/etc/passwd")
        good["itemInfoEntries"]["1"]["path"] = place
        manifest.write_text(json.dumps(good))
        with pytest.raises(CaseError, match="out of the package"):
            Evaluator.open(path)


def _outcome(path: Path, feed: dict[str, Array], expected: Array) -> str:
    """Refused, the right answer, or another one; anything else raises."""
    try:
        answers = Evaluator.open(path).run(feed)
    except PocketproofError as error:
        return "refused" if str(error) else "silent"
    [answer] = answers.values()
    same = answer.shape == expected.shape and np.array_equal(answer, expected, equal_nan=True)
    return "same" if same else "other"


_often = settings(max_examples=100, deadline=None)


@_often
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), more=st.integers(1, 4))
def test_flipped_bits_never_crash(
    tmp_path_factory: pytest.TempPathFactory, place: float, bit: int, more: int
) -> None:
    feed = {"x": np.ones((1, 3, 6, 6), np.float32)}
    path = small().save(tmp_path_factory.mktemp("flip") / "m.mlpackage")
    model = path / "Data/com.apple.CoreML/model.mlmodel"
    data = bytearray(model.read_bytes())
    for i in range(more):
        data[(int(place * len(data)) + 97 * i) % len(data)] ^= 1 << bit
    model.write_bytes(data)
    _outcome(path, feed, np.zeros(()))
    shutil.rmtree(path.parent)


@_often
@given(share=st.floats(0, 1, exclude_max=True), weights=st.booleans())
def test_a_truncated_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory, share: float, weights: bool
) -> None:
    feed = {"x": np.ones((1, 3, 6, 6), np.float32)}
    path = small().save(tmp_path_factory.mktemp("cut") / "m.mlpackage")
    expected = Evaluator.open(path).run(feed)["y"]
    file = path / "Data/com.apple.CoreML" / ("weights/weight.bin" if weights else "model.mlmodel")
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert _outcome(path, feed, expected) == "refused"
    shutil.rmtree(path.parent)


_NUMBERS = st.sampled_from([-(1 << 31), -1, 0, 1, 2, 7, 1 << 20, (1 << 31) - 1])


@_often
@given(kind=st.sampled_from(ops.names()), numbers=st.lists(_NUMBERS, min_size=1, max_size=6), data=st.data())
def test_absurd_arguments_are_refused_in_little_memory(
    tmp_path_factory: pytest.TempPathFactory, kind: str, numbers: list[int], data: st.DataObject
) -> None:
    """Any operator, with arguments that a damaged or hostile file may hold."""
    known = ops.get(kind)
    assert known is not None
    package = Package()
    package.input("x", (1, 2, 4, 4))
    package.const("n", np.int32(numbers))
    package.const("one", np.int32(numbers[0]))
    package.const("text", "valid")
    package.const("real", np.float32(numbers[0]))
    names = st.sampled_from(["x", "n", "one", "text", "real"])
    chosen = {name: data.draw(names) for name in sorted(known.required)}
    for name in sorted(known.known - known.required):
        if data.draw(st.booleans()):
            chosen[name] = data.draw(names)
    package.op(kind, "y", (-1, -1, -1, -1), **chosen)  # type: ignore[arg-type]
    package.answer("y")
    path = package.save(tmp_path_factory.mktemp("absurd") / "m.mlpackage")
    _outcome(path, {"x": np.ones((1, 2, 4, 4), np.float32)}, np.zeros(()))
    shutil.rmtree(path.parent)


_FRESH = """
import sys
import numpy as np
from suite.coreml.evaluator import Evaluator
Evaluator.open(sys.argv[1]).run({"x": np.ones((1, 3, 6, 6), np.float32)})
print(*{"tensorflow", "coremltools", "keras", "scipy", "email", "suite.coreml.network"} & set(sys.modules))
"""


def test_an_ml_program_is_run_without_what_it_does_not_need(tmp_path: Path) -> None:
    path = small().save(tmp_path / "m.mlpackage")
    command = [sys.executable, "-c", _FRESH, str(path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == ""

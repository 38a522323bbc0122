"""Fixtures: found in a folder; a broken one is one error with its file's name, and the others go on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from suite.discovery import BrokenFixture, discover, from_model_file, load_fixture
from suite.errors import UsageError
from suite.spec import ModelSpec

GOOD = "from suite.spec import ModelSpec\nSPEC = ModelSpec(build=lambda weights: None)\n"


@pytest.fixture(autouse=True)
def _modules_of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def write(folder: Path, **files: str) -> dict[str, ModelSpec | BrokenFixture]:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return discover(folder)


def test_each_file_with_a_spec_is_a_model_named_after_it(folder: Path) -> None:
    found = write(folder, beta=GOOD, alpha=GOOD, _helper="raise SystemExit", __init__="raise ValueError")
    assert list(found) == ["alpha", "beta"]
    spec = found["alpha"]
    assert isinstance(spec, ModelSpec)
    assert spec.path == folder / "alpha.py"


def test_a_spec_may_have_a_name_of_its_own(folder: Path) -> None:
    assert list(write(folder, file=GOOD.replace("ModelSpec(b", "ModelSpec(name='other', b"))) == ["other"]


def test_a_fixture_may_import_its_neighbours(folder: Path) -> None:
    helper = "from suite.spec import ModelSpec\nSPEC_OF_ALL = ModelSpec(notes=('shared',))\n"
    found = write(folder, _shared_recipe=helper, model="from _shared_recipe import SPEC_OF_ALL as SPEC\n")
    assert isinstance(found["model"], ModelSpec)
    assert found["model"].notes == ("shared",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "x = 1\nraise ValueError('no weights here')\n",
            r"raised ValueError on import \(line 2\): no weights",
        ),
        ("import no_such_module\n", r"raised ModuleNotFoundError on import \(line 1\): .*no_such_module"),
        ("def f(:\n", r"raised SyntaxError on import.*bad\.py, line 1"),
        ("import sys\nsys.exit(3)\n", r"raised SystemExit on import \(line 2\): 3"),
        ("SPECS = 1\n", "defines no SPEC"),
        ("SPEC = {'build': None}\n", "defines no SPEC"),
        (GOOD.replace("ModelSpec(b", "ModelSpec(name='a/b', b"), "names its model 'a/b'"),
        ("\x00", "bad.py raised"),
        (
            "from suite.spec import ExpectedFailure\n"
            "KNOWN = ExpectedFailure(variant='int8', check='parity', reason='swish')\n",
            r"raised TypeError on import \(line 2\): .*'owner'",
        ),
    ],
)
def test_a_broken_fixture_says_why_and_the_others_go_on(folder: Path, text: str, words: str) -> None:
    found = write(folder, bad=text, good=GOOD)
    assert isinstance(found["good"], ModelSpec)
    assert isinstance(found["bad"], BrokenFixture)
    message = str(found["bad"])
    assert "bad.py" in message
    with pytest.raises(BrokenFixture, match=words):
        load_fixture(folder / "bad.py")


def test_the_line_is_found_by_a_relative_folder_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "bad.py").write_text("x = 1\nraise ValueError('no')\n")
    monkeypatch.chdir(folder.parent)
    with pytest.raises(BrokenFixture, match=r"\(line 2\)"):
        load_fixture(Path("models/bad.py"))


def test_two_models_of_one_name_are_an_error(folder: Path) -> None:
    found = write(folder, one=GOOD, two=GOOD.replace("ModelSpec(b", "ModelSpec(name='one', b"))
    assert isinstance(found["one"], BrokenFixture)
    assert "two fixtures are named 'one'" in str(found["one"])
    assert "two.py" in str(found["one"])


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no folder of model fixtures at .*nowhere.*--fixtures-dir"):
        discover(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert discover(tmp_path / "empty") == {}


# --- models without a fixture ----------------------------------------------------------


@pytest.mark.parametrize("name", ["my_net.keras", "my_net.h5", "my_net.hdf5"])
def test_a_saved_model_is_a_spec_in_every_profile(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"1")
    spec = from_model_file(tmp_path / name)
    assert (spec.name, spec.file, spec.path) == ("my_net", tmp_path / name, None)
    assert spec.profiles == ("smoke", "default", "full")


def test_a_saved_model_folder_is_known_by_what_it_holds(tmp_path: Path) -> None:
    folder = tmp_path / "my_net"
    folder.mkdir()
    with pytest.raises(UsageError, match=r"without saved_model\.pb"):
        from_model_file(folder)
    (folder / "saved_model.pb").write_bytes(b"")
    assert from_model_file(folder).name == "my_net"


def test_what_cannot_be_a_reference_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model file at"):
        from_model_file(tmp_path / "absent.keras")
    (tmp_path / "m.tflite").write_bytes(b"1")
    with pytest.raises(UsageError, match=r"\.tflite or \.mlpackage goes with --artifact"):
        from_model_file(tmp_path / "m.tflite")

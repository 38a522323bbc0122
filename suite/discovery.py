"""Model fixtures, found in a folder: each file that defines SPEC is a model."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

from suite import stated
from suite.errors import PocketproofError, UsageError
from suite.spec import ModelSpec

BUNDLED = Path(__file__).resolve().parents[1] / "fixtures"
SAVED_MODELS = (".keras", ".h5", ".hdf5")


class BrokenFixture(PocketproofError):
    """A fixture that cannot be read; its cases fail, the other models' go on."""


def discover(folder: Path) -> dict[str, ModelSpec | BrokenFixture]:
    """Every model of the folder by name, in order of file names.

    A file that raises, or that defines no SPEC, is there as the error it gave.
    Files whose name begins with an underscore are helpers.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder of model fixtures at {folder}: give one with --fixtures-dir")
    found: dict[str, ModelSpec | BrokenFixture] = {}
    for path in sorted(folder.glob("*.py")):
        if path.name.startswith("_"):
            continue
        try:
            spec = load_fixture(path)
        except BrokenFixture as error:
            found[path.stem] = error
            continue
        if spec.name in found:
            found[spec.name] = BrokenFixture(
                f"two fixtures are named {spec.name!r}, the second in {path.name}: rename one"
            )
        else:
            found[spec.name] = spec
    return found


class _Loader(SourceFileLoader):
    """Compiles what the file says now: kept bytecode may be that of an edit within the same second."""

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path)
        code: CodeType = self.source_to_code(source, self.path)
        return code


def load_fixture(path: Path) -> ModelSpec:
    """The SPEC of one file, its name and path filled in; BrokenFixture says why there is none."""
    for entry in (str(path.parent.resolve()), str(path.parent.resolve().parent)):
        if entry not in sys.path:
            sys.path.append(entry)  # so that a fixture can import its neighbours
    name = f"pocketproof_fixture_{path.stem}"
    module_spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(name, str(path)))
    if module_spec is None or module_spec.loader is None:
        raise BrokenFixture(f"fixture {path.name} is no Python file")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        line = _line_in(path, error)
        raise BrokenFixture(
            f"fixture {path.name} raised {type(error).__name__} on import{line}: {error}. "
            "Mend the file, or take it out of the folder"
        ) from error
    spec = getattr(module, "SPEC", None)
    if not isinstance(spec, ModelSpec):
        raise BrokenFixture(
            f"fixture {path.name} defines no SPEC = ModelSpec(...): add one, "
            "or begin the file's name with an underscore"
        )
    name = spec.name or path.stem
    if "/" in name or not name:
        raise BrokenFixture(f"fixture {path.name} names its model {name!r}: a name has no slash")
    spec = replace(spec, name=name, path=path.resolve())
    try:
        stated.check(spec)
    except UsageError as error:
        raise BrokenFixture(f"fixture {path.name}: {error}") from error
    return spec


def from_model_file(path: Path) -> ModelSpec:
    """A spec for a saved model without a fixture: a .keras or .h5 file, or a SavedModel folder."""
    if not path.exists():
        raise UsageError(
            f"no model file at {path}: --model-file takes a .keras or .h5 file or a SavedModel folder"
        )
    if path.is_dir() and not (path / "saved_model.pb").exists():
        raise UsageError(f"{path} is a folder without saved_model.pb: --model-file takes a SavedModel folder")
    if path.is_file() and path.suffix not in SAVED_MODELS:
        raise UsageError(
            f"{path.name} is no model that can be a reference: --model-file takes "
            f"{', '.join(SAVED_MODELS)} or a SavedModel folder (a .tflite or .mlpackage goes with --artifact)"
        )
    return ModelSpec(
        name=path.stem, file=path.resolve(), profiles=("smoke", "default", "full"), weights="as saved"
    )


def _line_in(path: Path, error: BaseException) -> str:
    """Where in the fixture itself the error came up."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).resolve() == path.resolve():
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {line})" if line else ""

"""Imports point one way, and vendor libraries stay inside of their adapters."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.meta.conftest import ROOT
from tests.meta.graph import Graph, read

VENDORS = {
    "tensorflow",
    "keras",
    "coremltools",
    "ai_edge_litert",
    "tflite_runtime",
    "h5py",
    "adbutils",
}
ADAPTERS = ("suite.runtimes", "suite.converters", "suite.devices", "suite.coreml.proxy", "suite.faults")
# What a report and a gate are made of, on machines without any vendor library.
PLAIN = (
    "suite.record",
    "suite.spec",
    "suite.errors",
    "suite.store",
    "suite.gates",
    "suite.thresholds",
    "suite.stats",
    "suite.ratio",
    "suite.compare",
    "suite.baseline",
    "suite.history",
    "suite.folder",
    "suite.report",
    "suite.__main__",
    "suite.commands",
)
# Commands that can reach devices or runtimes: that part of them cannot be done without a vendor's library.
REACHING = (
    "suite.commands.phone",
    "suite.commands.compare",
    "suite.commands.bundle",
    "suite.commands.prove",
    "suite.commands.doctor",
)
# From the ground up: a module imports from its own row and those above it. A new module takes the
# lowest row that what it imports allows.
ROWS: tuple[tuple[str, ...], ...] = (
    (
        "suite.record",
        "suite.spec",
        "suite.stats",
        "suite.ratio",
        "suite.frames",
        "suite.scheduling",
        "suite.selection",
    ),
    ("suite.errors", "suite.invocation", "suite.alone", "suite.ahead"),
    (
        "suite.metrics",
        "suite.thresholds",
        "suite.stated",
        "suite.store",
        "suite.preprocess",
        "suite.discovery",
        "suite.cache",
        "suite.generated",
    ),
    (
        "suite.data",
        "suite.generated",
        "suite.converters.metadata",
        "suite.converters.norms",
        "suite.converters.packing",
        "suite.converters.flatbuffer",
        "suite.gates",
        "suite.compare",
        "suite.runtimes.base",
        "suite.runtimes.worker",
        "suite.runtimes.keras_layers",
        "suite.runtimes.loop",
        "suite.runtimes.camera",
        "suite.runtimes.endurance",
        "suite.runtimes.reads",
    ),
    (
        "suite.runtimes.interpreter",
        "suite.card",
        "suite.baseline",
        "suite.history",
        "suite.converters.tflite",
        "suite.converters.inspection",
        "suite.coreml.saved",
    ),
    ("suite.converters.interface", "suite.converters.contract", "suite.coreml.inspection"),
    ("suite.converters.coreml",),
    ("suite.runtimes", "suite.matrix", "suite.converters", "suite.report", "suite.coreml"),
    ("suite.coreml.checks", "suite.faults", "suite.folder"),
    (
        "suite.feeds",
        "suite.environment",
        "suite.accuracy",
        "suite.disagreements",
        "suite.contract",
        "suite.parity",
        "suite.benchmark",
        "suite.ab",
        "suite.realtime",
        "suite.devices",
        "suite.sessions",
        "suite.recorder",
        "suite.endings",
    ),
    ("suite.original", "suite.replayed", "suite.on_phone"),
    (
        "suite.converters.activations",
        "suite.converters.artifact",
        "suite.converters.constants",
        "suite.converters.pairing",
        "suite.converters.rounding",
    ),
    ("suite.floor",),
    ("suite.lab", "suite.phones", "suite.iphones", "suite.api"),
    (
        "suite.options",
        "suite.sides",
        "suite.checks",
        "suite.measurements",
        "suite.golden",
        "suite.doctor",
        "suite.localise",
        "suite.disagreements.case",
        "suite.benchmark_file",
    ),
    ("suite.seeded", "suite.glance", "suite.equivalence"),
    ("suite.faulty",),
    ("suite.prove",),
    ("suite.commands", "suite.__main__"),
    ("suite.run",),
    ("suite.collection", "suite.conclusion"),
    ("suite.plugin",),
)


def _within(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _vendor(module: str) -> bool:
    return module.partition(".")[0] in VENDORS


def vendors_out_of_place(graph: Graph) -> list[str]:
    """Vendor libraries outside of adapters, or at the top of one."""
    return [
        f"{name}:{one.line} imports {one.module}"
        for name, imports in graph.items()
        for one in imports
        if _vendor(one.module) and (one.at_top or not _within(name, ADAPTERS))
    ]


def plain_modules_that_reach_a_vendor(graph: Graph) -> list[str]:
    """Chains of imports, within functions too, from a plain module to a vendor library."""
    found = []
    for start in graph:
        if not _within(start, PLAIN) or start in REACHING:
            continue
        came_from: dict[str, str] = {}
        waiting = [start]
        while waiting:
            name = waiting.pop()
            for one in graph.get(name, ()):
                if one.module not in came_from and one.module != start:
                    came_from[one.module] = name
                    waiting.append(one.module)
        for vendor in filter(_vendor, came_from):
            chain = [vendor]
            while chain[-1] != start:
                chain.append(came_from[chain[-1]])
            found.append(" <- ".join(chain))
    return found


def row(module: str) -> int | None:
    """The row of the module, or of the nearest package around it that has one."""
    while module:
        for number, modules in enumerate(ROWS):
            if module in modules:
                return number
        module = module.rpartition(".")[0]
    return None


def imports_that_point_up(graph: Graph) -> list[str]:
    """Imports of a module that stands further from the ground, and modules that stand nowhere."""
    found = []
    for name, imports in graph.items():
        if name == "suite":  # loads the functions for scripts when they are first used
            found += [
                f"suite:{one.line} imports {one.module} when loaded"
                for one in imports
                if one.at_top and _within(one.module, ("suite",))
            ]
            continue
        if (own := row(name)) is None:
            found.append(f"{name} has no place in ROWS: give it one")
            continue
        for one in imports:
            other = row(one.module) if _within(one.module, ("suite",)) else None
            if other is not None and other > own:
                found.append(f"{name}:{one.line} imports {one.module}")
    return found


def cycles(graph: Graph) -> list[str]:
    """Modules that import each other when loaded."""
    done: set[str] = set()
    found: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            found.append(" -> ".join((*path[path.index(name) :], name)))
        elif name not in done:
            for one in graph.get(name, ()):
                # A package and its own parts may name each other: the package is loaded first.
                if one.at_top and not _within(name, (one.module,)):
                    visit(one.module, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    return found


CHECKS = (vendors_out_of_place, plain_modules_that_reach_a_vendor, imports_that_point_up, cycles)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return read(ROOT)


@pytest.mark.parametrize("check", CHECKS)
def test_the_suite_keeps_the_direction(graph: Graph, check: Callable[[Graph], list[str]]) -> None:
    assert len(graph) > 40
    assert check(graph) == []


def test_every_name_that_is_checked_is_there(graph: Graph) -> None:
    wanted = {*PLAIN, *(module for modules in ROWS for module in modules)}
    assert wanted - graph.keys() == set()


PLANTED: tuple[tuple[str, str, Callable[[Graph], list[str]], str], ...] = (
    (
        "suite/metrics.py",
        "def f():\n    import tensorflow",
        vendors_out_of_place,
        "suite.metrics:2 imports tensorflow",
    ),
    ("suite/runtimes/keras.py", "from keras import layers", vendors_out_of_place, "imports keras"),
    (
        "suite/runtimes/x.py",
        "try:\n    import h5py.h5f\nexcept ImportError:\n    pass",
        vendors_out_of_place,
        ":2 imports h5py.h5f",
    ),
    (
        "suite/gates/costs.py",
        "def f():\n    from ..runtimes import keras",
        plain_modules_that_reach_a_vendor,
        "tensorflow <- suite.runtimes.keras <- suite.gates.costs",
    ),
    (
        "suite/commands/gate.py",
        "def f():\n    from suite import lab",
        plain_modules_that_reach_a_vendor,
        "suite.lab <- suite.commands.gate",
    ),
    ("suite/spec.py", "from suite import errors", imports_that_point_up, "suite.spec:1 imports suite.errors"),
    (
        "suite/cache.py",
        "def f():\n    import suite.plugin",
        imports_that_point_up,
        "suite.cache:2 imports suite.plugin",
    ),
    ("suite/newcomer.py", "", imports_that_point_up, "suite.newcomer has no place"),
    (
        "suite/__init__.py",
        "from suite import lab",
        imports_that_point_up,
        "suite:1 imports suite.lab when loaded",
    ),
    ("suite/record.py", "import suite.spec", cycles, "suite.record -> suite.spec -> suite.record"),
)
FOR_CHECKERS = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from suite.plugin import x"


@pytest.mark.parametrize(("module", "code", "check", "words"), PLANTED)
def test_a_planted_import_is_found(
    tmp_path: Path, module: str, code: str, check: Callable[[Graph], list[str]], words: str
) -> None:
    files = {
        "suite/__init__.py": "def __getattr__(name):\n    from suite import lab",
        "suite/spec.py": FOR_CHECKERS,
        "suite/record.py": "",
        "suite/errors.py": "from suite import record",
        "suite/lab.py": "from suite.runtimes import keras",
        "suite/runtimes/__init__.py": "",
        "suite/runtimes/keras.py": "def f():\n    import tensorflow",
    }
    if check is cycles:
        files["suite/spec.py"] = "from suite import record"
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert check(read(tmp_path)) == []
    (tmp_path / module).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / module).write_text(code)
    assert any(words in found for found in check(read(tmp_path)))


# --- at run time -----------------------------------------------------------------------

COLLECT = """
import sys
import pytest
status = pytest.main(["--collect-only", "-q", *sys.argv[1:]])
assert "suite.plugin" in sys.modules
print("loaded:", *sorted({"tensorflow", "keras", "coremltools"} & set(sys.modules)))
sys.exit(status)
"""


@pytest.mark.parametrize("planted", ["", "import keras\n"])
def test_collecting_loads_no_converter(tmp_path: Path, planted: str) -> None:
    if planted:  # a library of that name which is quick to load; a fixture's mistake
        (tmp_path / "keras.py").write_text("")
        (tmp_path / "model.py").write_text(planted + "from suite.spec import ModelSpec\nSPEC = ModelSpec()\n")
    options = [f"--fixtures-dir={tmp_path}"] if planted else []
    ran = subprocess.run(
        [sys.executable, "-c", COLLECT, "-p", "no:cacheprovider", *options, "tests/validate"],
        cwd=ROOT,
        env=_environment(tmp_path if planted else None),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("test_parity") >= 1
    (loaded,) = [line for line in ran.stdout.splitlines() if line.startswith("loaded:")]
    assert loaded == ("loaded: keras" if planted else "loaded:")


def _environment(first: Path | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**kept, "PYTHONPATH": ":".join(map(str, filter(None, [first, ROOT])))}

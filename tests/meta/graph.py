"""Who imports whom, read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Import:
    """One module named by an import statement."""

    module: str
    line: int
    at_top: bool  # of the file: it happens when the module is imported


Graph = Mapping[str, list[Import]]


def read(root: Path) -> Graph:
    """Every import of every module of the package below `root`, but those for type checkers alone."""
    files = {_name(path.relative_to(root)): path for path in sorted((root / "suite").rglob("*.py"))}
    return {
        name: list(_imports(ast.parse(path.read_text()), name, path, files)) for name, path in files.items()
    }


def _name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _imports(tree: ast.Module, name: str, path: Path, known: Iterable[str]) -> Iterator[Import]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node, at_top in _statements(tree, True):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, at_top) for alias in node.names)
            continue
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *filter(None, [base])])
        below = [f"{base}.{alias.name}" for alias in node.names]
        modules = {module if module in known else base for module in below}
        yield from (Import(module, node.lineno, at_top) for module in sorted(modules))


def _statements(node: ast.AST, at_top: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_top
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for other in child.orelse:
                yield from _statements(ast.Module([other], []), at_top)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _statements(child, at_top and not inside)

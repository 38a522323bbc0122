"""What a build rests on: the user's Python modules, the data that it opens, and installed packages.

They are the model's dependencies: when a file is another, or a package has
another version, the model is built again.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from suite.cache import default_cache

_watchers: list[set[Path]] = []  # an audit hook cannot be taken away, so there is one, and it looks here


@contextmanager
def watched() -> Iterator[set[Path]]:
    """Collect what is read; the set is complete when the block ends.

    The user's modules are forgotten first, so that each is read anew, as it is now.
    """
    _forget_modules()
    _install_hook()
    opened: set[Path] = set()
    reads: set[Path] = set()
    _watchers.append(opened)
    try:
        with _hdf5_watched(opened):
            yield reads
    finally:
        _watchers.remove(opened)
        reads.update(path.resolve() for path in opened | set(_module_files().values()) if of_the_user(path))


def packages(modules: Iterable[str] | None = None) -> dict[str, str]:
    """Version by name of the distributions that these modules come from; of all that are loaded, if None.

    All, for what an earlier build in this process imported is not imported anew by the next one.
    """
    from importlib import metadata

    loaded = {name.partition(".")[0] for name in (list(sys.modules) if modules is None else modules)}
    names = {name for module in loaded for name in _distributions().get(module, ()) if name}
    return {name: metadata.version(name) for name in sorted(names)}


@cache
def _distributions() -> Mapping[str, list[str]]:
    """The names of the distributions behind each top-level module."""
    from importlib import metadata

    return metadata.packages_distributions()


def code(modules: Iterable[str], files: Iterable[tuple[str, str]]) -> list[str]:
    """What stands for the code of modules: versions of packages; hashes of all the user's own code.

    `files`: those that the build read, with their SHA-256.
    """
    places = {name: getattr(sys.modules.get(name), "__file__", None) for name in modules}
    own = {name for name, place in places.items() if place is not None and of_the_user(Path(place))}
    hashes = {sha256 for path, sha256 in files if path.endswith(".py")} if own else set()
    return sorted({*hashes, *(f"{name} {it}" for name, it in packages(set(places) - own).items())})


def of_the_user(path: Path) -> bool:
    """Whether a file belongs neither to Python, its packages, this suite, nor the system."""
    resolved = path.resolve()
    return resolved.suffix != ".pyc" and not any(resolved.is_relative_to(folder) for folder in _foreign())


@cache
def _foreign() -> tuple[Path, ...]:
    libraries = ("stdlib", "platstdlib", "purelib", "platlib")
    return (
        *(Path(sysconfig.get_path(name)).resolve() for name in libraries),
        Path(sys.base_prefix).resolve(),
        Path(__file__).resolve().parents[1],
        *(Path(name) for name in ("/proc", "/sys", "/dev", "/etc", "/usr/lib", "/usr/share")),
        default_cache().root.resolve(),  # what stands there was derived from the other reads
    )


def _module_files() -> dict[str, Path]:
    return {
        name: Path(file)
        for name, module in list(sys.modules.items())
        if (file := getattr(module, "__file__", None)) is not None
    }


def _forget_modules() -> None:
    for name, file in _module_files().items():
        if name != "__main__" and of_the_user(file):
            del sys.modules[name]


@cache
def _install_hook() -> None:
    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and _watchers and isinstance(args[0], str) and args[1] in ("r", "rb", None):
            _watchers[-1].add(Path(args[0]))

    sys.addaudithook(hook)


@contextmanager
def _hdf5_watched(opened: set[Path]) -> Iterator[None]:
    """HDF5 opens its files outside Python's sight, so its opener is watched for the time being."""
    import h5py

    original = h5py.File.__init__

    def opener(self: Any, name: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(name, str | Path):
            opened.add(Path(name))
        original(self, name, *args, **kwargs)

    h5py.File.__init__ = opener
    try:
        yield
    finally:
        h5py.File.__init__ = original

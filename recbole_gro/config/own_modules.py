"""Modules of a user's own, those that they import, and their sources as they were when the process first read them.

Results depend on all of this code. An edit while the process runs changes the file and not what is computed, so a
source is read once: results of the code that ran must not be taken for those of the code that the file has now.
"""

import ast
import hashlib
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

LIBRARIES = {"recbole_gro", "recbole", "torch", *sys.stdlib_module_names}  # their versions stand for their source
INSTALLED = tuple({sysconfig.get_path(kind) + os.sep for kind in ("purelib", "platlib")})
OF_PACKAGES = {"site-packages", "dist-packages"}  # folders of installed packages, also of the user or the system


class _Read(NamedTuple):
    """Hold a source, and the spec of the module then, which a reload replaces; None: not imported yet."""

    source: str
    spec: Any


_sources: dict[str, _Read] = {}


def is_own(module: str) -> bool:
    """Return whether a module is of a user's own: none of this package, RecBole, PyTorch or Python.

    Args:
        module: its dotted name.
    """
    return module.partition(".")[0] not in LIBRARIES


def source(name: str) -> str:
    """Return the source of a module as it was when it was first read or reloaded; of compiled ones, a digest.

    Args:
        name: of the module, which need not be imported; "" is the source of one that is not found.
    """
    spec = getattr(sys.modules.get(name), "__spec__", None)
    read = _sources.get(name)
    text = read.source if read and (read.spec is None or read.spec is spec) else _read(name)
    _sources[name] = _Read(text, spec)
    return text


def reached(modules: Iterable[str], besides: Iterable[str] = ()) -> set[str]:
    """Return modules of a user's own and those that they import, at any depth: of their packages or not installed.

    Imports inside functions count, whether they were executed or not. What else a process has imported does not:
    worker processes have not.

    Args:
        modules: names; they count even where they are installed, and so do others of their packages.
        besides: further names, which count where they are not, such as those of base classes.
    """
    given = [*modules]
    packages = {name.partition(".")[0] for name in given}
    found, seen, waiting = set[str](), set[str](), [*given, *besides]
    while waiting:
        name = waiting.pop()
        if name not in seen and (name in given or (is_own(name) and _counts(name, packages))):
            found.add(name)
            waiting += _imported_by(name)
        seen.add(name)
    return found


def _counts(name: str, packages: set[str]) -> bool:
    """Return whether there is a module, of one of some packages or not installed; a script or notebook is none."""
    package = name.partition(".")[0]
    top = getattr(sys.modules.get(package), "__file__", None)
    if name == "__main__" or (package not in packages and top and _is_installed(top)):
        return False  # spares a search for each name taken from numpy
    file = _file(name)
    return (bool(file) or name in sys.modules) and (package in packages or not (file and _is_installed(file)))


def tree_of(name: str) -> ast.Module | None:
    """Return the syntax of a module's source; None where it has none."""
    return _parsed(source(name))


def _read(name: str) -> str:
    module, file = sys.modules.get(name), _file(name)
    try:
        if module is not None:
            return inspect.getsource(module)
        if file and file.endswith(".py"):
            return Path(file).read_text(encoding="utf-8")
    except (OSError, TypeError, ValueError):  # a compiled module, or an empty file
        pass
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file and os.path.isfile(file) else ""


def _file(name: str) -> str | None:
    """Return the file of a module, also of one that is not imported; None where there is none."""
    if module := sys.modules.get(name):
        return getattr(module, "__file__", None)
    spec = _spec(name)
    return spec.origin if spec and spec.has_location else None


def _spec(name: str) -> importlib.machinery.ModuleSpec | None:
    """Return where a module would be imported from, without importing its packages."""
    parent = name.rpartition(".")[0]
    try:
        if not parent:
            return importlib.util.find_spec(name)
        package = sys.modules.get(parent)
        if package is None and (found := _spec(parent)):
            folders = found.submodule_search_locations
        else:
            folders = getattr(package, "__path__", None)
        return importlib.machinery.PathFinder.find_spec(name, list(folders)) if folders else None
    except (ImportError, ValueError):
        return None


def _is_installed(file: str) -> bool:
    return file.startswith(INSTALLED) or not OF_PACKAGES.isdisjoint(Path(file).parts)


def _imported_by(name: str) -> Iterator[str]:
    """Yield the names of modules that one imports, or that its modules, functions and classes come from."""
    for member in [*vars(sys.modules[name]).values()] if name in sys.modules else []:
        if isinstance(member, ModuleType):
            yield member.__name__
        elif isinstance(member, type | FunctionType | BuiltinFunctionType) and isinstance(member.__module__, str):
            yield member.__module__
    is_package = Path(_file(name) or "").stem == "__init__"
    package = name if is_package else name.rpartition(".")[0]
    for level, module, members in _imports(source(name)):
        above = package.split(".")[: -(level - 1) or None] if level else []
        base = ".".join([*above, *filter(None, [module])])
        yield from with_packages(base)
        yield from (f"{base}.{member}" for member in members)


@lru_cache(maxsize=1024)
def _imports(text: str) -> tuple[tuple[int, str, tuple[str, ...]], ...]:
    """Return the imports of a source, those inside functions too: level, module, and names taken from it."""
    found: list[tuple[int, str, tuple[str, ...]]] = []
    for node in ast.walk(_parsed(text) or ast.Module([], [])):
        if isinstance(node, ast.Import):
            found += [(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or "", tuple(alias.name for alias in node.names)))
    return tuple(found)


def with_packages(name: str) -> Iterator[str]:
    """Yield the names of the packages of a module, and its own."""
    parts = name.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


@lru_cache(maxsize=1024)
def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):  # such as the digest of a compiled module
        return None

"""Settings that code of a user's own reads without declaring them: what its sources name, and what no part declares.

Stages that read a key which their fingerprint lacks would be taken for finished with another value. So each doubt is
decided for a key: one too many costs a computation, one too few a wrong result.
"""

import ast
import inspect
import os
import sys
import sysconfig
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

from recbole_gro.config.known_names import names_in
from recbole_gro.config.plugins import is_own, sources_of
from recbole_gro.config.settings import Settings, declared_keys
from recbole_gro.utils.registry import registered

INSTALLED = tuple({sysconfig.get_path(kind) + os.sep for kind in ("purelib", "platlib")})
DECLARING = ("settings", "training_settings", "output_settings")  # attributes of parts


def undeclared_keys(classes: Iterable[type], declared: Iterable[Sequence[type[Settings]] | None] = ()) -> set[str]:
    """Return the keys that classes of a user's own may read, and that their declarations lack.

    These are the keys that the sources of their modules name, but for those that another part there declares, and all
    that these modules, or those of a user's own that they import, declare for no part: helpers may read them.

    Args:
        classes: of a part; those of this package, RecBole and torch count for nothing.
        declared: classes of settings that it declares, by what they are for; None: not declared.
    """
    own = [cls for cls in classes if sources_of(cls)]
    if not own:
        return set()
    names = {base.__module__ for cls in own for base in cls.__mro__ if sources_of(base)}
    modules = [sys.modules[name] for name in names if name in sys.modules]
    reached = _reached(names)
    read = {name for cls in own for name in names_in(cls)}.union(*(_named(tree, reached) for tree in _trees(own)))
    read = read.union(_of_no_part(reached), *(_undeclared_in_module(module, reached) for module in modules))
    known = {name for settings in declared for each in settings or () for name in each.names}
    return (read & declared_keys().keys()) - known


def _undeclared_in_module(module: ModuleType, reached: set[str]) -> set[str]:
    """Return what functions, constants and classes of a module name, but for what its parts declare."""
    members = [*vars(module).values()]
    read = set().union(*(_named(tree, reached) for tree in _trees([module])), *map(_names_of, members))
    return read - {name for member in members for name in _declared_by(member)}


def _of_no_part(reached: set[str]) -> set[str]:
    """Return the keys that modules of a user declare and no registered part does."""
    own = {name for settings in _own_settings(reached) for name in vars(settings) if name in settings.names}
    return own - {name for part in registered() for name in _declared_by(part)}


def _reached(modules: Iterable[str]) -> set[str]:
    """Return modules of a user's own and those that they import, at any depth: of their packages or not installed.

    What else a process has imported does not count: worker processes have not.
    """
    found: set[str] = set()
    waiting = [*modules]
    packages = {name.partition(".")[0] for name in waiting}
    while waiting:
        name = waiting.pop()
        if name in found or name not in sys.modules or not is_own(name):
            continue
        if name.partition(".")[0] in packages or not _is_installed(sys.modules[name]):
            found.add(name)
            waiting += _imported_by(sys.modules[name])
    return found


def _is_installed(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return bool(file) and any(str(file).startswith(folder) for folder in INSTALLED)


def _imported_by(module: ModuleType) -> Iterator[str]:
    """Yield the names of modules that one imports, or that its members come from."""
    for member in vars(module).values():
        name = member.__name__ if isinstance(member, ModuleType) else getattr(member, "__module__", None)
        if isinstance(name, str):
            yield name
    for node in (node for tree in _trees([module]) for node in ast.walk(tree)):  # inside functions too
        if isinstance(node, ast.Import):
            yield from (name for alias in node.names for name in _with_packages(alias.name))
        elif isinstance(node, ast.ImportFrom):
            package = (module.__package__ or "").split(".")[: -(node.level - 1) or None] if node.level else []
            base = ".".join([*package, *filter(None, [node.module])])
            yield from _with_packages(base)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _with_packages(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _declared_by(part: Any) -> set[str]:
    """Return the names of the settings that a part declares; none for what is no class."""
    declared = [getattr(part, kind, None) for kind in DECLARING] if isinstance(part, type) else []
    return {name for each in declared if isinstance(each, tuple) for settings in each for name in _names_of(settings)}


def _named(tree: ast.AST, reached: set[str]) -> set[str]:
    """Return the strings and attributes of a source, and the keys of the classes of settings that it names."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.alias):  # such as of an import inside a function, under another name
            found.add(node.name)
    return found.union(*(settings.names for settings in _own_settings(reached) if settings.__name__ in found))


def _own_settings(modules: set[str]) -> Iterator[type[Settings]]:
    """Yield the classes of settings that modules declare."""
    waiting = [Settings]
    while waiting:
        for settings in waiting.pop().__subclasses__():
            waiting.append(settings)
            if settings.__module__ in modules:
                yield settings


def _names_of(member: Any) -> tuple[str, ...]:
    return tuple(member.names) if isinstance(member, type) and issubclass(member, Settings) else ()


def _trees(sources: Iterable[type | ModuleType]) -> Iterator[ast.AST]:
    """Yield the syntax of classes or modules that have a source."""
    for each in sources:
        try:
            yield ast.parse(textwrap.dedent(inspect.getsource(each)))
        except (OSError, TypeError, SyntaxError):
            continue

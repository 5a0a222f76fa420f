"""Settings that code of a user's own reads without declaring them: what its sources name, and what no part declares.

Stages that read a key which their fingerprint lacks would be taken for finished with another value. So each doubt is
decided for a key: one too many costs a computation, one too few a wrong result.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

from recbole_gro.config.known_names import names_in
from recbole_gro.config.plugins import is_own, sources_of
from recbole_gro.config.settings import Settings, declared_keys
from recbole_gro.utils.registry import registered

DECLARING = ("settings", "training_settings", "output_settings")  # attributes of parts


def undeclared_keys(classes: Iterable[type], declared: Iterable[Sequence[type[Settings]] | None] = ()) -> set[str]:
    """Return the keys that classes of a user's own may read, and that their declarations lack.

    These are the keys that the sources of their modules name, but for those that another part there declares, and all
    that a user declared for no part, since these may be read through helpers of any module.

    Args:
        classes: of a part; those of this package, RecBole and torch count for nothing.
        declared: classes of settings that it declares, by what they are for; None: not declared.
    """
    own = [cls for cls in classes if sources_of(cls)]
    if not own:
        return set()
    names = {base.__module__ for cls in own for base in cls.__mro__ if sources_of(base)}
    modules = [sys.modules[name] for name in names if name in sys.modules]
    read = {name for cls in own for name in names_in(cls)}
    read = read.union(_of_no_part(), *map(_undeclared_in_module, modules), *map(_named, _trees(own)))
    known = {name for settings in declared for each in settings or () for name in each.names}
    return (read & declared_keys().keys()) - known


def _undeclared_in_module(module: ModuleType) -> set[str]:
    """Return what functions, constants and classes of a module name, but for what its parts declare."""
    members = [*vars(module).values()]
    read = set().union(*map(_named, _trees([module])), *map(_names_of, members))
    return read - {name for member in members for name in _declared_by(member)}


def _of_no_part() -> set[str]:
    """Return the keys that a user declared and no registered part does."""
    own = {name for settings in _own_settings() for name in vars(settings) if name in settings.names}
    return own - {name for part in registered() for name in _declared_by(part)}


def _declared_by(part: Any) -> set[str]:
    """Return the names of the settings that a part declares; none for what is no class."""
    declared = [getattr(part, kind, None) for kind in DECLARING] if isinstance(part, type) else []
    return {name for each in declared if isinstance(each, tuple) for settings in each for name in _names_of(settings)}


def _named(tree: ast.AST) -> set[str]:
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
    return found.union(*(settings.names for settings in _own_settings() if settings.__name__ in found))


def _own_settings() -> Iterator[type[Settings]]:
    """Yield the classes of settings that a user has declared."""
    waiting = [Settings]
    while waiting:
        for settings in waiting.pop().__subclasses__():
            waiting.append(settings)
            if is_own(settings.__module__):
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

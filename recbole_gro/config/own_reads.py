"""Settings that code of a user's own reads without declaring them: what its sources name, and what no part declares.

Stages that read a key which their fingerprint lacks would be taken for finished with another value. So each doubt is
decided for a key: one too many costs a computation, one too few a wrong result.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from recbole_gro.config.known_names import names_in, trees_of
from recbole_gro.config.own_modules import is_own, reached, tree_of
from recbole_gro.config.settings import Settings, declared_keys, names_of
from recbole_gro.utils.registry import registered

DECLARING = ("settings", "training_settings", "output_settings")  # attributes of parts


def undeclared_keys(classes: Iterable[type], declared: Iterable[Sequence[type[Settings]] | None] = ()) -> set[str]:
    """Return the keys that classes of a user's own may read, and that their declarations lack.

    These are the keys that the sources of their modules name, but for those that another part there declares, and all
    that these modules, or those of a user's own that they import, declare for no part: helpers may read them.

    Args:
        classes: of a part; those of this package, RecBole and torch count for nothing.
        declared: classes of settings that it declares, by what they are for; None: not declared.
    """
    own = [cls for cls in classes if any(is_own(base.__module__) for base in cls.__mro__)]
    if not own:
        return set()
    modules = {base.__module__ for cls in own for base in cls.__mro__ if is_own(base.__module__)}
    found = modules | reached({cls.__module__ for cls in own} & modules, modules)
    read = {name for cls in own for name in names_in(cls)}.union(*(_named(tree, found) for tree in trees_of(own)))
    read = read.union(_of_no_part(found), *(_undeclared_in_module(name, found) for name in modules))
    known = {name for settings in declared for each in settings or () for name in each.names}
    return (read & declared_keys().keys()) - known


def _undeclared_in_module(name: str, imported: set[str]) -> set[str]:
    """Return what functions, constants and classes of a module name, but for what its parts declare."""
    members = [*vars(sys.modules[name]).values()] if name in sys.modules else []
    tree = tree_of(name)
    read = (_named(tree, imported) if tree else set()).union(*map(names_of, members))
    return read - {each for member in members for each in _declared_by(member)}


def _of_no_part(modules: set[str]) -> set[str]:
    """Return the keys that modules of a user declare and no registered part does."""
    own = {name for settings in _own_settings(modules) for name in vars(settings) if name in settings.names}
    return own - {name for part in registered() for name in _declared_by(part)}


def _declared_by(part: Any) -> set[str]:
    """Return the names of the settings that a part declares; none for what is no class."""
    declared = [getattr(part, kind, None) for kind in DECLARING] if isinstance(part, type) else []
    return {name for each in declared if isinstance(each, tuple) for settings in each for name in names_of(settings)}


def _named(tree: ast.AST, modules: set[str]) -> set[str]:
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
    return found.union(*(settings.names for settings in _own_settings(modules) if settings.__name__ in found))


def _own_settings(modules: set[str]) -> Iterator[type[Settings]]:
    """Yield the classes of settings that modules declare."""
    waiting = [Settings]
    while waiting:
        for settings in waiting.pop().__subclasses__():
            waiting.append(settings)
            if settings.__module__ in modules:
                yield settings

"""What the class of a user's own part overrides: nothing calls a misspelled method, and no result would show it."""

import ast
import inspect
import sys
import types
from collections.abc import Iterable
from functools import cache
from typing import Any

from recbole_gro.utils.errors import UserError, nearest

PACKAGE = __name__.partition(".")[0]
LIBRARIES = {PACKAGE, "recbole", "torch", *sys.stdlib_module_names}
CLOSE = 0.8  # of difflib: show and shown have 0.89, of the names that a helper has few reach it


@cache
def check_overrides(part: str, cls: type, acting: tuple[str, ...] = ()) -> None:
    """Check that the members of a part of a user's own are such as this package or they themselves use.

    A member is misspelled if its name is close to one of a base class of this package that the class does not override,
    and the modules of the class use it nowhere, as they use the name of a helper. So are members of a class of a user's
    own that the part names, such as the trainer of an attacker.

    Args:
        part: kind and name, for messages.
        cls: its class; in those of this package nothing is checked.
        acting: methods of which such a part overrides at least one; () where it need not.

    Raises:
        UserError: a member is misspelled, or the class overrides none of the methods.
    """
    own = [base for base in cls.__mro__ if package(base) not in LIBRARIES]
    ours = [base for base in cls.__mro__ if package(base) == PACKAGE]
    if not own or not ours:
        return
    _check_spelling(part, own, ours, cls)
    overridden = [name for name in acting if getattr(cls, name) is not getattr(ours[-1], name)]
    if acting and not overridden and _in_code(own).isdisjoint(acting):  # a method may set another one
        named = f"{', '.join(acting[:-1])} and {acting[-1]}"
        raise UserError(f"{part}: {cls.__name__} does nothing, since it overrides none of {named}")
    for member in [member for base in own for member in vars(base).values()]:
        if isinstance(member, type):
            check_overrides(part, member)


def _check_spelling(part: str, own: list[type], ours: list[type], cls: type) -> None:
    given = {name for base in own for name in vars(base) if not name.startswith("_")}
    meant = {name for base in ours for name in vars(base) if not name.startswith("_")} - given
    unknown = given.difference(*(vars(base) for base in cls.__mro__ if base not in own))
    suspected = {name: hint for name in sorted(unknown) if (hint := nearest(name, sorted(meant), CLOSE))}
    if not suspected:
        return
    used = set[str]().union(*(_used_in(module) for module in {base.__module__ for base in own}))
    for name, hint in suspected.items():
        if name not in used:
            kind = "method" if inspect.isfunction(getattr(ours[0], hint)) else "attribute"
            raise UserError(f"{part}: {name} is no {kind} of {ours[0].__name__}; did you mean {hint}?")


def package(part: Any) -> str:
    """Return the name of the top package of a class or function."""
    return str(part.__module__).partition(".")[0]


def _used_in(module: str) -> set[str]:
    """Return the names and strings that a module uses, besides the names that it defines."""
    found: set[str] = set()
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError, SyntaxError):  # a notebook, or a module without a source
        return _in_code(vars(sys.modules[module]).values()) if module in sys.modules else found
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def _in_code(members: Iterable[Any]) -> set[str]:
    """Return the names and strings that the code of functions, and of the methods of classes, uses."""
    found, waiting, seen = set[str](), [*members], set[int]()
    while waiting:
        member = waiting.pop()
        if id(member) in seen:
            continue
        seen.add(id(member))
        if isinstance(member, type) and package(member) not in LIBRARIES:
            waiting += vars(member).values()
        elif isinstance(member, property):
            waiting += (member.fget, member.fset)
        elif isinstance(member, staticmethod | classmethod):
            waiting.append(member.__func__)
        elif isinstance(member, types.FunctionType):
            waiting += (member.__code__, getattr(member, "__wrapped__", None))
        elif isinstance(member, types.CodeType):
            found.update(member.co_names, (each for each in member.co_consts if isinstance(each, str)))
            waiting += member.co_consts
    return found

"""Whether the class of a user's own part can be one: its base, the methods that it needs, and how they are called."""

import dis
import inspect
from collections.abc import Iterator
from functools import cache
from types import FunctionType
from typing import Any

from recbole_gro.utils.errors import UserError
from recbole_gro.utils.overrides import package

PACKAGE = __name__.partition(".")[0]


@cache
def check_class(part: str, entry: Any, base: type) -> None:
    """Check that a part is a class that can do what its base class says.

    Args:
        part: kind and name, for messages.
        entry: what is registered; a class of this package is not checked.
        base: class of this package that such parts derive from.

    Raises:
        UserError: it is no such class, lacks a method that the base class leaves open, or has one that cannot be called
            as that of the base class is.
    """
    name = getattr(entry, "__name__", repr(entry))
    if not isinstance(entry, type) or not issubclass(entry, base):
        raise UserError(f"{part}: {name} is no subclass of {base.__name__}; derive it from that class")
    own = [cls for cls in entry.__mro__ if package(cls) != PACKAGE and not issubclass(base, cls)]
    if not own:
        return
    if lacking := sorted(_left_open(entry) - _assigned_in(own)):
        raise UserError(f"{part}: {name} does not define {' and '.join(lacking)}, as every {base.__name__} does")
    for method, wanted in _called(entry, base):
        try:
            inspect.signature(method).bind(*wanted)
        except TypeError:
            given = inspect.signature(method)
            raise UserError(
                f"{part}: {method.__name__} of {name} takes {given}, where it is called with ({', '.join(wanted)})"
            ) from None


def _left_open(cls: type) -> set[str]:
    """Return the names of the methods that no class has defined."""
    members = ((name, inspect.getattr_static(cls, name, None)) for name in dir(cls))
    return {name for name, member in members if getattr(member, "__isabstractmethod__", False)}


def _assigned_in(classes: list[type]) -> set[str]:
    """Return the names of the attributes that methods of classes assign, such as another method."""
    methods = (member for cls in classes for member in vars(cls).values() if isinstance(member, FunctionType))
    steps = (step for method in methods for step in dis.get_instructions(method))
    return {str(step.argval) for step in steps if step.opname == "STORE_ATTR"}


def _called(entry: type, base: type) -> Iterator[tuple[FunctionType, list[str]]]:
    """Yield each method of an entry that overrides one of its base class, and the arguments that all calls have."""
    for name, meant in vars(base).items():
        method = inspect.getattr_static(entry, name)
        if isinstance(meant, FunctionType) and isinstance(method, FunctionType) and package(method) != PACKAGE:
            parameters = inspect.signature(meant).parameters.values()
            yield method, [one.name for one in parameters if one.default is one.empty and one.kind < one.VAR_POSITIONAL]

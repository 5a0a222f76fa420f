"""Registries of named classes or functions, one per extension point."""

import sys
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from recbole_gro.utils.errors import unknown_name
from recbole_gro.utils.overrides import check_overrides
from recbole_gro.utils.part_class import check_class

Entry = TypeVar("Entry")
_names: dict[Any, str] = {}  # kind and name by entry
_modules: dict[Any, str] = {}  # name of the module that registered it, by entry


def registered_as(entry: Any) -> str:
    """Return the kind and the name of a registered entry, as `defense roll`; "" for another object."""
    return _names.get(entry, "")


def registering_module(entry: Any) -> str:
    """Return the name of the module that registered an entry, which may have made it by a function of another one; ""
    for another object."""
    return _modules.get(entry, "")


def registered() -> list[Any]:
    """Return the entries of all registries."""
    return [*_names]


class Registry(Generic[Entry]):
    """A mapping from names to entries that refuses duplicate names and reports unknown ones.

    A class of a user's own is checked when it is looked up, which every command does before it trains anything.

    Args:
        kind: of the entries, for messages.
        base: class that the entries derive from; None: any object is one.
        acting: methods of which a class overrides at least one; none: it need not.

    >>> shapes = Registry("shape")
    >>> @shapes.register("square")
    ... class Square: ...
    >>> shapes["square"] is Square
    True
    >>> shapes["squary"]
    Traceback (most recent call last):
        ...
    recbole_gro.utils.errors.UserError: unknown shape 'squary'. Did you mean 'square'? Known: square.
    """

    def __init__(self, kind: str, base: type | None = None, acting: tuple[str, ...] = ()):
        self.kind, self._base = kind, base
        self._acting = acting
        self._entries: dict[str, Entry] = {}

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Return a decorator that registers an entry.

        Raises:
            ValueError: the name is registered already.
        """

        def file(entry: Entry) -> Entry:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered already, as {self._entries[name]!r}")
            self._entries[name] = entry
            _names[entry] = f"{self.kind} {name}"
            _modules[entry] = _caller()
            return entry

        return file

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries, extensible=True)
        entry = self._entries[name]
        if self._base is not None:
            check_class(f"{self.kind} {name}", entry, self._base)
        if isinstance(entry, type):
            check_overrides(f"{self.kind} {name}", entry, self._acting)
        return entry

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)


def _caller() -> str:
    """Return the name of the module outside this package, if any, from which a function of this module was called."""
    frame, package = sys._getframe(1), __name__.partition(".")[0]
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] == package:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__"))

"""A table of named classes or functions: what register_* and create_* of every extension point share."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from recbole_gro.utils.errors import unknown_name

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """Names and what they stand for; loud on a name taken twice and on one that nobody registered.

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

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Decorator that files an entry under `name`; ValueError where the name is taken."""

        def file(entry: Entry) -> Entry:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered already, as {self._entries[name]!r}")
            self._entries[name] = entry
            return entry

        return file

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

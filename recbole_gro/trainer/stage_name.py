"""The name of a trained stage where its trainer does not know it: that of a defense, whatever trainers it makes."""

import contextlib
import itertools
from collections.abc import Iterator
from contextvars import ContextVar

_names: ContextVar[Iterator[str] | None] = ContextVar("names of stages", default=None)


@contextlib.contextmanager
def stages_named(name: str) -> Iterator[None]:
    """Name the stages of the trainers that are made inside the block: NAME, NAME-2, NAME-3, ..

    Else a defense whose trainer has the stage of another one would write its checkpoint over the other's.
    """
    token = _names.set(itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2))))
    try:
        yield
    finally:
        _names.reset(token)


def stage_name(default: str) -> str:
    """Return the name of the stage of a new trainer: the next one of `stages_named`, or a default outside of it."""
    names = _names.get()
    return default if names is None else next(names)

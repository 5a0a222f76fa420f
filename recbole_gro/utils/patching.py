"""Temporary changes to objects of other libraries."""

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute of an object or a module inside the block.

    Args:
        owner: the object or module; an attribute of its class is hidden, not changed.
        name: of an existing attribute.
        value: the attribute inside the block.
    """
    own, before = name in vars(owner), getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)

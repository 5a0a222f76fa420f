"""Changes to other people's objects that end with a block."""

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute of an object or a module inside the block.

    Args:
        owner: whose attribute it is; one that its class defines is hidden, not changed.
        name: of an attribute that exists.
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

"""recbole_gro: model extraction of sequential recommenders, and GRO's defense against it, as a RecBole plugin."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_gro.public import *  # noqa: F403

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    public = importlib.import_module("recbole_gro.public")
    if name == "__all__" or name in public.__all__:
        return getattr(public, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

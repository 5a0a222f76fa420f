"""recbole_gro: model extraction of sequential recommenders, and GRO's defense against it, as a RecBole plugin."""

import importlib
from typing import TYPE_CHECKING, Any

from recbole_gro.utils.import_hook import import_after

if TYPE_CHECKING:
    from recbole_gro.public import *  # noqa: F403

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    public = importlib.import_module("recbole_gro.public")
    if name == "__all__" or name in public.__all__:
        return getattr(public, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# RecBole on today's libraries, also where others import RecBole; --help needs neither of them
import_after("recbole", "recbole_gro.utils.compat")

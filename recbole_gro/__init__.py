"""recbole_gro: model extraction of sequential recommenders, and GRO's defense against it, as a RecBole plugin."""

import importlib
import importlib.util
import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_gro.public import *  # noqa: F403

__version__ = "0.2.0"
COMPAT = "recbole_gro.utils.compat"


def __getattr__(name: str) -> Any:
    public = importlib.import_module("recbole_gro.public")
    if name == "__all__" or name in public.__all__:
        return getattr(public, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _CompatAfterRecBole(MetaPathFinder):
    """Import `compat` right after the first module of RecBole, whoever imports it: --help needs neither of them."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if not name.startswith("recbole."):
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                importlib.import_module(COMPAT)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if any(name.startswith("recbole.") for name in sys.modules):
    importlib.import_module(COMPAT)
else:
    sys.meta_path.insert(0, _CompatAfterRecBole())

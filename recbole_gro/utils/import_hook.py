"""Import a module after another library, whoever imports that library."""

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def import_after(package: str, follower: str) -> None:
    """Import a module as soon as a module of a package has been imported: now if one has, else when one is.

    Args:
        package: name of a package of another library.
        follower: name of the module.
    """
    if any(name.startswith(f"{package}.") for name in sys.modules):
        importlib.import_module(follower)
    else:
        sys.meta_path.insert(0, _Hook(package, follower))


class _Hook(MetaPathFinder):
    """Find the modules of a package as the other finders do; the first that Python executes is followed by another.

    A module that is only looked for, or whose import fails, is none of these. Modules that the first one imports count
    as part of it, so that the follower finds all of them complete.
    """

    def __init__(self, package: str, follower: str):
        self.package, self.follower = package, follower
        self.executing = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if self.executing or not fullname.startswith(f"{self.package}."):
            return None
        found = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: self._executed(execute, module)  # type: ignore[method-assign]
        return spec

    def _executed(self, execute: Callable[[ModuleType], None], module: ModuleType) -> None:
        self.executing = True
        try:
            execute(module)
        finally:
            self.executing = False
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            importlib.import_module(self.follower)

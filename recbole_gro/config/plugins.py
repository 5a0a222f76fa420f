"""Modules of a user's own, imported before anything is checked, so that the parts they register are known."""

import importlib
import os
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any

from recbole_gro.config.files import literal, read_config_file
from recbole_gro.config.settings import Settings, key
from recbole_gro.utils.errors import UserError

GROUP = "recbole_gro.plugins"


class PluginSettings(Settings):
    """Which modules are imported first."""

    section = "Data and output"
    plugins: Any = key(
        None,
        "names of module or None",
        "modules imported before anything is checked, such as [my_defense], for the parts that they register",
    )


def import_plugins(*sources: Mapping[str, Any], files: list[str] | None = None) -> None:
    """Import the installed plugins (entry points of recbole_gro.plugins) and the modules that `plugins` names.

    Args:
        sources: settings, the one that wins last; a value may be the text of a command line.
        files: config files, which all of the sources win over.

    Raises:
        UserError: a module that is not there or fails.
    """
    import_installed()
    named = None
    for settings in (*(read_config_file(file) for file in files or []), *sources):
        named = settings.get("plugins", named)
    named = literal(named) if isinstance(named, str) else named
    for name in named if isinstance(named, list) else [named] if isinstance(named, str) else []:
        # anything else is refused with the other values out of range
        imported_module(str(name), "plugins")


@cache
def import_installed() -> None:
    """Import the modules of the entry-point group once.

    Raises:
        UserError: one fails.
    """
    for entry in metadata.entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:
            raise UserError(f"plugin {entry.name} ({entry.value}): importing it failed: {_in_a_line(error)}") from error


def imported_module(name: str, setting: str) -> Any:
    """Import a module by name; modules in the working folder count.

    Args:
        name: of the module, dotted.
        setting: that named it, for the message.

    Raises:
        UserError: no such module, or one that fails when it is imported.
    """
    sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f"{setting}: {error}; modules are looked up in {os.getcwd()} and where Python looks") from error
    except Exception as error:
        raise UserError(f"{setting}: importing {name} failed: {_in_a_line(error)}") from error
    finally:
        sys.path.remove(os.getcwd())


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__} {' '.join(str(error).split())}".strip()

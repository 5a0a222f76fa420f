"""Plugins: modules imported before settings are checked, so that what they register is known."""

import importlib
import os
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any

from recbole_gro.config.files import literal, read_config_file
from recbole_gro.config.settings import Settings, key
from recbole_gro.utils.errors import UserError, in_one_line

GROUP = "recbole_gro.plugins"


class PluginSettings(Settings):
    """Modules to import first."""

    section = "Data and output"
    plugins: Any = key(
        None,
        "names of module or None",
        "modules imported before settings are checked, such as [my_defense], for the parts that they register",
    )


def import_plugins(*sources: Mapping[str, Any], files: list[str] | None = None) -> None:
    """Import the installed plugins (entry points of recbole_gro.plugins) and the modules that `plugins` names.

    Args:
        sources: settings in ascending order of precedence; a value may be the text of a command line.
        files: config files, which all sources take precedence over.

    Raises:
        UserError: a module does not exist or fails when it is imported.
    """
    import_installed()
    named = None
    for settings in (*(read_config_file(file) for file in files or []), *sources):
        named = settings.get("plugins", named)
    named = literal(named) if isinstance(named, str) else named
    for name in named if isinstance(named, list) else [named] if isinstance(named, str) else []:
        # a value of another type is refused when settings are checked
        imported_module(str(name), "plugins")


@cache
def import_installed() -> None:
    """Import the modules of the entry-point group once.

    Raises:
        UserError: a module fails when it is imported.
    """
    for entry in metadata.entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:
            raise UserError(f"plugin {entry.name} ({entry.value}): import failed: {in_one_line(error)}") from error


def imported_module(name: str, setting: str) -> Any:
    """Import a module by its dotted name; the working folder is searched first.

    Args:
        name: of the module.
        setting: whose value it is, for messages.

    Raises:
        UserError: the module does not exist or fails when it is imported.
    """
    sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f"{setting}: {error}; modules are looked up in {os.getcwd()} and where Python looks") from error
    except Exception as error:
        raise UserError(f"{setting}: importing {name} failed: {in_one_line(error)}") from error
    finally:
        sys.path.remove(os.getcwd())

"""Plugins: modules imported before settings are checked, so that what they register is known."""

import importlib
import os
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any

from recbole_gro.config.compiled_code import compiled_class
from recbole_gro.config.files import read_config_file, value_of
from recbole_gro.config.own_modules import is_own, reached, source
from recbole_gro.config.settings import Settings, import_parts, key
from recbole_gro.config.values import as_names
from recbole_gro.utils.errors import UserError, in_one_line
from recbole_gro.utils.own_code import note_own, place_in_own_code
from recbole_gro.utils.registry import registering_module

GROUP = "recbole_gro.plugins"


class PluginSettings(Settings):
    """Modules to import first."""

    section = "Data"
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
    named = value_of("plugins", named) if isinstance(named, str) else named
    for name in named if isinstance(named, list) else as_names(named) if isinstance(named, str) else []:
        # a value of another type is refused when settings are checked
        imported_module(str(name), "plugins")


@cache
def import_installed() -> None:
    """Import the parts of this package and the modules of the entry-point group once.

    Raises:
        UserError: a module fails when it is imported.
    """
    import_parts()
    for entry in metadata.entry_points(group=GROUP):
        note_own(entry.value.partition(":")[0])
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
    here = os.getcwd()
    sys.path.insert(0, here)
    if is_own(name):
        note_own(name)
    try:
        module = importlib.import_module(name)
        for each in reached([name]) if is_own(name) else ():
            note_own(each)
            source(each)  # as it is now, whatever its file has later
        return module
    except ModuleNotFoundError as error:
        hint = f"; did you mean {name[:-3]}?" if name.endswith(".py") else ""
        where = f"modules are looked up in {here} and where Python looks"
        raise UserError(f"{setting}: {error}; {where}{hint}") from error
    except SystemExit as error:
        raise UserError(
            f"{setting}: importing {name} ends the process; put its script part under if __name__ == '__main__'"
        ) from error
    except Exception as error:
        place = place_in_own_code(error)
        reason = in_one_line(error) + (f" ({place})" if place else "")
        raise UserError(f"{setting}: importing {name} failed: {reason}") from error
    finally:
        if here in sys.path:  # the module may have changed it
            sys.path.remove(here)


def imported_member(reference: str, setting: str) -> Any:
    """Return a member of a module.

    Args:
        reference: module:member.
        setting: whose value it is, for messages.

    Raises:
        UserError: the module or the member does not exist, or the module fails when it is imported.
    """
    module, _, name = reference.partition(":")
    member = getattr(imported_module(module, f"{setting}: {reference}"), name, None)
    if member is None:
        raise UserError(f"{setting}: {module} has no {name!r}; the value is module:function")
    return member


def module_sources(reference: str, setting: str) -> dict[str, str]:
    """Return {module: source} of the module of a reference module:member, and of those of a user's own that it imports.

    Args:
        reference: module:member.
        setting: whose value it is, for messages.

    Raises:
        UserError: the module does not exist or fails when it is imported.
    """
    name = reference.partition(":")[0]
    imported_module(name, f"{setting}: {reference}")
    return {each: source(each) for each in sorted({name, *reached([name])})}


def sources_of(*classes: type) -> dict[str, str]:
    """Return {module: source} of the modules in which a user defines classes or their bases, for fingerprints, and of
    those that they import.

    Classes of this package, RecBole, PyTorch and Python have none, and what is installed is not followed. Of a script
    that is run, whose settings are in it too, and of a notebook, the compiled code of the class and of what it uses
    there stands for the module.
    """
    found, besides = {}, set[str]()
    for each in dict.fromkeys(base for cls in classes for base in cls.__mro__):
        name = each.__module__
        if name == "__main__":
            compiled = compiled_class(each)
            found[f"{name}:{each.__qualname__}"] = compiled.text
            besides |= compiled.modules
        elif is_own(name):
            found[name] = source(name)
            besides.add(name)
    registering = {name for name in map(registering_module, classes) if is_own(name) and name in sys.modules}
    for name in registering - {"__main__"}:  # which may have made the class, by a function of another module
        found[name] = source(name)
        besides.add(name)
    own = {cls.__module__ for cls in classes} & found.keys()
    return found | {name: source(name) for name in sorted(reached(own, besides) - found.keys())}

"""Typed settings: each part declares the keys that it reads; checks, help, yaml and fingerprints derive from them.

class TailSettings(Settings):
    section = "Defense"
    head_k: int = key(20, "int >= 1", "first positions of a list, which stay as they are")

TailSettings.of(config).head_k
"""

import importlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from recbole_gro.config.properties import recbole_keys
from recbole_gro.utils.errors import UserError

TYPE_WORDS = {
    "int": "a whole number",
    "ints": "one or several different whole numbers",
    "float": "a number",
    "bool": "True or False",
    "names": "a name or a list of different names",
    "name": "a name",
    "fields": "a list of names",
    "model": "the name of a RecBole sequential model",
    "models": "the name of a RecBole sequential model or a list of different ones",
    "function": "module:function, a function that Python can import",
    "file": "the path of a yaml file",
    "str": "a text",
    "mapping": "a mapping",
}


@dataclass(frozen=True)
class Key:
    """One setting.

    Attributes:
        name: as in config files and on the command line.
        default: its value where none is given.
        type: of its values, such as `int >= 1 or None` or `names of metric or []`.
        meaning: in one line.
        added: its default is how it was before the key was added, so at its default it stays out of fingerprints, and
            results from before stay valid.
    """

    name: str
    default: Any
    type: str
    meaning: str
    added: bool = False

    def check(self, value: Any) -> None:
        """Check a value.

        Raises:
            UserError: it is not of this key's type or out of its range.
        """
        required, _, absent = self.type.partition(" or ")
        if repr(value) == absent or _fits(value, required):
            return
        kind, _, rest = self.type.partition(" ")
        words = TYPE_WORDS.get(kind, "one of " + ", ".join(kind.split("|")))
        ends = rest.replace("<..<", " and below ").replace("..", " to ")
        takes = f"{words} {'above ' * ('<..<' in rest)}{ends}".strip()
        raise UserError(f"{self.name}: {value!r} is not allowed; it takes {takes}")


def key(default: Any, type_: str, meaning: str, *, added: bool = False) -> Any:
    """Declare a setting in the body of a Settings class.

    Args:
        default: its value where none is given.
        type_: int, ints, float, bool, str, file, function, model, models, name, names, fields, mapping or a|b|c; then a
            range such as `>= 1`, `0..1` or, without its ends, `0<..<1`; then `or None`.
        meaning: in one line.
        added: keep it out of fingerprints at its default.
    """
    return Key("", default, type_, meaning, added)


_declared: dict[str, Key] = {}
_sections: dict[str, list[str]] = {}


class Settings:
    """The settings that a part reads: declared by a subclass, with values in an instance.

    A declared key is known to every command from then on: it is checked, listed by --help, and part of the fingerprint
    of each stage that reads its class.

    Attributes:
        section: heading of the keys in properties/overall.yaml.
        names: of the keys of this class, after those of its base classes.
    """

    section: ClassVar[str] = "Plugins"
    names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Key)}
        for name, value in own.items():
            declared = replace(value, name=name)
            if _declared.setdefault(name, declared) != declared:
                raise ValueError(f"setting {name!r} is declared already, in another way")
            setattr(cls, name, declared)
            if all(name not in names for names in _sections.values()):
                _sections.setdefault(cls.section, []).append(name)
        cls.names = tuple(
            dict.fromkeys([*(name for base in cls.__bases__ for name in getattr(base, "names", ())), *own])
        )

    @classmethod
    def of(cls, config: Any) -> Self:
        """Read the values from a Config of ours or RecBole's own; keys that it lacks take their defaults."""
        settings = cls()
        for name in cls.names:
            setattr(settings, name, setting(config, name))
        return settings

    @classmethod
    def fingerprint(cls, config: Any) -> dict[str, Any]:
        """Return the `contents` of all keys."""
        return contents(config, cls.names)


def setting(config: Any, name: str) -> Any:
    """Return a declared setting from a Config of ours, or RecBole's own, where absent keys take our default."""
    return config[name] if name in config else _declared[name].default


def declared_keys() -> dict[str, Key]:
    """Return all declared keys by name: this plugin's, and RecBole's own whose default here is another."""
    return dict(_declared)


def plugin_keys() -> dict[str, Key]:
    """Return the keys that this plugin, and what is plugged into it, adds to RecBole's."""
    return {name: declared for name, declared in _declared.items() if name not in recbole_keys()}


def sections() -> dict[str, list[Key]]:
    """Return the declared keys by section, in the order of declaration."""
    return {section: [_declared[name] for name in names] for section, names in _sections.items()}


def of_sections(*names: str) -> set[str]:
    """Return the names of the plugin's keys in some sections, whatever has been imported so far."""
    importlib.import_module("recbole_gro.public")
    return {key.name for name in names for key in sections().get(name, [])} & plugin_keys().keys()


def refuse_unread(given: Iterable[str], unread: Iterable[str], command: str, reader: str) -> None:
    """Refuse settings that a command accepts for others' sake and that nothing in it reads.

    Args:
        given: names of the given settings.
        unread: names of those that nothing in the command reads.
        command: such as recbole-gro run.
        reader: the command that reads them.

    Raises:
        UserError: one of them is given.
    """
    for name in given:
        if name in unread:
            raise UserError(f"{name}: {command} does not read it; {reader} does")


def contents(config: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return {name: value} of settings, for fingerprints, with the contents of the files and modules that they name."""
    declared = [_declared[name] for name in names]
    return {
        key.name: _contents(config, key.name)
        for key in declared
        if not (key.added and setting(config, key.name) == key.default)
    }


def _contents(config: Any, name: str) -> Any:
    """Return the value of a setting, with the mapping in the file or the source of the module that it names."""
    from recbole_gro.config.files import read_config_file  # files parse values by the declared keys
    from recbole_gro.config.plugins import module_source

    value, kind = setting(config, name), _declared[name].type.partition(" ")[0]
    if value is None or kind not in ("file", "function"):
        return value
    return read_config_file(value) if kind == "file" else [value, module_source(value, name)]


def _fits(value: Any, type_: str) -> bool:
    kind, _, limit = type_.partition(" ")
    if kind == "bool":
        return isinstance(value, bool)
    if kind in ("int", "float"):
        if isinstance(value, bool) or not isinstance(value, int if kind == "int" else int | float):
            return False
        return math.isfinite(value) and _in_range(value, limit)
    if kind in ("ints", "names", "models"):
        entries = value if isinstance(value, list | tuple) else [value]
        if kind == "ints":
            fit = all(_fits(entry, f"int {limit}") for entry in entries)
        else:
            fit = all(isinstance(entry, str if kind == "names" else str | type) for entry in entries)
        return bool(entries) and fit and len(set(entries)) == len(entries)
    if kind == "mapping":
        return isinstance(value, dict)
    if kind == "fields":
        return isinstance(value, list) and all(isinstance(name, str) for name in value)
    if "|" in kind:
        return value in kind.split("|")
    if kind == "model":
        return isinstance(value, str | type)
    if kind == "function":
        return isinstance(value, str) and value.count(":") == 1
    return isinstance(value, str | os.PathLike) and value != ""


def _in_range(value: float, limit: str) -> bool:
    if "<..<" in limit:
        low, high = (float(end) for end in limit.split("<..<"))
        return low < value < high
    if ".." in limit:
        low, high = (float(end) for end in limit.split(".."))
        return low <= value <= high
    if limit:
        sign, bound = limit.split()
        return value > float(bound) if sign == ">" else value >= float(bound)
    return True

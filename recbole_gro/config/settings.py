"""Typed settings: each part declares the keys that it reads; checks, help, yaml and fingerprints derive from them.

class TailSettings(Settings):
    section = "Defense"
    head_k: int = key(20, "int >= 1", "first positions of a list, which stay as they are")

TailSettings.of(config).head_k
"""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from recbole_gro.config.config_like import SettingsSource
from recbole_gro.config.properties import recbole_keys
from recbole_gro.config.value_type import ValueType
from recbole_gro.utils.errors import UserError


@dataclass(frozen=True)
class Key:
    """One setting.

    Attributes:
        name: as in config files and on the command line.
        default: its value where none is given.
        type: of its values, such as `int >= 1 or None` or `names of metric or []`.
        meaning: in one line.
        omit_default_from_fingerprint: at its default, which is how it was before the key was added, it stays out of
            fingerprints, so that cached stages from before stay valid.
    """

    name: str
    default: Any
    type: str
    meaning: str
    omit_default_from_fingerprint: bool = False

    def __post_init__(self) -> None:
        ValueType.parse(self.type)  # refuses an invalid declaration

    @property
    def value_type(self) -> ValueType:
        """The values that the setting takes."""
        return ValueType.parse(self.type)

    def check(self, value: Any) -> None:
        """Check a value.

        Raises:
            UserError: it is not of this key's type or out of its range.
        """
        self.value_type.check(self.name, value)


def key(default: Any, type_: str, meaning: str, *, omit_default_from_fingerprint: bool = False) -> Any:
    """Declare a setting in the body of a Settings class.

    Args:
        default: its value where none is given.
        type_: int, ints, float, bool, str, file, function, model, models, name, names, fields, mapping or a|b|c; then a
            range such as `>= 1`, `0..1` or, without its ends, `0<..<1`; then `or None`.
        meaning: in one line.
        omit_default_from_fingerprint: keep it out of fingerprints at its default; for a key that a part gets later and
            whose default changes nothing, so that cached stages from before stay valid.

    Raises:
        ValueError: `type_` does not have this form.
    """
    return Key("", default, type_, meaning, omit_default_from_fingerprint)


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
    def of(cls, config: SettingsSource) -> Self:
        """Read the values from a Config of ours or RecBole's own; keys that it lacks take their defaults."""
        settings = cls()
        for name in cls.names:
            setattr(settings, name, setting(config, name))
        return settings

    @classmethod
    def fingerprint_inputs(cls, config: SettingsSource) -> dict[str, Any]:
        """Return the values of all keys of the class, as `fingerprint_inputs` does.

        Args:
            config: of ours or RecBole's own.
        """
        return fingerprint_inputs(config, cls.names)


def setting(config: SettingsSource, name: str) -> Any:
    """Return a declared setting from a Config of ours, or RecBole's own, where absent keys take our default."""
    return config[name] if name in config else _declared[name].default


def names_of(member: Any) -> tuple[str, ...]:
    """Return the names of the settings that a class of settings declares; none for anything else."""
    return tuple(member.names) if isinstance(member, type) and issubclass(member, Settings) else ()


def declared_keys() -> dict[str, Key]:
    """Return all declared keys by name: this plugin's, and RecBole's own whose default here is another."""
    return dict(_declared)


def plugin_keys() -> dict[str, Key]:
    """Return the keys that this plugin, and what is plugged into it, adds to RecBole's."""
    return {name: declared for name, declared in _declared.items() if name not in recbole_keys()}


def sections() -> dict[str, list[Key]]:
    """Return the declared keys by section, in the order of declaration."""
    return {section: [_declared[name] for name in names] for section, names in _sections.items()}


def import_parts() -> None:
    """Import all parts of this package, which register themselves as plugins do, and declare their settings."""
    importlib.import_module("recbole_gro.public")


def of_sections(*names: str) -> set[str]:
    """Return the names of the plugin's keys in some sections, whatever has been imported so far."""
    import_parts()
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


def fingerprint_inputs(config: SettingsSource, names: Iterable[str]) -> dict[str, Any]:
    """Return {name: value} of settings, of which fingerprints are digests.

    Files and modules that settings name count by their contents.

    Args:
        config: of ours or RecBole's own.
        names: of declared settings.

    Raises:
        UserError: a file or a module cannot be read.
    """
    declared = [_declared[name] for name in names]
    return {
        key.name: _fingerprint_input(config, key)
        for key in declared
        if not (key.omit_default_from_fingerprint and setting(config, key.name) == key.default)
    }


def _fingerprint_input(config: SettingsSource, key: Key) -> Any:
    """Return the value of a setting, with the mapping in the file or the source of the module that it names."""
    from recbole_gro.config.files import read_config_file  # files parse values by the declared keys
    from recbole_gro.config.plugins import module_sources

    value, kind = setting(config, key.name), key.value_type.kind
    if value is None or kind not in ("file", "function"):
        return value
    return read_config_file(value) if kind == "file" else [value, module_sources(value, key.name)]

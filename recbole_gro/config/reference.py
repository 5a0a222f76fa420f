"""The declared settings as text: properties/overall.yaml, the reference page, --help and the search of settings."""

import textwrap
from typing import Any

from recbole_gro.config.models import sequential_models
from recbole_gro.config.properties import model_keys, recbole_keys
from recbole_gro.config.recbole_settings import type_of
from recbole_gro.config.settings import Key, Settings, declared_keys, import_parts, plugin_keys, sections
from recbole_gro.utils import terminal
from recbole_gro.utils.packaged import ListedKey, listed_keys, recbole_properties

HEAD = """\
# Every key of recbole_gro and its default: `key: default  # (type) meaning`, one line per key. All of them can be set
# in a config file, in config_dict and as --key=value. Keys of RecBole are here where the default is another one.
# Generated from the typed settings of the parts: python -m recbole_gro.config.reference > properties/overall.yaml
"""
ORDER = ("Data", "Target", "Defense", "Attack", "Output")


def overall_yaml() -> str:
    """Return the text of properties/overall.yaml."""
    import_parts()
    declared = sections()
    blocks = [f"# {section}\n" + "".join(map(_yaml_line, declared[section])) for section in ORDER]
    return "\n".join([HEAD, *blocks])


def _yaml_line(key: Key) -> str:
    return f"{f'{key.name}: {yaml_value(key.default)}':<33} # ({key.type}) {key.meaning}\n"


def yaml_value(value: Any) -> str:
    """Return a default as yaml of one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(yaml_value, value))}]"
    return "~" if value is None else str(value)


def value_in_words(value: Any) -> str:
    """Return a default as a command line takes it."""
    return "None" if value is None else yaml_value(value)


def markdown_table() -> str:
    """Return the plugin's keys as the markdown table of the reference page."""
    import_parts()
    lines = ["| key | default | type | meaning |", "|---|---|---|---|"]
    declared, known = sections(), plugin_keys()
    lines += [
        f"| `{key.name}` | {value_in_words(key.default)} | {key.type.replace('|', ', ')} | {key.meaning} |"
        for section in ORDER
        for key in declared[section]
        if key.name in known
    ]
    return "\n".join(lines)


def help_text() -> str:
    """Return the declared keys by group, those of plugins last, with type, default and meaning, for --help."""
    lines = ["every setting as --KEY=VALUE or in a config file, with its default; RecBole's other keys work too"]
    for section in [*ORDER, *(section for section in sections() if section not in ORDER)]:
        lines += ["", f"{section.lower()}:"]
        for key in sections()[section]:
            lines += [f"  --{key.name}={value_in_words(key.default)}  ({key.type})", *_indented(key.meaning)]
    return "\n".join(lines)


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, terminal.width(), initial_indent=" " * 6, subsequent_indent=" " * 6)


def all_keys() -> dict[str, tuple[ListedKey, list[str]]]:
    """Return every key, of this plugin, of what extends it and of RecBole's sequential models, with its readers."""
    found: dict[str, tuple[ListedKey, list[str]]] = {}
    for name in recbole_keys() - model_keys():
        found[name] = ListedKey(name, "None", _type_in_text(name), ""), ["RecBole"]
    folder = recbole_properties()
    files = {folder / "overall.yaml": "RecBole", folder / "dataset" / "sample.yaml": "RecBole"}
    files |= {folder / "model" / f"{model}.yaml": f"RecBole's {model}" for model in sequential_models()}
    for file, reader in files.items():
        for name, default, listed_type, meaning in listed_keys(file) if file.is_file() else ():
            readers = [*(found[name][1] if name in found else []), reader]
            listed = ListedKey(name, default.replace("~", "None"), _type_in_text(name) or listed_type, meaning)
            found[name] = listed, list(dict.fromkeys(readers))
    for name, key in declared_keys().items():
        listed = ListedKey(name, value_in_words(key.default), key.type, key.meaning)
        found[name] = listed, found[name][1] if name in found else []
    for declaring in dict.fromkeys(_subclasses(Settings)):  # one may have several bases
        module = declaring.__module__.removeprefix("recbole_gro.").removesuffix(".settings")
        for name in vars(declaring).keys() & found.keys():
            what = (declaring.__doc__ or declaring.__name__).splitlines()[0].rstrip(".")
            found[name][1].insert(0, f"{module} ({what})")
    return found


def _type_in_text(name: str) -> str:
    value_type = type_of(name)
    return value_type.text if value_type else ""


def _subclasses(cls: type) -> list[type]:
    direct: list[type] = cls.__subclasses__()
    return [found for below in direct for found in (below, *_subclasses(below))]


def matching(*words: str) -> list[str]:
    """Return the settings whose name or meaning has all the words, in any case, as text: one entry per setting."""
    entries = []
    for name, (key, readers) in sorted(all_keys().items()):
        if all(word.lower() in f"{name} {key.meaning}".lower() for word in words):
            head = f"{name}  ({key.type or 'any type'}; default {key.default})"
            entries.append("\n".join([head, *_indented(key.meaning), *_indented(f"read by {', '.join(readers)}")]))
    return entries


if __name__ == "__main__":
    print(overall_yaml(), end="")

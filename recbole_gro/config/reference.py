"""The declared settings as text: properties/overall.yaml, the reference page, --help."""

from collections.abc import Iterable
from typing import Any

from recbole_gro.config.settings import Key, plugin_keys, sections

HEAD = """\
# Every key of recbole_gro and its default: `key: default  # (type) meaning`, one line per key. All of them can be set
# in a config file, in config_dict and as --key=value.
# Generated from the typed settings of the parts: python -m recbole_gro.config.reference > properties/overall.yaml
"""
ORDER = ("Defense", "Attack", "Data and output", "RecBole's own keys where the default here is another one")


def overall_yaml() -> str:
    """Return the text of properties/overall.yaml."""
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


def markdown_table() -> str:
    """Return the plugin's keys as the markdown table of the reference page."""
    lines = ["| key | default | type | meaning |", "|---|---|---|---|"]
    for key in _in_order(ORDER):
        default = "None" if key.default is None else yaml_value(key.default)
        lines.append(f"| `{key.name}` | {default} | {key.type.replace('|', ', ')} | {key.meaning} |")
    return "\n".join(lines)


def help_text() -> str:
    """Return the keys of this plugin and of those that extend it, with type, default and meaning, for --help."""
    lines = ["keys of recbole_gro, each as --KEY=VALUE or in a config file (all of RecBole's keys work too):"]
    for key in _in_order([*ORDER, *(section for section in sections() if section not in ORDER)]):
        lines += [f"  --{key.name}  ({key.type}; default {key.default})", f"      {key.meaning}"]
    return "\n".join(lines)


def _in_order(order: Iterable[str]) -> list[Key]:
    declared, known = sections(), plugin_keys()
    return [key for section in order for key in declared[section] if key.name in known]


if __name__ == "__main__":
    print(overall_yaml(), end="")

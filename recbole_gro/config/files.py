"""Config files, and words of a command line, read as plain values; nothing of them is run as code."""

import ast
import re
from pathlib import Path
from typing import Any

import yaml

from recbole_gro.config.properties import packaged_file, packaged_properties
from recbole_gro.config.recbole_settings import is_text, may_be_none
from recbole_gro.utils.errors import UserError, nearest

# A number as a person writes it, 1e-3 included, which yaml 1.1 alone reads as text
FLOAT = re.compile(
    r"^[-+]?(\d[\d_]*\.?\d*([eE][-+]?\d+)|\d[\d_]*\.\d*|\.\d+([eE][-+]?\d+)?|\.(inf|Inf|INF|nan|NaN|NAN))$"
)
GUESSED = {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int", "timestamp")}


class SafeLoader(yaml.SafeLoader):
    """Safe yaml that reads 1e-3 as a number, as RecBole's loader does, and what a text key has as a text."""

    def construct_mapping(self, node, deep=False):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and is_text(key.value):
                for each in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    each.tag = "tag:yaml.org,2002:str" if each.tag in GUESSED else each.tag
        return super().construct_mapping(node, deep)


SafeLoader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))


def safe_yaml(text: str) -> Any:
    """Plain values from yaml text: yaml.safe_load, which takes no loader, with 1e-3 read as a number.

    Raises:
        yaml.YAMLError: no yaml, or a tag that would build an object.
    """
    loader = SafeLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def literal(text: str) -> Any:
    """The value of a command-line word: a Python literal, else safe yaml, else the text itself.

    >>> literal("1e-3"), literal("None"), literal("[none, gro]"), literal("true"), literal("ml-100k")
    (0.001, None, ['none', 'gro'], True, 'ml-100k')
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass
    try:
        return safe_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def value_of(name: str, text: str) -> Any:
    """Return the value of a setting that was given as a text: of a text key the text, else what `literal` reads.

    >>> value_of("field_separator", " "), value_of("dataset", "2024"), value_of("output_dir", "None")
    (' ', '2024', None)
    """
    if not is_text(name):
        return literal(text)
    return None if may_be_none(name) and text in ("", "None", "null", "~") else text


def resolve_config_file(name: str) -> str:
    """The yaml text of a config file, looked up in the working folder, then among the packaged properties.

    Raises:
        UserError: no such file in either place.
    """
    if Path(name).is_file():
        return Path(name).read_text(encoding="utf-8")
    if not Path(name).is_absolute() and packaged_file(name).is_file():
        return packaged_file(name).read_text(encoding="utf-8")
    folder = Path(name).parent
    packaged = (file.name for file in packaged_properties().iterdir() if file.name.endswith(".yaml"))
    offered = {file: file for file in packaged}
    offered |= {file.name: str(file) for file in folder.glob("*.y*ml") if file.is_file()}
    hint = offered[nearest(Path(name).name, offered) or "gro.yaml"]
    raise UserError(
        f"config file {name!r} is neither in {Path.cwd()} nor among the packaged ones; did you mean {hint}?"
    )


def read_config_file(name: str) -> dict[str, Any]:
    """The mapping in a config file; UserError where it is no yaml or no mapping of keys to values."""
    try:
        values = safe_yaml(resolve_config_file(name))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"config file {name}: not valid yaml: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict) and values is not None:
        raise UserError(f"config file {name}: `key: value` lines are wanted, found {type(values).__name__}")
    for key in values or {}:
        if not isinstance(key, str):
            raise UserError(f"config file {name}: key {key!r} is no name")
    return values or {}

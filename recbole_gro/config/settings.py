"""The keys of this plugin, read from the comments of properties/overall.yaml: name, default, type, meaning."""

import math
import os
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import recbole
import yaml

from recbole_gro.utils.errors import UserError, nearest

# A number as a person writes it, 1e-3 included, which yaml 1.1 alone reads as text
FLOAT = re.compile(
    r"^[-+]?(\d[\d_]*\.?\d*([eE][-+]?\d+)|\d[\d_]*\.\d*|\.\d+([eE][-+]?\d+)?|\.(inf|Inf|INF|nan|NaN|NAN))$"
)
LOOKS_LIKE = 0.85  # how alike a key and a known one are where the one is meant for the other
LINE = re.compile(r"^(?P<name>\w+):.*?#\s*\((?P<type>[^)]*)\)\s*(?P<meaning>.*)$")


def packaged_properties() -> Traversable:
    """The properties/ folder: inside the installed package, or beside it in a clone or an editable install."""
    installed = resources.files("recbole_gro") / "properties"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[2] / "properties"


def packaged_file(name: str) -> Traversable:
    """A file below the packaged properties, such as `model/BERT4Rec.yaml`; it may not exist."""
    file = packaged_properties()
    for part in Path(name).parts:
        file = file / part
    return file


def recbole_properties() -> Path:
    """RecBole's own properties folder."""
    return Path(recbole.__file__).parent / "properties"


@dataclass(frozen=True)
class Key:
    """One config key: `type` is the text in the comment's brackets, and what `check` goes by."""

    name: str
    default: Any
    type: str
    meaning: str

    def check(self, value: Any) -> None:
        """Raise UserError where `value` is not of this key's type or out of its range."""
        wanted = self.type
        if wanted.endswith(" or None"):
            if value is None:
                return
            wanted = wanted.removesuffix(" or None")
        if not _fits(value, wanted):
            raise UserError(f"{self.name}: {value!r} is not allowed; it takes {_in_words(self.type)}")


def _fits(value: Any, wanted: str) -> bool:
    kind, _, limit = wanted.partition(" ")
    if kind == "bool":
        return isinstance(value, bool)
    if kind in ("int", "float"):
        if isinstance(value, bool) or not isinstance(value, int if kind == "int" else int | float):
            return False
        return math.isfinite(value) and _in_range(value, limit)
    if kind == "ints":
        numbers = value if isinstance(value, list | tuple) else [value]
        each = all(_fits(number, f"int {limit}") for number in numbers)
        return bool(numbers) and each and len(set(numbers)) == len(numbers)
    if kind == "mapping":
        return isinstance(value, dict)
    if kind == "names":
        names = value if isinstance(value, list | tuple) else [value]
        return bool(names) and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    if "|" in kind:
        return value in kind.split("|")
    if kind == "model":
        return isinstance(value, str | type)
    return isinstance(value, str | os.PathLike) and value != ""


def _in_range(value: float, limit: str) -> bool:
    if ".." in limit:
        low, high = (float(end) for end in limit.split(".."))
        return low <= value <= high
    if limit:
        sign, bound = limit.split()
        return value > float(bound) if sign == ">" else value >= float(bound)
    return True


def _in_words(wanted: str) -> str:
    kind, _, rest = wanted.partition(" ")
    names = {
        "int": "a whole number",
        "ints": "one or several different whole numbers",
        "float": "a number",
        "bool": "True or False",
        "names": "a name or a list of different names",
        "name": "a name",
        "model": "the name of a RecBole sequential model",
        "file": "the path of a yaml file",
        "str": "a text",
        "mapping": "a mapping",
    }
    kind = names.get(kind, "one of " + ", ".join(kind.split("|")))
    return f"{kind} {rest}".strip().replace("..", " to ")


def parse_keys(text: str) -> dict[str, Key]:
    """The keys of a properties file's text, in its order.

    >>> parse_keys("served_k: 100  # (int >= 2) length of the list")["served_k"]
    Key(name='served_k', default=100, type='int >= 2', meaning='length of the list')
    """
    values = yaml.safe_load(text)
    lines = [match for match in map(LINE.match, text.splitlines()) if match]
    return {m["name"]: Key(m["name"], values[m["name"]], m["type"], m["meaning"]) for m in lines}


@cache
def _overall() -> dict[str, Key]:
    return parse_keys(packaged_file("overall.yaml").read_text(encoding="utf-8"))


@cache
def plugin_keys() -> dict[str, Key]:
    """The keys that this plugin adds to RecBole's."""
    return {name: key for name, key in _overall().items() if name not in recbole_keys()}


def overall_types() -> dict[str, str]:
    """The types that properties/overall.yaml tells of RecBole's keys."""
    return {name: key.type for name, key in _overall().items() if name in recbole_keys()}


def takes_text(name: str) -> bool:
    """Whether a key of this plugin takes a text or a file, which is then no number even where it is 2024."""
    return name in plugin_keys() and plugin_keys()[name].type.split()[0] in ("str", "file")


def check_name(name: str) -> None:
    """Raise UserError where a key is likely to be a misspelt one; a model of one's own may have keys of its own."""
    ours = plugin_keys()
    known = recbole_keys() | set(ours)
    hint = nearest(name, known, cutoff=LOOKS_LIKE)
    if name not in known and hint:
        raise UserError(f"unknown key {name!r}; did you mean {hint!r}?")
    if name not in known and name.startswith(
        ("gro_", "query_", "attacker_", "surrogate_", "student_", "margin_", "served_")
    ):
        raise UserError(f"unknown key {name!r}; the keys of this plugin are {', '.join(ours)}")


def recbole_name(model_class: type) -> str | None:
    """The nearest class that a model derives from, itself included, that RecBole has default settings for."""
    folder = recbole_properties() / "model"
    return next((cls.__name__ for cls in model_class.__mro__ if (folder / f"{cls.__name__}.yaml").is_file()), None)


def recbole_model_settings(model_class: type) -> dict[str, Any]:
    """RecBole's default settings of a model."""
    name = recbole_name(model_class)
    return _mapping(recbole_properties() / "model" / f"{name}.yaml") if name else {}


@cache
def model_keys() -> frozenset[str]:
    """Keys that set up one model's architecture or batches: all of RecBole's model files less its general ones."""
    files = [file for file in (recbole_properties() / "model").glob("*.yaml")]
    return frozenset(key for file in files for key in _mapping(file)) - _general_keys()


@cache
def _general_keys() -> frozenset[str]:
    folder = recbole_properties()
    return frozenset(key for name in ("overall", "dataset/sample") for key in _mapping(folder / f"{name}.yaml"))


@cache
def recbole_keys() -> frozenset[str]:
    """Every key that RecBole's own files, argument lists and launcher know."""
    from recbole.utils import argument_list

    listed = {
        key
        for name in ("general", "training", "evaluation", "dataset")
        for key in getattr(argument_list, f"{name}_arguments")
    }
    launcher = {"model", "dataset", "config_files", "nproc", "world_size", "ip", "port", "offset", "group_offset"}
    return _general_keys() | model_keys() | listed | launcher


def _mapping(file: Path) -> dict[str, Any]:
    # RecBole's files hold plain yaml; bad lines in them are not for our users to mend
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {}


def markdown_table() -> str:
    """The plugin's keys as the README shows them."""
    lines = ["| key | default | type | meaning |", "|---|---|---|---|"]
    for key in plugin_keys().values():
        default = "[" + ", ".join(key.default) + "]" if isinstance(key.default, list) else key.default
        kind = key.type.replace("|", ", ")
        lines.append(f"| `{key.name}` | {default} | {kind} | {key.meaning} |")
    return "\n".join(lines)

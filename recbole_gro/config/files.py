"""Config files and command-line values, read as plain values and never evaluated as code."""

import ast
import copy
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from recbole_gro.config.properties import packaged_file, packaged_properties
from recbole_gro.config.recbole_settings import is_path, is_text, may_be_none
from recbole_gro.config.settings import declared_keys
from recbole_gro.utils.errors import UserError, nearest

# Numbers, with 1e-3 and its like, which yaml 1.1 reads as text
FLOAT = re.compile(
    r"^[-+]?(\d[\d_]*\.?\d*([eE][-+]?\d+)|\d[\d_]*\.\d*|\.\d+([eE][-+]?\d+)?|\.(inf|Inf|INF|nan|NaN|NAN))$"
)
# which yaml 1.1 reads in base 8 and in base 60
OCTAL, SEXAGESIMAL = re.compile(r"[-+]?0[0-7_]+"), re.compile(r"[-+]?\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?")
GUESSED = {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int", "timestamp")}


class Misread(yaml.YAMLError, UserError):
    """A number that yaml reads as another one than its digits say.

    Attributes:
        problem: the number, what it is read as, and what to write.

    Args:
        problem: as above.
        line: of the text, from 1.
    """

    def __init__(self, problem: str, line: int):
        super().__init__(f"line {line}: {problem}")
        self.problem = problem


class SafeLoader(yaml.SafeLoader):
    """Safe yaml that reads 1e-3 as a number, as RecBole's loader does, and values of text keys as texts.

    It refuses the numbers of yaml 1.1 in base 8 and 60, such as 010 and 1:30.

    Attributes:
        texts: names of further text keys.
    """

    texts: Collection[str] = ()

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of a node; scalars of text keys are texts, and no key occurs twice."""
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":  # several mappings may be merged
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"key {key.value} occurs twice", key.start_mark)
                seen.add(key.value)
            if isinstance(key, yaml.ScalarNode) and (is_text(key.value) or key.value in self.texts):
                for each in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    each.tag = "tag:yaml.org,2002:str" if each.tag in GUESSED else each.tag
        return super().construct_mapping(node, deep)

    def number(self, node: yaml.ScalarNode) -> int | float:
        """Return the number of a node.

        Raises:
            Misread: 010 and its like, which yaml reads as 8, or 1:30, which it reads as 90.
        """
        is_whole = node.tag.endswith(":int")
        read = self.construct_yaml_int(node) if is_whole else self.construct_yaml_float(node)
        written = node.value
        if is_whole and OCTAL.fullmatch(written):
            digits = written.replace("_", "").lstrip("+-").lstrip("0") or "0"
            meant = f"has a leading zero; write {'-' * written.startswith('-')}{digits}"
        elif SEXAGESIMAL.fullmatch(written):
            meant = f"has colons; write {read}, if that is meant"
        else:
            return read
        raise Misread(f"{written} {meant}, or '{written}' in quotes for a text (yaml reads it as the number {read})",
                      node.start_mark.line + 1)  # fmt: skip


SafeLoader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))
for kind in ("int", "float"):
    SafeLoader.add_constructor(f"tag:yaml.org,2002:{kind}", SafeLoader.number)


def safe_yaml(text: str, texts: Collection[str] = ()) -> Any:
    """Return the plain values in a yaml text, read by `SafeLoader`.

    Args:
        text: yaml.
        texts: names of keys whose values are texts, besides those of settings.

    Raises:
        yaml.YAMLError: invalid yaml, a date that there is not, or a tag that would build an object.
    """
    loader = SafeLoader(text)  # yaml.SafeLoader with our tags: plain values only
    loader.texts = texts
    try:
        return loader.get_single_data()
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    except ValueError as error:
        if isinstance(error, yaml.YAMLError):
            raise
        raise yaml.YAMLError(str(error)) from error  # of a date that there is not, such as 2024-13-01
    finally:
        loader.dispose()


def parsed_once(text: str, texts: Collection[str] = ()) -> Any:
    """Return what `safe_yaml` does; a process parses each text once, however many configs it makes.

    Args:
        text: of a file.
        texts: as of `safe_yaml`.

    Raises:
        yaml.YAMLError: as of `safe_yaml`.
    """
    declared = tuple((name, key.type) for name, key in declared_keys().items())
    return copy.deepcopy(_parsed(text, frozenset(texts), declared))  # whoever gets it may change it


@lru_cache(maxsize=256)
def _parsed(text: str, texts: frozenset[str], declared: tuple[tuple[str, str], ...]) -> Any:
    """Return the values in a text, which depend on the declared keys: those of text keys are texts."""
    return safe_yaml(text, texts)


def parsed_file(file: str | Traversable) -> Any:
    """Return the values in a packaged yaml file of ours or RecBole's.

    Args:
        file: its path.
    """
    return parsed_once((Path(file) if isinstance(file, str) else file).read_text(encoding="utf-8"))


def literal(text: str) -> Any:
    """Return the value of a command-line word: a Python literal, else safe yaml, else the text itself.

    >>> literal("1e-3"), literal("None"), literal("[none, gro]"), literal("true"), literal("ml-100k")
    (0.001, None, ['none', 'gro'], True, 'ml-100k')

    Raises:
        UserError: a number that yaml reads as another one than its digits say, as 010.
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass
    try:
        return safe_yaml(text)
    except Misread as error:
        raise UserError(error.problem) from error
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def value_of(name: str, text: str) -> Any:
    """Return the value of a setting that was given as a text: of a text key the text, else what `literal` reads.

    >>> value_of("field_separator", " "), value_of("dataset", "2024"), value_of("output_dir", "None")
    (' ', '2024', None)

    Raises:
        UserError: as of `literal`; the message names the setting.
    """
    if not is_text(name):
        try:
            return literal(text)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
    absent = ("None", "null", "~") if is_path(name) else ("", "None", "null", "~")  # an empty path is refused
    return None if may_be_none(name) and text in absent else text


def values_of(name: str, text: str) -> Any:
    """Return what `value_of` does, and of a text key that was given as a list of texts this list.

    >>> values_of("dataset", "[2024, ml-1m]"), values_of("dataset", "2024"), values_of("topk", "[1, 5]")
    (['2024', 'ml-1m'], '2024', [1, 5])
    """
    read = literal(f"{name}: {text}") if is_text(name) else None  # by yaml, where the key makes the entries texts
    several = read.get(name) if isinstance(read, dict) else None
    if not isinstance(several, list):
        return value_of(name, text)
    return [value_of(name, entry) if isinstance(entry, str) else entry for entry in several]


def resolve_config_file(name: str) -> str:
    """Return the text of a config file from the working folder or else from the packaged properties.

    Raises:
        UserError: neither has the file.
    """
    if Path(name).is_file():
        return Path(name).read_text(encoding="utf-8")
    if not Path(name).is_absolute() and packaged_file(name).is_file():
        return packaged_file(name).read_text(encoding="utf-8")
    if Path(name).is_dir():
        raise UserError(f"config file {name!r} is a folder; name a yaml file in it")
    folder = Path(name).parent
    packaged = (file.name for file in packaged_properties().iterdir() if file.name.endswith(".yaml"))
    offered = {file: file for file in packaged}
    offered |= {file.name: str(file) for file in folder.glob("*.y*ml") if file.is_file()}
    meant = f"did you mean {offered[nearest(Path(name).name, offered) or 'gro.yaml']}?"
    if "," in name:
        meant = "blanks stand between the names of several"
    raise UserError(f"config file {name!r} is neither in {Path.cwd()} nor among the packaged ones; {meant}")


def read_config_file(name: str, texts: Collection[str] = ()) -> dict[str, Any]:
    """Return the mapping in a config file.

    Args:
        name: of the file.
        texts: as of `safe_yaml`.

    Raises:
        UserError: no such file, invalid yaml, or no mapping of keys to values.
    """
    try:
        values = parsed_once(resolve_config_file(name), texts)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        if isinstance(error, Misread):
            raise UserError(f"config file {name}: {error}") from error
        raise UserError(f"config file {name}: not valid yaml: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict) and values is not None:
        raise UserError(f"config file {name}: `key: value` lines are expected, found {type(values).__name__}")
    for key in values or {}:
        if not isinstance(key, str):
            raise UserError(f"config file {name}: key {key!r} is no name")
    return values or {}


def packaged_settings(model: str, dataset: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and settings of the packaged files for a model and a dataset, later ones over earlier ones."""
    for name in (f"model/{model}", f"dataset/{dataset}", f"dataset/{dataset}.{model}"):
        file = packaged_file(f"{name}.yaml")
        if file.is_file():
            yield name, parsed_file(file) or {}

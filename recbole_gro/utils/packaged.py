"""The packaged yaml files and what RecBole's say of its keys, read without torch."""

import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

import recbole

KEY_LINE = re.compile(r"^(\w+): *(.*?) *(?:# *\((.*?)\) *(.*?) *)?$", re.MULTILINE)


class ListedKey(NamedTuple):
    """A line `key: default  # (type) meaning` of a yaml file; each part as text."""

    name: str
    default: str
    type: str
    meaning: str


def packaged_properties() -> Traversable:
    """Return the properties/ folder: inside the installed package, or beside it in a clone or an editable install."""
    installed = resources.files("recbole_gro") / "properties"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[2] / "properties"


def known_experiments() -> list[str]:
    """Return the names of the packaged experiments."""
    folder = packaged_properties() / "experiment"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def recbole_properties() -> Path:
    """Return RecBole's own properties folder."""
    return Path(recbole.__file__).parent / "properties"


def listed_keys(file: Traversable) -> list[ListedKey]:
    """Return the keys at the top of a yaml file with what their lines say of them."""
    return [ListedKey(*found) for found in KEY_LINE.findall(file.read_text(encoding="utf-8"))]

"""Packaged yaml files, ours and RecBole's, and the names of settings that RecBole's files know."""

import copy
from functools import cache
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from recbole_gro.utils.packaged import packaged_properties, recbole_properties


def packaged_file(name: str) -> Traversable:
    """Return a file below the packaged properties, such as `model/BERT4Rec.yaml`; it may not exist."""
    return packaged_properties().joinpath(*Path(name).parts)


def recbole_name(model_class: type) -> str | None:
    """Return the nearest class a model derives from, itself included, that RecBole has default settings for."""
    folder = recbole_properties() / "model"
    return next((cls.__name__ for cls in model_class.__mro__ if (folder / f"{cls.__name__}.yaml").is_file()), None)


def recbole_model_settings(model_class: type) -> dict[str, Any]:
    """Return RecBole's default settings of a model."""
    name = recbole_name(model_class)
    return _mapping(recbole_properties() / "model" / f"{name}.yaml") if name else {}


@cache
def model_keys() -> frozenset[str]:
    """Return the keys that set up one model's architecture or batches: RecBole's model files less its general ones."""
    files = (recbole_properties() / "model").glob("*.yaml")
    return frozenset(key for file in files for key in _mapping(file)) - _general_keys()


@cache
def model_sizes() -> frozenset[str]:
    """Return the keys of models that count something: whole numbers in all of RecBole's model files, one above 1."""
    values: dict[str, list[Any]] = {}
    for file in (recbole_properties() / "model").glob("*.yaml"):
        for key, value in _mapping(file).items():
            values.setdefault(key, []).append(value)
    counts = {key for key, given in values.items() if all(type(each) is int and each > 0 for each in given)}
    return frozenset(key for key in counts & model_keys() if max(values[key]) > 1)


@cache
def recbole_keys() -> frozenset[str]:
    """Return every key that RecBole's own files, argument lists and launcher know."""
    from recbole.utils import argument_list

    listed = {
        key
        for name in ("general", "training", "evaluation", "dataset")
        for key in getattr(argument_list, f"{name}_arguments")
    }
    launcher = {"model", "dataset", "config_files", "nproc", "world_size", "ip", "port", "offset", "group_offset"}
    return _general_keys() | model_keys() | listed | launcher


@cache
def _general_keys() -> frozenset[str]:
    folder = recbole_properties()
    return frozenset(key for name in ("overall", "dataset/sample") for key in _mapping(folder / f"{name}.yaml"))


def _mapping(file: Path) -> dict[str, Any]:
    return copy.deepcopy(_parsed(file.read_text(encoding="utf-8")))


@cache
def _parsed(text: str) -> dict[str, Any]:
    # RecBole's files hold plain yaml; a bad line in them is not for our users to fix
    return yaml.safe_load(text) or {}

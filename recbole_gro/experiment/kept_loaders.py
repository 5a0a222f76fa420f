"""Loaders of the data that this process read last: cells of an experiment share them, whatever their seed."""

import copy
import json
from dataclasses import dataclass
from typing import Any

from recbole_gro.config.config import plain
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.settings import plugin_keys
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.data.digests import data_fingerprint
from recbole_gro.data.settings import DataSettings
from recbole_gro.quick_start.stage_fingerprints import WITHOUT_EFFECT
from recbole_gro.serving.settings import ServiceSettings

Loaders = tuple[Any, Any, Any]  # of training, validation and test rows
UNREAD = WITHOUT_EFFECT - {"data_path", "device"} | {"seed"}  # each stage seeds its loaders (`start_stage`)


@dataclass(frozen=True)
class _Kept:
    """Loaders, the key of their data, and the settings that reading these wrote into the config."""

    key: tuple[type, str]
    loaders: Loaders
    written: dict[str, Any]


_kept: list[_Kept] = []  # one at most: data may fill the memory


def shared_loaders(config: ConfigLike) -> Loaders:
    """Return training, validation and test loaders; those of the last call where its data and settings are the same.

    Args:
        config: of a cell; reading the data writes names of fields and the size of evaluation batches into it.

    Raises:
        UserError: invalid data, as of `build_dataset` and `build_loaders`.
    """
    key = loaders_key(config)
    if not _kept or _kept[0].key != key:
        forget_loaders()
        before = copy.deepcopy(config.final_config_dict)
        loaders = build_loaders(config, build_dataset(config))
        settings = config.final_config_dict.items()
        written = {name: value for name, value in settings if name not in before or before[name] != value}
        if key is None:
            return loaders
        _kept.append(_Kept(key, loaders, written))
    for name, value in _kept[0].written.items():
        config[name] = value
    for loader in _kept[0].loaders:
        loader.config = loader._dataset.config = config
    return _kept[0].loaders


def forget_loaders() -> None:
    """Release the memory of the loaders that this process keeps."""
    _kept.clear()


def loaders_key(config: ConfigLike) -> tuple[type, str] | None:
    """Return what loaders depend on, seeds excepted: the model, the data, all of RecBole's settings and some of ours.

    Args:
        config: of a cell, before its data are read.

    Returns:
        The key; None where the data are to be downloaded first.
    """
    digests = data_fingerprint(config)
    unread = plugin_keys().keys() - {*DataSettings.names, *ServiceSettings.names} | UNREAD
    read = {name: value for name, value in config.final_config_dict.items() if name not in unread}
    return (config.model_class, json.dumps([digests, plain(read)], sort_keys=True)) if digests else None

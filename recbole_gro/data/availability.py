"""Availability of a dataset: a folder of the user's, RecBole's packaged files, or a download."""

from pathlib import Path
from typing import Any

import recbole
import yaml

from recbole_gro.config.config import Config
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.values import is_several
from recbole_gro.utils.errors import UserError, nearest
from recbole_gro.utils.log import console

# filters, which pre-split files do not go through
UNFILTERED = ("val_interval", "rm_dup_inter", "user_inter_num_interval", "item_inter_num_interval", "core_filter")
ATOMIC = ("inter", "user", "item", "kg", "link", "net", "ent")  # suffixes of RecBole's files
SIZES = ("users", "items", "interactions")


def check_obtainable(config: ConfigLike) -> None:
    """Check that the files of a dataset exist or that RecBole can download them, and that none is a folder.

    Args:
        config: RecBole's Config or ours.

    Raises:
        UserError: neither; the message names the missing file or the nearest dataset.
    """
    folder, name = Path(config["data_path"]), config["dataset"]
    if folder.exists():
        parts = config["benchmark_filename"]
        if parts is not None and (not isinstance(parts, list) or len(parts) != 3):
            raise UserError(
                f"benchmark_filename: {parts!r} is not a list of three names for training, validation and test, such "
                f"as [train, valid, test]"
            )
        for key in UNFILTERED if parts is not None else ():
            if config.external_config_dict.get(key) is not None:
                raise UserError(f"{key}: pre-split files (benchmark_filename) are not filtered; leave it out")
        for column in (config["seq_len"] or {}) if parts is not None else ():
            if column.endswith(config["LIST_SUFFIX"]):
                raise UserError(
                    f"seq_len: {column} holds histories, of which it would keep the oldest items; MAX_ITEM_LIST_LENGTH "
                    "keeps the most recent"
                )
        suffixes = ["inter"] if parts is None else [f"{part}.inter" for part in parts]
        suffixes += config["additional_feat_suffix"] or []
        for suffix in dict.fromkeys([*suffixes, *ATOMIC]):
            _check_file(name, folder / f"{name}.{suffix}")
        for suffix in suffixes:
            if not (folder / f"{name}.{suffix}").is_file():
                again = "; delete the folder to download it again" if name in downloadable() else ""
                raise UserError(f"dataset {name}: there is no file {folder.absolute() / f'{name}.{suffix}'}{again}")
        return
    offered = downloadable()
    if name in offered:
        return
    beside = [other.name for other in folder.parent.glob("*") if (other / f"{other.name}.inter").is_file()]
    remedy = "--data_path=FOLDER reads FOLDER/NAME/NAME.inter"
    if is_several(name) or "," in name:
        remedy = "a run takes one, and `recbole-gro experiment` compares several"
    elif hint := nearest(name, [*beside, *offered]):
        remedy = f"did you mean {hint}?"
    raise UserError(f"dataset: {name} is not in {folder.absolute()}, and RecBole downloads none of that name; {remedy}")


def _check_file(name: str, file: Path) -> None:
    """Refuse what stands in the place of a file: a folder, or a link to nothing."""
    wrong = "is a folder, where a file of rows is expected" if file.is_dir() else ""
    if file.is_symlink() and not file.exists():
        wrong = f"is a link to {file.readlink()}, which does not exist"
    if wrong:
        raise UserError(f"dataset {name}: {file.absolute()} {wrong}")


def is_downloaded_first(config: ConfigLike) -> bool:
    """Return whether RecBole would download a dataset before it reads it: where its folder does not exist.

    Args:
        config: RecBole's Config or ours.

    Raises:
        UserError: its files neither exist nor can be downloaded.
    """
    check_obtainable(config)
    return not Path(config["data_path"]).exists()


def downloadable() -> list[str]:
    """Return the names of the datasets that RecBole can download."""
    file = Path(recbole.__file__).parent / "properties" / "dataset" / "url.yaml"
    return list(yaml.safe_load(file.read_text(encoding="utf-8")))


def passed_over(config: ConfigLike) -> str:
    """Return a note where RecBole's packaged dataset is read because `data_path` lacks it, else an empty text."""
    given = config.external_config_dict.get("data_path")
    if given is None or Path(config["data_path"]) == Path(given) / config["dataset"]:
        return ""
    return f", RecBole's own; {(Path(given) / config['dataset']).absolute()} does not exist"


def announce_packaged(config: Config, dataset: Any) -> None:
    """Log the packaged settings of a dataset, if there are any, and what its filters kept.

    Args:
        config: a Config of ours.
        dataset: the dataset that was built from it.
    """
    for file, settings in config.packaged_settings.items():
        unread = {*config.external_config_dict, *(UNFILTERED if config["benchmark_filename"] is not None else ())}
        effective = {key: value for key, value in settings.items() if key not in unread}
        listed = ", ".join(f"{key}={value}" for key, value in effective.items()) or "overridden by yours"
        console.info(f"dataset: packaged settings of {file}: {listed}")
    if config.packaged_settings and hasattr(dataset, "filtered"):
        counts = (f"{n} of {all_} {what}" for all_, n, what in zip(*dataset.filtered, SIZES, strict=True))
        console.info(f"dataset: the filters keep {', '.join(counts)}")

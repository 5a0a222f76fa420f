"""Whether a dataset is where the settings say: there, or downloaded by RecBole, or RecBole's own copy instead."""

from pathlib import Path

import recbole
import yaml

from recbole_gro.utils.errors import UserError, nearest
from recbole_gro.utils.log import console

UNFILTERED = ("val_interval", "rm_dup_inter", "user_inter_num_interval", "item_inter_num_interval")
SIZES = ("users", "items", "interactions")


def check_obtainable(config) -> None:
    """Check that the files of a dataset are in its folder, or that RecBole can download them.

    Args:
        config: RecBole's Config or ours.

    Raises:
        UserError: they are not; the message names the file, or the nearest dataset that there is.
    """
    folder, name = Path(config["data_path"]), config["dataset"]
    if folder.exists():
        parts = config["benchmark_filename"]
        if parts is not None and (not isinstance(parts, list) or len(parts) != 3):
            raise UserError(
                f"benchmark_filename: {parts!r} is no list of three names, for training, validation and test, such as "
                f"[train, valid, test]"
            )
        for key in UNFILTERED if parts is not None else ():
            if config.external_config_dict.get(key) is not None:
                raise UserError(f"{key}: pre-split files (benchmark_filename) are not filtered; leave it out")
        suffixes = ["inter"] if parts is None else [f"{part}.inter" for part in parts]
        for suffix in [*suffixes, *(config["additional_feat_suffix"] or [])]:
            if not (folder / f"{name}.{suffix}").is_file():
                again = "; delete the folder to download it again" if name in downloadable() else ""
                raise UserError(f"dataset {name}: there is no file {folder.absolute() / f'{name}.{suffix}'}{again}")
        return
    offered = downloadable()
    if name in offered:
        return
    beside = [other.name for other in folder.parent.glob("*") if (other / f"{other.name}.inter").is_file()]
    hint = nearest(name, [*beside, *offered])
    raise UserError(
        f"dataset: {name} is not in {folder.absolute()}, and RecBole downloads none of that name"
        + (f"; did you mean {hint}?" if hint else "; --data_path=FOLDER reads FOLDER/NAME/NAME.inter")
    )


def downloadable() -> list[str]:
    """Names that RecBole has an address for."""
    file = Path(recbole.__file__).parent / "properties" / "dataset" / "url.yaml"
    return list(yaml.safe_load(file.read_text(encoding="utf-8")))


def passed_over(config) -> str:
    """What to say where RecBole's own copy of the dataset is read because `data_path` has none; else nothing."""
    given = config.external_config_dict.get("data_path")
    if given is None or Path(config["data_path"]) == Path(given) / config["dataset"]:
        return ""
    return f", RecBole's own; {(Path(given) / config['dataset']).absolute()} is not there"


def announce_packaged(config, dataset) -> None:
    """Log which packaged files set what for this dataset, and what the filters dropped; nothing without such a file.

    Args:
        config: a Config of ours.
        dataset: the dataset that was built from it.
    """
    for file, settings in config.packaged_settings.items():
        brought = {key: value for key, value in settings.items() if key not in config.external_config_dict}
        listed = ", ".join(f"{key}={value}" for key, value in brought.items()) or "nothing beside what you set"
        console.info(f"dataset: packaged settings of {file}: {listed}")
    if config.packaged_settings and hasattr(dataset, "filtered"):
        counts = (f"{n} of {all_} {what}" for all_, n, what in zip(*dataset.filtered, SIZES, strict=True))
        console.info(f"dataset: the filters keep {', '.join(counts)}")

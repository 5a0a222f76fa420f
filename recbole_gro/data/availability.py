"""Whether a dataset is where the settings say: there, or downloaded by RecBole, or RecBole's own copy instead."""

from pathlib import Path

import recbole
import yaml

from recbole_gro.utils.errors import UserError, nearest


def check_obtainable(config) -> None:
    """Raise where the dataset of a config is neither in its folder nor known to RecBole's download.

    Raises:
        UserError: it is not; the message names the nearest that is.
    """
    folder, name = Path(config["data_path"]), config["dataset"]
    if folder.exists():
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

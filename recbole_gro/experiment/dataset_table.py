"""Table 1 of the paper as an experiment: sizes of datasets as they are read for training. Nothing is trained."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from recbole_gro.config.config import Config
from recbole_gro.data import build_dataset
from recbole_gro.data.availability import check_obtainable, downloadable
from recbole_gro.data.convert import PUBLISHED
from recbole_gro.data.statistics import ANY_MODEL, HEAD, PAPER, Statistics, dataset_statistics, rows
from recbole_gro.experiment.facts import settings_blocks
from recbole_gro.experiment.plan import Experiment
from recbole_gro.report.document import Block, Bullets, Heading, Table, csv_text, write_document
from recbole_gro.report.environment import environment
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import check_folder
from recbole_gro.utils.random_state import global_state_kept
from recbole_gro.utils.units import counted

OTHER_NAME = {"steam": "steam-not-merged"}  # of RecBole's download, which has the same packaged settings


@global_state_kept()
def run_table(experiment: Experiment, folder: Path, dry_run: bool = False) -> None:
    """Read the datasets, download those that RecBole can, and report on all that are available.

    Args:
        experiment: its datasets vary, all else is fixed.
        folder: of the report.
        dry_run: only print which files would be read.

    Raises:
        UserError: an invalid setting, or no dataset is available; or, at the end, invalid files.
    """
    configs = {name: _config(experiment, name) for name in map(str, experiment.vary["dataset"])}
    for name, config in configs.items():
        if name not in PUBLISHED:  # users get those from the publishers
            check_obtainable(config)
    print(f"{experiment.title}: {counted(len(configs), 'dataset')}; {folder}")
    if dry_run:
        for name, config in configs.items():
            absence = "" if _file(config).exists() else f", which does not exist; {_source(config)}"
            print(f"  {name}: {_file(config)}{absence}")
        print("nothing was read")
        return
    check_folder(folder)
    found: dict[str, Statistics] = {}
    absent: dict[str, str] = {}
    invalid: dict[str, str] = {}
    for name, config in configs.items():
        try:
            found[name] = dataset_statistics(build_dataset(config))
            print(f"  {name}: {', '.join(map(' '.join, zip(HEAD[1:], found[name].cells(), strict=True)))}")
        except UserError as error:
            (invalid if _file(config).exists() else absent)[name] = str(error)
    if found:
        read = {name: configs[name] for name in found}
        blocks = list(_blocks(experiment, found, [*absent.values(), *invalid.values()], read))
        write_document(experiment.title, blocks, _sizes_csv(found), folder)
        print(f"report.html, report.md and results.csv are in {folder}")
    if invalid:
        raise UserError("; ".join(invalid.values()))
    if not found:
        raise UserError(f"dataset: none is available: {_how_to_get(absent)}")
    if absent:
        print(f"left out: {_how_to_get(absent)}")


def _config(experiment: Experiment, name: str) -> Config:
    return Config(config_dict={"model": ANY_MODEL, **experiment.fixed, "dataset": name})


def _file(config: Config) -> Path:
    return Path(config["data_path"]) / f"{config['dataset']}.inter"


def _source(config: Config) -> str:
    """Return where an absent dataset would come from."""
    name = config["dataset"]
    if name not in downloadable():
        ways = ["RecBole has no download of that name"]
        if name in PUBLISHED:
            ways.append(f"recbole-gro dataset convert {name} PATH makes it from the published files")
        if name in OTHER_NAME:
            ways.append(f"--dataset={OTHER_NAME[name]} downloads RecBole's")
        return "; ".join(ways)
    if Path(config["data_path"]).exists():
        return "RecBole would download it if the folder did not exist"
    return "RecBole would download it"


def _how_to_get(absent: Iterable[str]) -> str:
    """Name the missing datasets, and how to get them."""
    advice = f"{', '.join(absent)}, neither on disk nor downloaded"
    if published := ", ".join(name for name in absent if name in PUBLISHED):
        advice += f"; recbole-gro dataset convert NAME PATH makes {published} from the published files"
    return f"{advice}; --data_path=FOLDER reads FOLDER/NAME/NAME.inter"


def _sizes_csv(found: dict[str, Statistics]) -> str:
    """Return one row per measure of a dataset: the value here, the paper's, and the difference; density is a share."""
    lines = []
    for name, here in found.items():
        paper = asdict(PAPER[name]) if name in PAPER else {}
        for measure, value in asdict(here).items():
            compared = [paper[measure], value - paper[measure]] if paper else ["", ""]
            lines.append([name, measure, value, *compared])
    return csv_text(["dataset", "measure", "here", "paper", "difference"], lines)


def _blocks(
    experiment: Experiment, found: dict[str, Statistics], left_out: list[str], configs: dict[str, Config]
) -> Iterator[Block]:
    yield Heading("Results")
    yield Table(
        "Datasets as they are read for training. Users and items after the filter, interactions per user, share of all "
        "pairs of user and item; for datasets of the paper's Table 1 also its numbers and the difference, here minus "
        "paper.",
        [HEAD[0], "whose", *HEAD[1:]],
        [[name, whose, *cells] for name, here in found.items() for whose, cells in rows(name, here).items()],
        labels=2,
    )
    if left_out:
        yield Heading("Left out")
        yield Bullets(left_out)
    yield from settings_blocks(experiment)
    yield Heading("Run with")
    about = environment(next(iter(configs.values())))
    facts = [[f"file of {name}", str(_file(config).resolve())] for name, config in configs.items()]
    facts += [[f"versions {name}", str(version)] for name, version in about["versions"].items()]
    yield Table("Files and software.", ["fact", "value"], [*facts, ["revision", str(about["revision"])]], text=True)

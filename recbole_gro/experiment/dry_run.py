"""What a dry run prints: what a run would download, and the expected duration. It downloads and writes nothing."""

from collections.abc import Iterable
from pathlib import Path

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.data.availability import is_downloaded_first
from recbole_gro.experiment.estimate import Estimate, duration
from recbole_gro.experiment.plan import Task, in_words


def print_downloads(configs: Iterable[ConfigLike]) -> bool:
    """Print a line per dataset that a run would download, and return whether there is any.

    Args:
        configs: of the cells.

    Raises:
        UserError: the files of a dataset neither exist nor can be downloaded.
    """
    absent = {Path(config["data_path"]): config["dataset"] for config in configs if is_downloaded_first(config)}
    for folder, name in absent.items():
        print(f"dataset {name}: a run would download it to {folder.absolute()}")
    return bool(absent)


def print_missing(missing: list[Task], figure: str) -> None:
    """Print the missing cells of an experiment whose duration is not estimated.

    Args:
        missing: (values, seed) of each cell.
        figure: of the experiment.
    """
    for values, seed in missing:
        print(f"  {in_words({**values, 'seed': seed})}")
    print(no_estimate(figure))


def no_estimate(figure: str) -> str:
    """Return the last line of a dry run of a figure whose duration is not estimated."""
    return f"nothing was run; no duration is given: that of figure {figure} is not estimated"


def print_estimate(missing: list[Task], estimates: list[Estimate | None], workers: int | None) -> None:
    """Print the expected duration of each cell and of all.

    Args:
        missing: (values, seed) of each cell.
        estimates: of each cell; None where its data are absent, on which steps would be timed.
        workers: processes; None: as many as Ray decides.
    """
    for (values, seed), of_cell in zip(missing, estimates, strict=True):
        shown = "no estimate without its data" if of_cell is None else f"about {duration(of_cell.expected)}"
        print(f"  {in_words({**values, 'seed': seed})}: {shown}")
    known = [of_cell for of_cell in estimates if of_cell is not None]
    if missing and not known:
        print("no estimate: training steps are timed on the data; nothing was run")
        return
    at_a_time = max(1, min(workers or 1, len(known)))
    expected, at_most = (
        duration(max([sum(cells) / at_a_time, *cells]))
        for cells in ([of_cell.expected for of_cell in known], [of_cell.at_most for of_cell in known])
    )
    these = "in all" if len(known) == len(estimates) else "for cells whose data are there"
    shared = f"{these}, {at_a_time} at a time" if workers else f"of one CPU {these}, divided by Ray"
    at_most = f"{at_most} if no surrogate stops early; " if at_most != expected else ""
    print(f"about {expected} {shared}; {at_most}nothing was run")

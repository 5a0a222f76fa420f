"""The progress bar of a stage."""

import sys

from tqdm import tqdm


def on_terminal() -> bool:
    """Return whether messages and bars go to a terminal; RecBole's own bars are for one alone."""
    return sys.stderr.isatty()


def progress_bar(stage: str, total: int, unit: str, shown: bool) -> tqdm:
    """Return a progress bar of RecBole's width, which a terminal updates often and a file every half minute.

    Args:
        stage: its label.
        total: number of units.
        unit: of progress; `B` is shown as kB, MB or GB.
        shown: whether to show it.
    """
    return tqdm(
        total=total,
        desc=stage,
        unit=unit,
        unit_scale=unit == "B",
        ncols=100,
        disable=not shown,
        mininterval=0.1 if on_terminal() else 30,
        maxinterval=30,
    )

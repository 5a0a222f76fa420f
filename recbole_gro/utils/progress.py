"""The progress bar of a stage."""

import sys

from tqdm import tqdm


def progress_bar(stage: str, total: int, unit: str, shown: bool) -> tqdm:
    """A bar of RecBole's width; written to a file it moves every half minute, not ten times a second."""
    return tqdm(
        total=total,
        desc=stage,
        unit=unit,
        unit_scale=unit == "B",  # bytes are shown as kB, MB or GB
        ncols=100,
        disable=not shown,
        mininterval=0.1 if sys.stderr.isatty() else 30,
        maxinterval=30,
    )

"""The progress bar of a stage."""

import sys

from tqdm import tqdm

from recbole_gro.utils import terminal


def on_terminal() -> bool:
    """Return whether bars are shown: on a terminal, without --quiet; RecBole's own bars too."""
    return sys.stderr.isatty() and not terminal.is_quiet()


def progress_bar(stage: str, total: int, unit: str, shown: bool = True, *, at_most: bool = False) -> tqdm:
    """Return a progress bar with the expected time, which is removed at its end; on terminals alone.

    Args:
        stage: what is done.
        total: number of units.
        unit: of progress; `B` is shown as kB, MB or GB.
        shown: whether to show it; never with --quiet.
        at_most: whether the stage may end before the total.
    """
    left = f"{'at most' if at_most else 'about'} {{remaining}} left"
    return tqdm(
        total=total,
        desc=stage,
        unit=unit,
        unit_scale=unit == "B",
        ncols=terminal.width() - 1,
        bar_format=f"{{desc}} {{percentage:3.0f}}% |{{bar}}| {{n_fmt}}/{{total_fmt}} {{unit}}, {left}{{postfix}}",
        disable=not shown or not on_terminal(),
        leave=False,
        mininterval=0.1,
    )

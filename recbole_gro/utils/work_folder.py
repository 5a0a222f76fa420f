"""The folder that a command writes to."""

import datetime
from pathlib import Path


def work_folder(given: str | None, command: str) -> Path:
    """Return the folder that a command writes to, which is not created here.

    Args:
        given: `output_dir`; None or empty: runs/COMMAND-TIME, with the time to the microsecond.
        command: a word.
    """
    return Path(given or f"runs/{command}-{datetime.datetime.now():%Y%m%d-%H%M%S-%f}")

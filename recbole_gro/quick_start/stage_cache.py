"""Results of a run's steps, each made once."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole_gro.utils.files import read_plain, write_atomically

console = logging.getLogger("recbole_gro")


class Results:
    """What the steps of a run gave, a file each: plain values and tensors.

    Args:
        folder: where they lie; None keeps nothing.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def once(self, step: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `make` gives; what it gave, where an earlier start came that far."""
        if self.folder is None:
            return make()
        file = self.folder / f"{step}.pth"
        if file.exists():
            console.info(f"{step}: done in an earlier start, read from {file}")
            return read_plain(file)
        made = make()
        write_atomically(made, file)
        return made

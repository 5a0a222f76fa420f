"""Results of stages, each made once: by whoever needs it first, for all runs and experiments that share a folder."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole_gro.utils.files import one_at_a_time, read_plain, write_atomically
from recbole_gro.utils.log import console


class StageCache:
    """A folder with one file per stage, named by the stage and its fingerprint.

    Args:
        folder: which all that share the stages must see.

    Attributes:
        seconds: {file: how long it took whoever made it}.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.seconds: dict[Path, float] = {}
        self._spent = 0.0  # seconds of all stages made so far

    def file(self, stage: str, fingerprint: str) -> Path:
        """Return where the result of a stage is once it is made."""
        return self.folder / f"{stage}-{fingerprint}.pth"

    def once(self, stage: str, fingerprint: str, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """Return the result of a stage: read it, or make it.

        Args:
            stage: kind of the stage.
            fingerprint: of everything that it depends on.
            make: gives plain values and tensors; it is handed a folder that an interrupted start may have left
                something in, and that goes when the result is written.
        """
        file = self.file(stage, fingerprint)
        with one_at_a_time(file):
            if not file.exists():
                work, start, before = file.with_suffix(".work"), time.perf_counter(), self._spent
                work.mkdir(parents=True, exist_ok=True)
                made = make(work)
                # a stage made inside has its own seconds
                own = time.perf_counter() - start - (self._spent - before)
                self._spent += own
                write_atomically({"made": made, "seconds": round(own, 2)}, file)
                shutil.rmtree(work)
            else:
                console.info(f"{stage}: read from {file}")
        stored = read_plain(file)
        self.seconds[file] = stored["seconds"]
        return stored["made"]

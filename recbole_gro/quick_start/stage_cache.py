"""Results of stages, each computed once for all runs and experiments that share a folder."""

import contextlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole_gro.quick_start.stopwatch import Stopwatch
from recbole_gro.trainer import processes
from recbole_gro.utils.files import ANEW, load_state, make_folder, one_at_a_time, save_state, write_whole
from recbole_gro.utils.log import console


class StageCache:
    """Cache the results of stages in a folder, one file per stage, named by the stage and its fingerprint.

    Args:
        folder: on a disk that all processes that share the stages see.
        announce: whether the log says which stages are read.

    Attributes:
        seconds: {file: time that the stage took when it was computed}.
    """

    def __init__(self, folder: Path, announce: bool = True):
        self.folder, self.announce = folder, announce
        self.seconds: dict[Path, float] = {}
        self._spent = 0.0  # seconds of all calls of `once`, computing, reading or waiting for another process

    def file(self, stage: str, fingerprint: str) -> Path:
        """Return the file of a stage's result."""
        return self.folder / f"{stage}-{fingerprint}.pth"

    def once(
        self, stage: str, fingerprint: str, make: Callable[[Path], dict[str, Any]], together: bool = False
    ) -> dict[str, Any]:
        """Return the result of a stage, computed by `make` where no file holds it.

        Args:
            stage: kind of the stage.
            fingerprint: of everything that it depends on.
            make: returns plain values and tensors; takes a work folder, which keeps its files if `make` is interrupted
                and is removed when the result is written.
            together: of several processes all call `make`, which trains; else the first one.
        """
        file, before = self.file(stage, fingerprint), self._spent
        work, made = file.with_suffix(".work"), None
        with Stopwatch() as whole, contextlib.ExitStack() as lock:
            is_missing = processes.by_first(lambda: self._begin(file, stage, lock))
            with Stopwatch() as watch:
                if is_missing and together:
                    made = make(work)
                elif is_missing and processes.is_first():
                    with processes.alone():
                        made = make(work)
            own = watch.seconds - (self._spent - before)  # a stage inside counts its own time
            result = processes.by_first(lambda: self._finish(file, stage, made, own if is_missing else None))
        self._spent = before + whole.seconds
        self.seconds[file] = result["seconds"]
        return result["made"]

    def _begin(self, file: Path, stage: str, lock: contextlib.ExitStack) -> bool:
        """Lock the file of a stage; return whether the stage is to be computed, with its work folder made.

        Args:
            file: of its result.
            stage: kind of the stage, for the log.
            lock: holds the lock of the file until it is closed.
        """
        lock.enter_context(one_at_a_time(file))
        if file.exists():
            console.log(logging.INFO if self.announce else logging.DEBUG, f"{stage}: read from {file}")
            shutil.rmtree(file.with_suffix(".work"), ignore_errors=True)  # of a process that was killed in `_finish`
            return False
        make_folder(file.with_suffix(".work"), "stages")
        return True

    def _finish(self, file: Path, stage: str, made: dict[str, Any] | None, seconds: float | None) -> dict[str, Any]:
        """Write the file of a stage that was computed, release its waiters, and return what the file holds.

        Args:
            file: of its result.
            stage: kind of the stage, for the log.
            made: its result.
            seconds: that it took; None: it was not computed, since the file was there.
        """
        if seconds is not None:
            save_state(file, {"made": made, "seconds": round(seconds, 2)})
            shutil.rmtree(file.with_suffix(".work"))
            if seconds >= 1:
                console.info(f"{stage}: done in {seconds:.0f} s")
        # whoever waits for the lock, or makes a new one, finds the result
        Path(f"{file}.lock").unlink(missing_ok=True)
        return load_state(file, remedy=ANEW)


def start_anew_elsewhere(work: Path, output_dir: Path | None) -> None:
    """Remove the resume checkpoints in the work folder of a stage that are of another output folder.

    The best checkpoint so far is in that folder.
    """
    place, here = work / "output_dir", str(output_dir and output_dir.resolve())
    if place.exists() and place.read_text(encoding="utf-8") != here:
        shutil.rmtree(work / "resume", ignore_errors=True)
    write_whole(place, here)

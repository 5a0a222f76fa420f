"""The folder that a command writes to."""

import contextlib
import datetime
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import check_folder, one_at_a_time

RESULTS = "results.json"  # which every command but `experiment` writes last


def work_folder(given: str | None, command: str) -> Path:
    """Return the folder that a command writes to, which is not created here.

    Args:
        given: `output_dir`; None or empty: runs/COMMAND-TIME, with the time to the microsecond.
        command: a word.
    """
    return Path(given or f"runs/{command}-{datetime.datetime.now():%Y%m%d-%H%M%S-%f}")


@contextlib.contextmanager
def used_alone(folder: Path, lock: str) -> Iterator[None]:
    """Hold the lock of a folder inside the block; it ends with the process, however that ends.

    Args:
        folder: that is written to.
        lock: its file is LOCK.lock in the folder.

    Raises:
        UserError: another process holds it.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(one_at_a_time(folder / lock, wait=False))
        except TimeoutError:
            raise UserError(
                f"output_dir: another process runs in {folder}; wait for its end or name another folder"
            ) from None
        yield


@contextlib.contextmanager
def resumed_by_folder(folder: Path, work: str) -> Iterator[None]:
    """Add to an interrupt inside the block how the work is resumed.

    Args:
        folder: of the work.
        work: what is resumed, in a word.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note(f"the same command with --output_dir={folder} resumes this {work}")
        raise


def takes_files(folder: Path, log: str) -> bool:
    """Return whether a folder with finished work can be written; where it cannot, its results are read alone.

    Args:
        folder: that exists.
        log: name of a file that is appended to, and made where it is absent.
    """
    if not os.access(folder, os.W_OK):
        return False
    try:
        (folder / log).open("ab").close()
    except OSError:
        return False
    return True


def refuse_other_work(folder: Path, begun_by: Collection[str] = ()) -> None:
    """Refuse a folder with the work of another command, or of an earlier one that cannot be resumed.

    Args:
        folder: to be written to; it may not exist.
        begun_by: names of which a folder holds one that the command can go on in; without one it is to be empty.

    Raises:
        UserError: it is a file, holds other work, or cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"output_dir: {folder} is a file; it takes a folder")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if names and names.isdisjoint(begun_by):
        raise UserError(f"output_dir: {folder} is not empty; name a new folder, so that nothing is lost")
    check_folder(folder)

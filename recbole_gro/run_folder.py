"""One folder a run: where it is, and run.log in it."""

import contextlib
import datetime
import errno
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from recbole_gro.errors import UserError
from recbole_gro.resume.claim import BARE_START, LOG, SETTINGS

console = logging.getLogger("recbole_gro")
COLOUR = re.compile(r"\x1B\[[0-9;]*m")


def new_run_folder(config) -> Path:
    """Make the folder that `output_dir` names, or runs/DATASET-MODEL-TIME; one that holds a run may be gone on with.

    Raises:
        UserError: it holds anything else or cannot be written.
    """
    if config["output_dir"]:
        folder = Path(config["output_dir"])
    else:
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = Path("runs") / f"{config['dataset']}-{config['model']}-{stamp}"
        folder = next(f for f in (folder, *(Path(f"{folder}-{n}") for n in range(2, 1000))) if not f.exists())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
        if SETTINGS not in names and not names <= BARE_START:
            raise UserError(f"output_dir: {folder} is not empty; name a new folder, so that no earlier run is lost")
        probe = folder / LOG
        probe.touch()
    except OSError as error:
        raise UserError(f"output_dir: {folder} cannot be written: {error.strerror or error}") from error
    return folder


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return COLOUR.sub("", super().format(record))


class _LogFile(logging.FileHandler):
    """run.log; a run that can no longer write it ends, as one does that cannot write its results."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise error
        super().handleError(record)


@contextlib.contextmanager
def full_disk_told(folder: Path) -> Iterator[None]:
    """A full disk inside ends in one line, whoever was writing.

    Raises:
        UserError: which file could not be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"{error.filename or folder} cannot be written: {error.strerror}") from error


class _ProgressSafeHandler(logging.Handler):
    """Prints above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record))


@contextlib.contextmanager
def shown_on_console() -> Iterator[None]:
    """The run's own lines, and warnings of anybody, are printed; log levels and handlers are put back at the end."""
    root = logging.getLogger()
    before = root.level, console.level
    own, trouble = _ProgressSafeHandler(logging.INFO), _ProgressSafeHandler(logging.WARNING)
    own.addFilter(lambda record: record.levelno < logging.WARNING)
    root.addHandler(trouble)
    console.addHandler(own)
    console.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            # deprecations inside RecBole are not the user's to mend
            warnings.filterwarnings("ignore", module=r"recbole\.")
            yield
    finally:
        root.removeHandler(trouble)
        console.removeHandler(own)
        root.setLevel(before[0])
        console.setLevel(before[1])


@contextlib.contextmanager
def logged_to(folder: Path, level: str = "INFO") -> Iterator[None]:
    """Everything that is logged goes to run.log; RecBole logs to the root logger."""
    root = logging.getLogger()
    file = _LogFile(folder / LOG, encoding="utf-8")
    file.setFormatter(_PlainFormatter("%(asctime)s %(levelname)s %(message)s"))
    root.addHandler(file)
    root.setLevel(level.upper())
    try:
        yield
    finally:
        root.removeHandler(file)
        file.close()

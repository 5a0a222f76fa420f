"""What a run logs: the console's lines and run.log."""

import contextlib
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

console = logging.getLogger("recbole_gro")
LOG = "run.log"
COLOUR = re.compile(r"\x1B\[[0-9;]*m")


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

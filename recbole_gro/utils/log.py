"""Logging of a run: the console and run.log."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from recbole_gro.utils import output, terminal
from recbole_gro.utils.files import full_disk_named

console = logging.getLogger("recbole_gro")
LOG = "run.log"


class _LogFile(logging.FileHandler):
    """The handler of run.log, which raises where it cannot write: the run then ends."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise error
        super().handleError(record)


class _ProgressSafeHandler(logging.Handler):
    """A handler that prints above the progress bars; with --quiet it prints results and errors alone."""

    def emit(self, record: logging.LogRecord) -> None:
        result, quiet = getattr(record, "result", None), terminal.is_quiet()
        if result:
            _write(terminal.for_output(result) if quiet else f"\n{terminal.for_output(result)}")
        elif record.levelno >= logging.ERROR or not quiet:
            _write(self.format(record))


def say(line: str) -> None:
    """Print a line above the progress bars; none with --quiet."""
    if not terminal.is_quiet():
        _write(line)


def _write(text: str) -> None:
    """Print text above the progress bars; the work does not end where it cannot be written, on a full disk.

    Characters that the terminal's encoding lacks, as an item of a log may have, are escaped.
    """
    encoding = sys.stdout.encoding or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        tqdm.write(text)
        sys.stdout.flush()  # else a later line would fail, of whoever prints it
    except BrokenPipeError:
        raise
    except OSError as error:
        output.print_error(f"{output.discard_output(error)}; nothing more is printed there")


def show(result: terminal.Result) -> None:
    """Show the result of a run on the console, and write it to run.log as markdown."""
    console.info(f"\n{result.markdown()}", extra={"result": result})


@contextlib.contextmanager
def shown_on_console() -> Iterator[None]:
    """Print the run's lines and all warnings inside the block; levels and handlers are restored after it."""
    root = logging.getLogger()
    before = root.level, console.level
    own, trouble = _ProgressSafeHandler(logging.INFO), _ProgressSafeHandler(logging.WARNING)
    own.addFilter(lambda record: record.levelno < logging.WARNING)
    root.addHandler(trouble)
    console.addHandler(own)
    console.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(trouble)
        console.removeHandler(own)
        root.setLevel(before[0])
        console.setLevel(before[1])


@contextlib.contextmanager
def logged_to(folder: Path, level: str = "INFO") -> Iterator[None]:
    """Write all that is logged inside the block, by RecBole too, to run.log.

    Args:
        folder: of the file.
        level: the least level to write, as logging names it.

    Raises:
        UserError: the disk is full, whatever was written inside the block.
    """
    from recbole.utils.logger import RemoveColorFilter  # recbole takes a second, and other commands say lines as well

    root = logging.getLogger()
    before = root.level
    file = _LogFile(folder / LOG, encoding="utf-8")
    file.addFilter(RemoveColorFilter())
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root.addHandler(file)
    root.setLevel(level.upper())
    with full_disk_named(folder):
        try:
            yield
        finally:
            root.removeHandler(file)
            root.setLevel(before)
            file.close()

"""The lines of a published file, plain or gzipped, read one at a time."""

import codecs
import gzip
from collections.abc import Iterator
from pathlib import Path

from recbole_gro.utils.errors import UserError
from recbole_gro.utils.gzip_file import DAMAGED, GZIP_MAGIC
from recbole_gro.utils.progress import progress_bar

LONGEST_LINE = 2**20  # bytes; the longest reviews take some tens of thousands
BETWEEN_REPORTS = 4096  # lines


def raw_lines(path: Path, show_progress: bool = False) -> Iterator[tuple[int, bytes | None]]:
    """Yield the number (from 1) and bytes of each line that is not blank, without its end and a byte order mark.

    Args:
        path: of the file.
        show_progress: whether to show a progress bar.

    Returns:
        An iterator; the bytes of a line longer than LONGEST_LINE are None.

    Raises:
        UserError: the file cannot be read, or its compressed data are damaged.
    """
    number = 0
    try:
        with path.open("rb") as stored, progress_bar(path.name, path.stat().st_size, "B", show_progress) as bar:
            zipped = stored.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            stored.seek(0)
            lines = gzip.GzipFile(fileobj=stored) if zipped else stored
            while line := lines.readline(LONGEST_LINE):
                number += 1
                whole = rest_is_read = _is_whole(line)
                while not rest_is_read:
                    rest_is_read = _is_whole(lines.readline(LONGEST_LINE))
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if number % BETWEEN_REPORTS == 0:
                    bar.update(stored.tell() - bar.n)
                if not whole:
                    yield number, None
                elif line.strip():
                    yield number, line.rstrip(b"\r\n")
            bar.update(stored.tell() - bar.n)
    except DAMAGED as error:
        raise UserError(
            f"{path}: damaged or incomplete gzip after line {number} ({error}); a complete download is needed"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def _is_whole(line: bytes) -> bool:
    """Return whether reading stopped at the line's end, not at the limit."""
    return line.endswith(b"\n") or len(line) < LONGEST_LINE

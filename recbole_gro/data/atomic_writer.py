"""RecBole's atomic files, written so that every name can be read back."""

import contextlib
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from recbole_gro.utils.files import written

# Control characters and lone surrogates cannot occur in a field of a UTF-8 line; % marks the escaped ones
UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f%\ud800-\udfff]")


def token(text: str) -> str:
    """Return `text` as a token of an atomic file; two texts never share one.

    Characters that cannot occur in a tab-separated line are percent-encoded.

    >>> token('Zoë "Z" 100%'), token("NA"), token("a\\tb")
    ('Zoë "Z" 100%25', 'NA', 'a%09b')
    """
    return UNSAFE.sub(lambda match: quote(match[0], safe="", errors="surrogatepass"), text)


def write_row(stream: TextIO, values: Iterable[str]) -> None:
    """Write the values of a row, or the columns of a header, as a line."""
    stream.write("\t".join(values) + "\n")


@contextlib.contextmanager
def atomic_files(folder: Path, files: dict[str, Iterable[str]]) -> Iterator[dict[str, TextIO]]:
    """Open text streams that become files of a folder at the end of the block: all of them, or none where it raises.

    Args:
        folder: created if necessary, and removed again where the block raises.
        files: {name: columns, such as `user_id:token`}.

    Returns:
        {name: stream}, each with its header written.

    Raises:
        UserError: a file cannot be written.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            binary = {name: stack.enter_context(written(folder / name)) for name in files}
            streams: dict[str, TextIO] = {
                name: io.TextIOWrapper(stream, "utf-8", newline="\n") for name, stream in binary.items()
            }
            for name, columns in files.items():
                write_row(streams[name], columns)
            yield streams
            for stream in streams.values():
                stream.flush()  # flushes all of them before the first appears
    except BaseException:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise

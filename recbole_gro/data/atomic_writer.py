"""RecBole's atomic files, written so that every name can be read back."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

# Control characters and lone surrogates cannot stand in a field of a UTF-8 line; % because it marks the others
UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f%\ud800-\udfff]")


def token(text: str) -> str:
    """Return `text` as a token of an atomic file; two texts never share one.

    What cannot stand in a tab-separated line is percent-encoded; names such as null and quotation marks stay.

    >>> token('Zoë "Z" 100%'), token("NA"), token("a\\tb")
    ('Zoë "Z" 100%25', 'NA', 'a%09b')
    """
    return UNSAFE.sub(lambda match: quote(match[0], safe="", errors="surrogatepass"), text)


class AtomicFile:
    """An open atomic file: a header, then rows of values that are ready to be written."""

    def __init__(self, stream: TextIO, columns: Iterable[str]):
        self._stream = stream
        self._stream.write("\t".join(columns) + "\n")
        self.rows = 0

    def write(self, values: Iterable[str]) -> None:
        self._stream.write("\t".join(values) + "\n")
        self.rows += 1


@contextlib.contextmanager
def atomic_files(folder: Path, files: dict[str, Iterable[str]]) -> Iterator[dict[str, AtomicFile]]:
    """Open FOLDER/NAME for every name of `files` (its columns, as `user_id:token`); all appear at the end, or none.

    A body that raises leaves no file, and no folder that was not there before.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    parts = {name: folder / f"{name}.part" for name in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            streams = {
                name: stack.enter_context(part.open("w", encoding="utf-8", newline="\n"))
                for name, part in parts.items()
            }
            yield {name: AtomicFile(streams[name], columns) for name, columns in files.items()}
        for name, part in parts.items():
            os.replace(part, folder / name)
    except BaseException:
        for part in parts.values():
            with contextlib.suppress(OSError):
                part.unlink()
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise

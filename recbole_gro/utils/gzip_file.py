"""Files that gzip may have compressed, such as downloads and rotated logs."""

import gzip
import io
import os
import zlib
from typing import BinaryIO, cast

GZIP_MAGIC = b"\x1f\x8b"
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)  # what reading raises where gzip data are damaged or cut short


def is_compressed(file: str | os.PathLike[str]) -> bool:
    """Return whether a file begins as those of gzip do."""
    with open(file, "rb") as stream:
        return stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC


def opened(file: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading, as the bytes that it has uncompressed."""
    return cast(BinaryIO, gzip.open(file, "rb")) if is_compressed(file) else open(file, "rb")


def opened_text(file: str | os.PathLike[str], newline: str | None = None) -> io.TextIOWrapper:
    """Open a file for reading as text in UTF-8, less a byte order mark; `newline` as of the built-in `open`."""
    return io.TextIOWrapper(opened(file), encoding="utf-8-sig", newline=newline)

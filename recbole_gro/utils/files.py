"""Files that are either complete or not there."""

import contextlib
import fcntl
import io
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch

from recbole_gro.utils.errors import UserError

PART = ".part"  # what ends the name of a file that is being written; nobody reads it


@contextlib.contextmanager
def written(file: str | os.PathLike) -> Iterator[BinaryIO]:
    """A stream to write to, which becomes `file` once the block is through: it is on the disk then, and whole.

    Raises:
        UserError: it cannot be written, on a full disk for one. What stood there before still does.
    """
    part = Path(f"{file}{PART}")
    try:
        with part.open("wb") as stream:
            yield stream
            stream.flush()
            # a rename may reach the disk before the content does, and a power cut come between
            os.fsync(stream.fileno())
        os.replace(part, file)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise UserError(f"{file} cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def one_at_a_time(file: str | os.PathLike) -> Iterator[None]:
    """One process at a time is inside, for a file; the claim ends with the process, however that ends.

    FILE.lock is there as long as one is. It is removed while it is held, so whoever waited for it holds a file that
    has no name any more, and asks again for the one that has.
    """
    path = Path(f"{file}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_at(path, os.fstat(lock.fileno())):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(path: Path, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), file)
    except FileNotFoundError:
        return False


def write_atomically(state: Any, file: str | os.PathLike) -> None:
    """torch.save under a temporary name, then rename: a half-written file is never there under its own name.

    Raises:
        UserError: it cannot be written.
    """
    buffer = io.BytesIO()  # torch.save's own writer says of a full disk that a file pointer is not where it expected
    torch.save(state, buffer)
    with written(file) as stream:
        stream.write(buffer.getbuffer())


def append_line(line: str, file: str | os.PathLike) -> None:
    """Add a line to the end of a file and hand it to the system: it is there whole or not at all.

    Raises:
        UserError: it cannot be written, on a full disk for one. The lines before it stay.
    """
    end = None
    try:
        with open(file, "ab") as stream:
            end = stream.tell()
            stream.write(f"{line}\n".encode())
    except OSError as error:
        if end is not None:
            with contextlib.suppress(OSError):
                os.truncate(file, end)
        raise UserError(f"{file} cannot be written: {error.strerror or error}") from error


def whole_lines(file: str | os.PathLike) -> int:
    """How many lines a file has, which is made where there is none. A last one without its end, which a process that
    was cut off leaves, is removed.

    Raises:
        UserError: it cannot be written.
    """
    lines = end = 0
    try:
        with open(file, "a+b") as stream:
            stream.seek(0)
            for line in stream:
                if line.endswith(b"\n"):
                    lines, end = lines + 1, end + len(line)
            stream.truncate(end)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror or error}") from error
    return lines


def read_plain(file: str | os.PathLike) -> Any:
    """What `write_atomically` wrote, on the CPU: plain values and tensors; a file with anything else is refused.

    Raises:
        UserError: it cannot be read, or holds more than that.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, LookupError, TypeError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{file} is damaged or not a file of this run ({reason})") from error


def write_whole(file: Path, content: str | bytes) -> None:
    """Write FILE, text as UTF-8: it appears complete or not at all."""
    with written(file) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)

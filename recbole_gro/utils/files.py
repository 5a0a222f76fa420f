"""Files that are either complete or absent, and their locks."""

import contextlib
import errno
import io
import os
import pickle
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from filelock import FileLock

from recbole_gro.utils.errors import UserError, in_one_line, out_of_memory

ANEW = "delete it, and run the command again"  # remedy for a damaged file of the package's own
FOLDER = 0x10  # bit of the attributes of a member of a zip file
PART = ".part"  # suffix of a file that is being written
_UNSUPPORTED = re.compile(r"Unsupported global: GLOBAL (\S+)")  # torch's words for an object of another class


def not_made(folder: str | os.PathLike, error: OSError) -> str:
    """Return why a folder was not made: the link to nothing that stands in its place, or the system's words.

    Args:
        folder: its path.
        error: that its creation ended in.
    """
    whole = Path(folder).absolute()
    link = next((path for path in (whole, *whole.parents) if path.is_symlink() and not path.exists()), None)
    return f"{link} is a link to {link.readlink()}, which does not exist" if link else error.strerror or str(error)


@contextlib.contextmanager
def _write_errors(file: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Raise UserError with the name of the file where the disk is full, whatever wrote to it.

    Args:
        folder: that is named where the error names no file.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"{error.filename or folder} cannot be written: {error.strerror}") from error


def make_folder(folder: str | os.PathLike, setting: str = "output_dir") -> None:
    """Make a folder, and those around it, where they do not exist.

    Args:
        folder: its path.
        setting: that names it, or the folder around it, for the message.

    Raises:
        UserError: it cannot be made.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{setting}: {folder} cannot be made: {not_made(folder, error)}") from error


def check_folder(folder: str | os.PathLike, setting: str = "output_dir") -> None:
    """Check that a folder exists or can be made, without making it, so that work is not done in vain.

    Args:
        folder: its path.
        setting: that names it, for the message.

    Raises:
        UserError: a file is in its place, or none can be made where it would be.
    """
    whole = Path(folder).absolute()
    if whole.is_dir():
        return
    nearest = next(path for path in (whole, *whole.parents) if os.path.lexists(path))
    try:
        if nearest == whole:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        os.rmdir(tempfile.mkdtemp(prefix=".", dir=nearest))
    except OSError as error:
        raise UserError(f"{setting}: {folder} cannot be made: {not_made(folder, error)}") from error


@contextlib.contextmanager
def written(file: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a stream that becomes `file` at the end of the block, when it is complete and on the disk.

    Where the block raises, nothing is left of it, and an earlier file of that name stays.

    Raises:
        UserError: it cannot be written, for example on a full disk.
    """
    part = Path(f"{file}{PART}")
    with _write_errors(file):
        try:
            with part.open("wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())  # a power cut may follow a rename that reaches the disk before the content
            os.replace(part, file)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise


@contextlib.contextmanager
def one_at_a_time(file: str | os.PathLike, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file inside the block; it ends with the process at the latest.

    Args:
        file: FILE.lock is the lock and stays in its folder, which is created if necessary.
        wait: whether to wait while another process holds it.

    Raises:
        TimeoutError: another process holds it.
        UserError: it cannot be made.
    """
    path = Path(f"{file}.lock")
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except TimeoutError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be written: {not_made(path.parent, error)}") from error
    try:
        yield
    finally:
        lock.release()


def save_state(file: str | os.PathLike, state: Any) -> None:
    """Save a state with torch.save under a temporary name, then rename it: no incomplete file has the name.

    Raises:
        UserError: it cannot be written.
    """
    buffer = io.BytesIO()  # torch.save's own writer reports a full disk as an unexpected file position
    torch.save(state, buffer)
    write_whole(Path(file), buffer.getvalue())


def plain_state(state: Any, returned_by: str) -> Any:
    """Return a state of a part that a user may have written, if it can be saved and loaded again.

    Args:
        state: of the part.
        returned_by: what returned it, for the message.

    Raises:
        UserError: it holds anything but plain values and tensors.
    """
    buffer = io.BytesIO()
    try:
        torch.save(state, buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
    except (pickle.PickleError, AttributeError, RuntimeError, LookupError, TypeError, ValueError) as error:
        if shortage := out_of_memory(error):
            raise shortage from error
        other = _UNSUPPORTED.search(str(error))
        reason = other[1] if other else in_one_line(error)
        raise UserError(f"{returned_by} holds other than plain values and tensors: {reason}") from error
    return state


def append_line(file: str | os.PathLike, line: str) -> None:
    """Append a complete line to a file, or nothing, and pass it to the operating system.

    Raises:
        UserError: it cannot be written, for example on a full disk. The lines before it stay.
    """
    end = None
    with _write_errors(file):
        try:
            with open(file, "ab") as stream:
                end = stream.tell()
                stream.write(f"{line}\n".encode())
        except OSError:
            if end is not None:
                with contextlib.suppress(OSError):
                    os.truncate(file, end)
            raise


def whole_lines(file: str | os.PathLike) -> int:
    """Count the lines of a file, which is created if necessary.

    A last line without its end, which an interrupted process leaves, is removed.

    Raises:
        UserError: it cannot be written.
    """
    lines = end = 0
    with _write_errors(file), open(file, "a+b") as stream:
        stream.seek(0)
        for line in stream:
            if line.endswith(b"\n"):
                lines, end = lines + 1, end + len(line)
        stream.truncate(end)
    return lines


def load_state(file: str | os.PathLike, kind: str = "a file of this run", remedy: str = "") -> Any:
    """Load a file of `save_state` on the CPU.

    Args:
        file: its path.
        kind: what it should be, for the message.
        remedy: what to do where it is damaged, such as `ANEW`.

    Raises:
        UserError: it cannot be read, its contents are not those that were written, or it holds anything but plain
            values and tensors.
    """
    try:
        check_sums(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damage ends in any of Python's
        if shortage := out_of_memory(error):
            raise shortage from error
        # torch's own messages advise weights_only=False
        reason = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        if other := _UNSUPPORTED.search(str(error)):
            reason = f": it holds a {other[1]}, which is neither a plain value nor a tensor"
        advice = f"; {remedy}" if remedy else ""
        raise UserError(f"{file} is damaged or not {kind}{reason}{advice}") from error


def check_sums(file: str | os.PathLike) -> None:
    """Check the contents of a file of torch.save or numpy.savez by the checksums in it, which neither reads whole.

    Raises:
        BadZipFile: they are others than those that were written.
    """
    if not zipfile.is_zipfile(file):  # of torch before 1.6, or no file of torch's at all
        return
    with zipfile.ZipFile(file) as archive:
        folders = (member.filename for member in archive.infolist() if member.external_attr & FOLDER)
        if damaged := archive.testzip() or next(folders, None):  # torch reads nothing of a folder
            raise zipfile.BadZipFile(damaged)


def write_whole(file: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8; it appears complete or not at all."""
    with written(file) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def undamaged(file: str | os.PathLike, remedy: str) -> Iterator[None]:
    """Report in one line that a file of the package's own cannot be read, or holds something else.

    Args:
        file: that is read and taken apart in the block.
        remedy: what to do, such as "delete it, and run the command again".

    Raises:
        UserError: reading it failed.
    """
    try:
        yield
    except UserError:
        raise
    except OSError as error:  # which says nothing about the contents
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # damage ends in any of Python's
        if shortage := out_of_memory(error):
            raise shortage from error
        raise UserError(f"{file} is damaged; {remedy}") from error

"""Standard output and standard error that are missing, full, or no longer read."""

import contextlib
import io
import os
import select
import sys
from typing import TextIO

from recbole_gro.utils.errors import UserError

_in_place_of_missing: list[TextIO] = []


def open_missing() -> None:
    """Open a stream that discards its text for standard output and error where the process started without them.

    Worker processes inherit it.
    """
    missing = {name: number for number, name in enumerate(("stdout", "stderr"), 1) if getattr(sys, name) is None}
    for descriptor in missing.values():  # all of them first, else another file would get their numbers
        if not _is_open(descriptor):
            _discard(descriptor)
    for name in missing:
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, open as long as the process runs
        _in_place_of_missing.append(nowhere)
        setattr(sys, name, nowhere)


def is_missing() -> bool:
    """Return whether the process started without a standard output."""
    return sys.stdout is None or sys.stdout in _in_place_of_missing


def readers_gone() -> bool:
    """Return whether the reader of an output stream has gone, whose further output is then discarded."""
    outputs = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(io.UnsupportedOperation):  # a stream of a program that calls the command
            outputs.register(stream, 0)  # 0: report errors alone
    closed = [descriptor for descriptor, _ in outputs.poll(0)]
    for descriptor in closed:
        _discard(descriptor)
    return bool(closed)


def write_failure(error: BaseException) -> UserError | None:
    """Return the error that users read where standard output cannot be written, for example on a full disk.

    What is still to be written there is discarded then, else Python would report it once more at its end.

    Args:
        error: that ended a command; one of another file is told apart by one more line to standard output.

    Returns:
        None for an error of anything else.
    """
    if not isinstance(error, OSError) or error.filename is not None:
        return None
    try:
        print(flush=True)  # not the buffer alone: text that is longer than it is not kept in it
    except OSError as again:
        return discard_output(again)
    return None


def discard_output(error: OSError) -> UserError:
    """Discard all further standard output, and return the error that users read."""
    with contextlib.suppress(io.UnsupportedOperation):
        _discard(sys.stdout.fileno())
    return UserError(f"standard output cannot be written: {error.strerror or error}")


def print_error(*text: str, end: str = "\n") -> None:
    """Print to standard error, which has no other place to report its own failure to."""
    try:
        print(*text, sep="", end=end, file=sys.stderr, flush=True)
    except BrokenPipeError:
        raise
    except OSError:
        with contextlib.suppress(io.UnsupportedOperation):
            _discard(sys.stderr.fileno())


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _discard(descriptor: int) -> None:
    """Let a descriptor, which child processes inherit, discard what is written to it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere == descriptor:  # it was closed
        os.set_inheritable(descriptor, True)
        return
    os.dup2(nowhere, descriptor)
    os.close(nowhere)

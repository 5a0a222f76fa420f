"""Faults in code of a user's own: parts of a plugin, models and functions that settings name."""

import contextlib
import os
import traceback
from collections.abc import Iterator
from types import FrameType

from recbole_gro.utils.errors import UserError, out_of_memory
from recbole_gro.utils.registry import registered_as

_packages: set[str] = set()


def note_own(module: str) -> None:
    """Take the package of a module for a user's own from now on.

    Args:
        module: its dotted name.
    """
    _packages.add(module.partition(".")[0])


def place_in_own_code(error: BaseException) -> str:
    """Return where the innermost call of a user's own code stood, as `my_parts.py, line 8, in Roll.shown`.

    Args:
        error: an exception that was caught.

    Returns:
        "" where no code of a user's own took part.
    """
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if _is_own(frame)]
    if not frames:
        return ""
    frame, line = frames[-1]
    code = frame.f_code
    return f"{code.co_filename.removeprefix(os.path.join(os.getcwd(), ''))}, line {line}, in {code.co_qualname}"


def fault_of_own_code(error: BaseException, part: str = "") -> UserError | None:
    """Return the error that users read where their own code raised; None for an exception of this package.

    sys.exit in code of a user's own is such a fault: a command ends with the status of its own work. An interrupt is
    none, wherever it comes.

    Args:
        error: an exception that was caught; the message has its type and the place.
        part: kind and name of what raised it, unless a registered one did.
    """
    place = place_in_own_code(error)
    if not place or isinstance(error, KeyboardInterrupt):
        return None
    part = next(_parts(error), part)
    reason = with_type(error)
    if isinstance(error, SystemExit):
        reason = f"it ends the process ({reason}), where it should raise an exception or return"
    return UserError(f"{part}: {reason} ({place})" if part else f"{reason} ({place})")


def fault_of_part(error: BaseException) -> UserError | None:
    """Return the error that users read where a registered part of their own raised; None where none took part.

    Args:
        error: an exception that was caught.
    """
    return fault_of_own_code(error) if next(_parts(error), "") else None


@contextlib.contextmanager
def part_named(part: str) -> Iterator[None]:
    """Raise an exception of a user's own code in the block as a UserError that names a part.

    Args:
        part: kind and name of what runs in the block, as of `fault_of_own_code`.

    Raises:
        UserError: memory is short, or the user's own code raised.
    """
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        if fault := out_of_memory(error) or fault_of_own_code(error, part):
            raise fault from error
        raise


def fault_of(error: BaseException) -> Exception | None:
    """Return the error of work whose failure ends no other; None for an interrupt, which ends everything.

    Args:
        error: an exception that was caught.

    Returns:
        It, where it is a UserError; the UserError that users read in its place; else its type and message, of a kind
        that other processes can unpickle.
    """
    fault = error if isinstance(error, UserError) else out_of_memory(error) or fault_of_own_code(error)
    return fault or (RuntimeError(with_type(error)) if isinstance(error, Exception) else None)


def with_type(error: BaseException) -> str:
    """Return the type and message of an exception in one line, with a colon between them.

    >>> with_type(ValueError("too long")), with_type(KeyError())
    ('ValueError: too long', 'KeyError')
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _is_own(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _packages


def _parts(error: BaseException) -> Iterator[str]:
    """Yield kind and name of the registered parts of a user's own that took part, the innermost first."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        # a method of this package may run for a part of the user's
        kind = type(frame.f_locals.get("self"))
        if kind.__module__.partition(".")[0] in _packages and (name := registered_as(kind)):
            yield name

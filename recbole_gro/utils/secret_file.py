"""Files that hold a secret: made from the operating system's randomness, and readable by their owner alone."""

import contextlib
import os
import secrets
import stat
import tempfile
from pathlib import Path

from recbole_gro.utils.errors import UserError

OWNER_ONLY = 0o600


def read_or_create_secret(file: Path, setting: str, *, with_folder: bool = False) -> tuple[bytes, bool]:
    """Return the contents of a file with a secret, which is made where there is none.

    A new one holds 64 hexadecimal digits and a newline. At no time can another user open it, is it incomplete, or do
    two processes that make it at once hold different secrets.

    Args:
        file: its path.
        setting: that names the file, for messages.
        with_folder: whether to make its folder too.

    Returns:
        The contents as they stand, and whether this call made them.

    Raises:
        UserError: it can be neither read nor made.
    """
    try:
        is_new = not file.exists() and _created(file, with_folder)
        return file.read_bytes(), is_new
    except OSError as error:
        raise UserError(f"{setting}: {file} can be neither read nor made: {error.strerror or error}") from error


def check_owner_only(file: Path, setting: str) -> None:
    """Check that no other user can open a file.

    Args:
        file: that exists.
        setting: that names it, for the message.

    Raises:
        UserError: others can.
    """
    rights = stat.S_IMODE(file.stat().st_mode)
    if rights & ~OWNER_ONLY & 0o777:
        raise UserError(f"{setting}: {file} is open to others (mode {rights:03o}); run chmod 600 on it")


def _created(file: Path, with_folder: bool) -> bool:
    """Make a file with a new secret; return False where another process was first, whose file is complete."""
    if with_folder:
        file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # readable by its owner alone
    try:
        with os.fdopen(descriptor, "w") as target:
            target.write(secrets.token_hex(32) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(part, file)
            return True
        return False
    finally:
        os.unlink(part)

"""The file of a ledger that is open: whether it still lies where it was opened.

SQLite writes into a file that was moved away as before, and its newest transactions into a write-ahead log that stays
behind under the old name.
"""

import contextlib
import os
import sqlite3

from recbole_gro.utils.errors import UserError


class LedgerMoved(sqlite3.OperationalError):
    """The file of a ledger that is in use was moved away or replaced."""


def identity(file: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Return device and inode of a file, which a move keeps; None where there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def moved(file: str | os.PathLike[str]) -> str:
    """Return one line on a ledger that is not the file that the service opened: what it is, and what to do."""
    what = "was moved away or deleted" if identity(file) is None else "was replaced by another file"
    return (
        f"ledger: {file} {what} while the service has it open; put the file back, or start the service again on the "
        "one that is to count; requests are refused until then"
    )


def check_same(file: str | os.PathLike[str], expected: tuple[int, int] | None) -> None:
    """Check, before a ledger is opened or made, that it is the file that another process of the service has open.

    Args:
        file: of SQLite.
        expected: its identity; None: it may be any, or none yet.

    Raises:
        UserError: it is another one, or gone.
    """
    if expected not in (None, identity(file)):
        raise UserError(moved(file))


class OpenFile:
    """Tell whether a database is still the file under its name.

    Args:
        file: of SQLite.
        database: a connection to it, which has been used.
    """

    def __init__(self, file: str | os.PathLike[str], database: sqlite3.Connection):
        self._file, self._database = file, database
        self._parts = {part: identity(part) for part in (file, f"{file}-wal")}

    def check(self) -> None:
        """Check that the file is in its place; two microseconds.

        Raises:
            LedgerMoved: it is not; the write-ahead log has been written into the file, wherever that is now.
        """
        if identity(self._file) == self._parts[self._file]:
            return
        log = f"{self._file}-wal"
        if identity(log) == self._parts[log]:  # else another process may have begun one of another file
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        raise LedgerMoved(moved(self._file))

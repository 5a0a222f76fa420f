"""The SQLite file of a ledger: its tables, how it is opened, and its transactions."""

import contextlib
import errno
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from recbole_gro.http_service import row_ids
from recbole_gro.utils.errors import UserError

PAGE = 2**16  # bytes, the largest of SQLite
WAIT = 30  # seconds for the transaction of another process
TABLES = (
    """
CREATE TABLE IF NOT EXISTS key (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, hash BLOB NOT NULL UNIQUE, revoked INTEGER NOT NULL DEFAULT 0,
    budget INTEGER, spent INTEGER NOT NULL DEFAULT 0, rate REAL, allowance REAL NOT NULL, since REAL NOT NULL);
CREATE TABLE IF NOT EXISTS query (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, key INTEGER NOT NULL REFERENCES key, k INTEGER NOT NULL,
    lists INTEGER NOT NULL, refused TEXT, sequences TEXT);
CREATE TABLE IF NOT EXISTS total (outcome TEXT PRIMARY KEY, queries INTEGER NOT NULL, lists INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS catalogue (
    id INTEGER PRIMARY KEY CHECK (id = 1), digest TEXT NOT NULL, items INTEGER NOT NULL);
"""
    + row_ids.TABLES
)
READ = (  # what tells a ledger from another database
    "SELECT id, name, hash, revoked, budget, spent, rate, allowance, since FROM key LIMIT 0",
    "SELECT id, time, key, k, lists, refused, sequences FROM query LIMIT 0",
    "SELECT outcome, queries, lists FROM total LIMIT 0",
    "SELECT digest, items FROM catalogue LIMIT 0",
)


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Commit what is executed inside as one write that excludes others, or nothing where it raises."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # SQLite itself ends one on a full disk
            database.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def errors_named(file: str | os.PathLike[str]) -> Iterator[None]:
    """Report in one line that a ledger cannot be opened or written, or is damaged."""
    try:
        yield
    except sqlite3.Error as error:
        raise UserError(f"ledger: {file} {_reason(file, error)}") from error


def _reason(file: str | os.PathLike[str], error: sqlite3.Error) -> str:
    """Return why a ledger cannot be used; SQLite says "disk I/O error" of a folder, and of most full disks."""
    if os.path.isdir(file):
        return "is a folder; name a file"
    folder = Path(file).absolute().parent
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and not _has_space(folder)):
        return f"cannot be used: the disk of {folder} is full"
    return f"cannot be used: {error}"


def _has_space(folder: Path) -> bool:
    """Return whether a file of a folder may grow by a page of SQLite, which is tried: a quota may be what is full."""
    try:
        with tempfile.TemporaryFile(dir=folder) as trial:
            trial.write(bytes(PAGE))
            trial.flush()
    except OSError as error:
        return error.errno not in (errno.ENOSPC, errno.EDQUOT)
    return True


def opened(file: str | os.PathLike[str], may_write: bool = True) -> sqlite3.Connection:
    """Return a connection to a ledger.

    Args:
        file: of SQLite.
        may_write: whether the file is made where it is absent, readable by its owner only; False: it is read alone, in
            a folder that cannot be written too.

    Raises:
        UserError: it is no ledger, or cannot be opened; nothing is written into it then.
    """
    with errors_named(file):
        if not may_write:
            return _opened_to_read(file)
        # only a new file: to close another descriptor of an open database would release SQLite's locks on it
        try:
            os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            pass
        except OSError as error:
            raise UserError(f"ledger: {file} cannot be used: {error.strerror}") from error
        database = sqlite3.connect(file, WAIT, isolation_level=None, check_same_thread=False)
        try:
            _check_tables(database, file, READ[:1] if _has_tables(database) else ())
            use_write_ahead_log(database)
            database.execute("PRAGMA synchronous = NORMAL")
            database.executescript(f"BEGIN IMMEDIATE;{TABLES}COMMIT;")
            _check_tables(database, file, READ)
        except BaseException:
            database.close()
            raise
    return database


def _opened_to_read(file: str | os.PathLike[str]) -> sqlite3.Connection:
    """Return a connection that reads a ledger; SQLite needs files beside it for that, which not every folder takes.

    Raises:
        UserError: it is no ledger; or such files cannot be made, and the write-ahead log has transactions.
    """
    try:
        return _checked(file, "mode=rw")  # mode=ro would leave the files behind
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
        log = Path(f"{file}-wal")
        if log.exists() and log.stat().st_size:
            raise UserError(
                f"ledger: {file} cannot be used: SQLite needs a folder that it may write, as {log} has transactions "
                "that are not in the file yet; copy both to such a folder"
            ) from error
        return _checked(file, "mode=ro&immutable=1")


def _checked(file: str | os.PathLike[str], options: str) -> sqlite3.Connection:
    """Return a connection to an existing ledger with options of SQLite's URIs, whose tables are there."""
    uri = f"{Path(file).absolute().as_uri()}?{options}"
    database = sqlite3.connect(uri, WAIT, isolation_level=None, check_same_thread=False, uri=True)
    try:
        _check_tables(database, file, READ)
    except BaseException:
        database.close()
        raise
    return database


def use_write_ahead_log(database: sqlite3.Connection) -> None:
    """Switch to the write-ahead log, for which SQLite does not wait while another process opens the same new file."""
    deadline = time.monotonic() + WAIT
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _has_tables(database: sqlite3.Connection) -> bool:
    return database.execute("SELECT 1 FROM sqlite_master").fetchone() is not None


def _check_tables(database: sqlite3.Connection, file: str | os.PathLike[str], statements: Sequence[str]) -> None:
    """Check that a database has the tables and columns that some statements read."""
    try:
        for statement in statements:
            database.execute(statement)
    except sqlite3.OperationalError as error:
        if "no such" not in str(error):
            raise
        raise UserError(f"ledger: {file} is a database, but no ledger of recbole-gro serve") from error

"""Ids of the rows of a ledger, of which none is given twice: reports name them, and rows may be deleted at any time."""

import sqlite3

# SQLite gives the ids of the last rows again once these are deleted; the highest ones that were given are kept here.
TABLES = "CREATE TABLE IF NOT EXISTS last_id (name TEXT PRIMARY KEY, id INTEGER NOT NULL);\n"


def new_id(database: sqlite3.Connection, table: str) -> int:
    """Return the id of a new row, above all that were given in the file; inside a transaction that excludes others.

    Args:
        database: a ledger.
        table: `query` or `key`.
    """
    database.execute(  # no less than the rows have, as the count may have been deleted by hand
        f"INSERT INTO last_id SELECT ?, COALESCE(MAX(id), 0) + 1 FROM {table} WHERE true "
        "ON CONFLICT (name) DO UPDATE SET id = last_id.id + 1",
        (table,),
    )
    (number,) = database.execute("SELECT id FROM last_id WHERE name = ?", (table,)).fetchone()
    return int(number)

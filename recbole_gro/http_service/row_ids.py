"""Ids of the rows of a ledger, of which none is given twice: reports name them, and rows may be deleted at any time."""

import sqlite3

# SQLite gives the ids of the last rows again once these are deleted; AUTOINCREMENT, which would not, cannot be added to
# a table. In a ledger of an earlier version, `total` has as many queries as ids were given, or more.
TABLES = """
CREATE TABLE IF NOT EXISTS last_id (name TEXT PRIMARY KEY, id INTEGER NOT NULL);
INSERT INTO last_id SELECT 'query', MAX(
    (SELECT COALESCE(MAX(id), 0) FROM query), (SELECT COALESCE(SUM(queries), 0) FROM total))
WHERE NOT EXISTS (SELECT 1 FROM last_id WHERE name = 'query');
INSERT INTO last_id SELECT 'key', MAX(
    (SELECT COALESCE(MAX(id), 0) FROM key), (SELECT COALESCE(MAX(key), 0) FROM query))
WHERE NOT EXISTS (SELECT 1 FROM last_id WHERE name = 'key');
"""


def new_id(database: sqlite3.Connection, table: str) -> int:
    """Return the id of a new row, above all that were given in the file; inside a transaction that excludes others.

    Args:
        database: a ledger.
        table: `query` or `key`.
    """
    database.execute(  # no less than the rows have, as an earlier version that writes too counts none
        f"INSERT INTO last_id SELECT ?, COALESCE(MAX(id), 0) + 1 FROM {table} WHERE true "
        "ON CONFLICT (name) DO UPDATE SET id = MAX(last_id.id + 1, excluded.id)",
        (table,),
    )
    (number,) = database.execute("SELECT id FROM last_id WHERE name = ?", (table,)).fetchone()
    return int(number)

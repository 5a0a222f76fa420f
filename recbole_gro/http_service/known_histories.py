"""Histories that each API key of a service has sent, and which of them are flagged, in the file of its ledger."""

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from recbole_gro.detection.histories import SHORTEST_SLIDING

# A line is a query with all that it was extended to: versions of one history that begin with one another. It may fork
# from another line after some items. Windows that slide along a history are a line each, joined to one history, which
# is named by one of its lines.
TABLES = """
CREATE TABLE IF NOT EXISTS line (
    number INTEGER PRIMARY KEY AUTOINCREMENT, judge INTEGER NOT NULL, key INTEGER NOT NULL, flagged_at INTEGER,
    joined INTEGER, flagged INTEGER NOT NULL, fork_of INTEGER NOT NULL, forked_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS beginning (
    judge INTEGER NOT NULL, key INTEGER NOT NULL, digest BLOB NOT NULL, line INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (judge, key, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ending (
    judge INTEGER NOT NULL, key INTEGER NOT NULL, digest BLOB NOT NULL, whole BLOB NOT NULL,
    PRIMARY KEY (judge, key, digest)) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Noted:
    """Hold what a query of a key changes.

    Attributes:
        histories: number of histories that it adds: 1, 0, or -1 where it shows that two are one.
        flagged: number of flagged histories that it adds, likewise.
        flagged_before: whether it is, extends, or follows in sliding a version that was flagged before.
    """

    histories: int
    flagged: int
    flagged_before: bool


class KnownHistories:
    """Note histories; of those of a key that begin with one another the longest counts, and windows that slide along a
    history count once. `recbole_gro.detection.histories` counts alike, but for keys that mix both: there each query is
    known with all that came after it.

    Args:
        database: with the tables above.
        judge: number of the thresholds that flag them.
    """

    def __init__(self, database: sqlite3.Connection, judge: int):
        self._database, self._judge = database, judge

    def note(self, key: int, history: Sequence[int], flagged: bool) -> Noted:
        """Note a history of a key, inside a transaction.

        Args:
            key: id of the API key.
            history: item ids, most recent last.
            flagged: whether it is flagged by itself.
        """
        digests = digests_of(history)
        length = len(digests)
        known, line, is_last = self._longest_known(key, digests)
        before = self._is_flagged(line, known)
        if known == length:  # a query again, or an earlier version after a later one
            return self._flag([line], line, length, flagged, before)
        window = self._window_before(key, digests)
        joined = [line] * is_last + ([] if window is None else [window])
        own = line if is_last else self._new_line(key, line, known)
        if is_last:
            place = (self._judge, key, digests[known - 1])
            self._execute("UPDATE beginning SET last = 0 WHERE judge = ? AND key = ? AND digest = ?", place)
        added = [(self._judge, key, digest, own, place == length - 1) for place, digest in enumerate(digests)][known:]
        self._database.executemany("INSERT INTO beginning VALUES (?, ?, ?, ?, ?)", added)
        self._note_ending(key, history, digests, known if is_last else 0)
        # what else begins as this window does follows none of the windows before it, so these flag its whole alone
        after_window = window is not None and self._is_flagged(window, length)
        return self._flag(joined, own, known if before else length, flagged, before or after_window)

    def _flag(self, joined: Sequence[int], line: int, length: int, flagged: bool, before: bool) -> Noted:
        """Join the histories of lines to that of a line, and flag it from a length on where it is flagged."""
        if flagged or before:
            place = (length, line, length)
            self._execute(
                "UPDATE line SET flagged_at = ? WHERE number = ? AND (flagged_at IS NULL OR flagged_at > ?)", place
            )
        histories = {self._history_of(one) for one in joined}
        n_flagged = sum(self._history_is_flagged(one) for one in histories)
        is_flagged = flagged or before or n_flagged > 0
        whole = self._history_of(line)
        for one in histories - {whole}:
            self._execute("UPDATE line SET joined = ? WHERE number = ?", (whole, one))
        if is_flagged:
            self._execute("UPDATE line SET flagged = 1 WHERE number = ?", (whole,))
        return Noted(1 - len(histories), is_flagged - n_flagged, before)

    def _note_ending(self, key: int, history: Sequence[int], digests: Sequence[bytes], replaced: int) -> None:
        """Note what the next window of a history begins with, in place of what that of its first items did."""
        ends = digests_of(history[1:])
        if replaced >= SHORTEST_SLIDING:
            place = (self._judge, key, ends[replaced - 2], digests[replaced - 1])
            self._execute("DELETE FROM ending WHERE judge = ? AND key = ? AND digest = ? AND whole = ?", place)
        if len(history) >= SHORTEST_SLIDING:
            row = (self._judge, key, ends[-1], digests[-1])
            self._execute("INSERT OR REPLACE INTO ending VALUES (?, ?, ?, ?)", row)

    def _window_before(self, key: int, digests: Sequence[bytes]) -> int | None:
        """Return the line of the history whose next window this is, which has no other one from then on."""
        if len(digests) < SHORTEST_SLIDING:
            return None
        place = (self._judge, key, digests[-2])
        found = self._execute("SELECT whole FROM ending WHERE judge = ? AND key = ? AND digest = ?", place).fetchone()
        self._execute("DELETE FROM ending WHERE judge = ? AND key = ? AND digest = ?", place)
        row = found and self._beginning(key, found[0])
        return row[0] if row else None  # rows may be deleted by hand

    def _longest_known(self, key: int, digests: Sequence[bytes]) -> tuple[int, int, bool]:
        """Return how many items of a history began one of the key before; the line of that beginning, and whether it is
        the last one there.

        All beginnings of a history are in the table, so that the longest known one is found by bisection.
        """
        low, high, found = 0, len(digests), (0, 0)
        while low < high:
            middle = (low + high + 1) // 2
            row = self._beginning(key, digests[middle - 1])
            low, high, found = (middle, high, row) if row else (low, middle - 1, found)
        return low, found[0], bool(found[1])

    def _beginning(self, key: int, digest: bytes) -> tuple[int, int] | None:
        """Return the line of a beginning, and whether it is the last one there."""
        statement = "SELECT line, last FROM beginning WHERE judge = ? AND key = ? AND digest = ?"
        return self._execute(statement, (self._judge, key, digest)).fetchone()

    def _new_line(self, key: int, fork_of: int, forked_at: int) -> int:
        statement = "INSERT INTO line (judge, key, flagged, fork_of, forked_at) VALUES (?, ?, 0, ?, ?)"
        return int(self._execute(statement, (self._judge, key, fork_of, forked_at)).lastrowid or 0)

    def _is_flagged(self, line: int, length: int) -> bool:
        """Return whether the version of so many items of a line is flagged, or one that it extends."""
        statement = "SELECT flagged_at, fork_of, forked_at FROM line WHERE number = ?"
        while found := self._execute(statement, (line,)).fetchone():  # forked earlier each time
            if found[0] is not None and found[0] <= length:
                return True
            line, length = found[1:]
        return False

    def _history_of(self, line: int) -> int:
        """Return the line that names the history of a line; those on the way there are joined to it at once."""
        way = [line]
        statement = "SELECT joined FROM line WHERE number = ?"
        while (found := self._execute(statement, (way[-1],)).fetchone()) and found[0] is not None:
            way.append(found[0])
        if len(way) > 2:
            self._database.executemany(
                "UPDATE line SET joined = ? WHERE number = ?", [(way[-1], each) for each in way[:-2]]
            )
        return way[-1]

    def _history_is_flagged(self, line: int) -> bool:
        found = self._execute("SELECT flagged FROM line WHERE number = ?", (line,)).fetchone()
        return bool(found and found[0])

    def _execute(self, statement: str, values: tuple) -> sqlite3.Cursor:
        return self._database.execute(statement, values)


def digests_of(history: Sequence[int]) -> list[bytes]:
    """Return the digest of each beginning of a history, the whole one last, by one running hash of all items."""
    running, digests = hashlib.blake2b(digest_size=16), []
    for item in history:
        running.update(int(item).to_bytes(8, "little"))
        digests.append(running.digest())
    return digests

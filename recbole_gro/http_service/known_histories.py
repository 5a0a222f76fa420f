"""Histories that each API key of a service has sent, and which of them are flagged, in the file of its ledger."""

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from recbole_gro.detection.histories import SHORTEST_SLIDING
from recbole_gro.http_service.walks import NO_CHANGE, Change, Walks

# A line is a query with all that it was extended to: versions of one history that begin with one another. It may fork
# from another line after some items. Its history is that of the windows which slide along with it (walks.py).
TABLES = """
CREATE TABLE IF NOT EXISTS line (
    number INTEGER PRIMARY KEY AUTOINCREMENT, judge INTEGER NOT NULL, key INTEGER NOT NULL, flagged_at INTEGER,
    counted INTEGER NOT NULL, fork_of INTEGER NOT NULL, forked_at INTEGER NOT NULL,
    history INTEGER NOT NULL, before INTEGER, after INTEGER);
CREATE TABLE IF NOT EXISTS history (number INTEGER PRIMARY KEY AUTOINCREMENT, flagged INTEGER NOT NULL);
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
        histories: number of histories that it adds; negative where it shows that two are one.
        flagged: number of flagged histories that it adds, likewise.
        flagged_before: whether it is, extends, or follows in sliding a version that was flagged before.
        line: of the versions of its history; None: it was sent before, or a longer version was.
        window: line of the window whose next one it is; None: it is none.
    """

    histories: int
    flagged: int
    flagged_before: bool
    line: int | None = None
    window: int | None = None


class KnownHistories:
    """Note histories; of those of a key that begin with one another the longest counts, and windows that slide along a
    history count once, as long as none of them grows. `recbole_gro.detection.histories` counts alike, but for windows
    that several others could follow, or be followed by: there each query is known with all that came after it.

    Args:
        database: with the tables above.
        judge: number of the thresholds that flag them.
    """

    def __init__(self, database: sqlite3.Connection, judge: int):
        self._database, self._judge, self._walks = database, judge, Walks(database)

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
            change = self._flag(line, length) if flagged or before else NO_CHANGE
            return Noted(change.histories, change.flagged, before)
        window = self._window_before(key, digests)
        if is_last:
            change = self._walks.part(line)
            place = (self._judge, key, digests[known - 1])
            self._execute("UPDATE beginning SET last = 0 WHERE judge = ? AND key = ? AND digest = ?", place)
        else:
            change = Change(histories=1, flagged=0)
            line = self._new_line(key, line, known)
        added = [(self._judge, key, digest, line, place == length - 1) for place, digest in enumerate(digests)][known:]
        self._database.executemany("INSERT INTO beginning VALUES (?, ?, ?, ?, ?)", added)
        self._note_ending(key, history, digests, known if is_last else 0)
        # what else begins as this window does follows none of the windows before it, so these flag its whole alone
        after_window = window is not None and self._is_flagged(window, length)
        if flagged or before:
            change += self._flag(line, known if before else length)
        elif after_window:  # the window before it counts, also where both turn out not to be of one history
            self._flag_from(line, length)
        if window is not None:
            change += self._walks.join(window, line)
        return Noted(change.histories, change.flagged, before or after_window, line, window)

    def _flag(self, line: int, length: int) -> Change:
        """Flag the versions of a line from a length on, and count it."""
        self._flag_from(line, length)
        return self._walks.count_flagged(line)

    def _flag_from(self, line: int, length: int) -> None:
        place = (length, line, length)
        self._execute(
            "UPDATE line SET flagged_at = ? WHERE number = ? AND (flagged_at IS NULL OR flagged_at > ?)", place
        )

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
        """Return the line of the window whose next one this is, unless it has another one."""
        if len(digests) < SHORTEST_SLIDING:
            return None
        place = (self._judge, key, digests[-2])
        found = self._execute("SELECT whole FROM ending WHERE judge = ? AND key = ? AND digest = ?", place).fetchone()
        row = found and self._beginning(key, found[0])
        return row[0] if row and self._walks.is_open(row[0]) else None  # rows may be deleted by hand

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
        return low, found[0], bool(found[1]) and self._walks.has(found[0])

    def _beginning(self, key: int, digest: bytes) -> tuple[int, int] | None:
        """Return the line of a beginning, and whether it is the last one there."""
        statement = "SELECT line, last FROM beginning WHERE judge = ? AND key = ? AND digest = ?"
        return self._execute(statement, (self._judge, key, digest)).fetchone()

    def _new_line(self, key: int, fork_of: int, forked_at: int) -> int:
        statement = "INSERT INTO line (judge, key, counted, fork_of, forked_at, history) VALUES (?, ?, 0, ?, ?, ?)"
        place = (self._judge, key, fork_of, forked_at, self._walks.new_history())
        return int(self._execute(statement, place).lastrowid or 0)

    def _is_flagged(self, line: int, length: int) -> bool:
        """Return whether the version of so many items of a line is flagged, or one that it extends."""
        statement = "SELECT flagged_at, fork_of, forked_at FROM line WHERE number = ?"
        while found := self._execute(statement, (line,)).fetchone():  # forked earlier each time
            if found[0] is not None and found[0] <= length:
                return True
            line, length = found[1:]
        return False

    def _execute(self, statement: str, values: tuple) -> sqlite3.Cursor:
        return self._database.execute(statement, values)


def digests_of(history: Sequence[int]) -> list[bytes]:
    """Return the digest of each beginning of a history, the whole one last, by one running hash of all items."""
    running, digests = hashlib.blake2b(digest_size=16), []
    for item in history:
        running.update(int(item).to_bytes(8, "little"))
        digests.append(running.digest())
    return digests

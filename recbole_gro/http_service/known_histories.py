"""Histories that each API key of a service has sent, and which of them are flagged, in the file of its ledger."""

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from recbole_gro.detection.histories import SHORTEST_SLIDING

TABLES = """
CREATE TABLE IF NOT EXISTS beginning (
    judge INTEGER NOT NULL, key INTEGER NOT NULL, digest BLOB NOT NULL, flagged INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (judge, key, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ending (
    judge INTEGER NOT NULL, key INTEGER NOT NULL, digest BLOB NOT NULL, whole BLOB NOT NULL,
    PRIMARY KEY (judge, key, digest)) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Noted:
    """Hold what was known of a history when it came.

    Attributes:
        is_new: whether it is the first version of a history.
        is_next: whether it is a later version of one: longer, or its next window.
        flagged_before: whether the history was flagged before, in a version or a beginning of this one.
    """

    is_new: bool
    is_next: bool
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
        known, beginning_flagged, is_last = self._longest_known(key, digests)
        if known == len(digests):
            return Noted(False, False, beginning_flagged)
        window = None if is_last else self._window_before(key, digests)
        continues = window is not None
        flagged_before = beginning_flagged or (continues and self._is_flagged(key, window))
        if known and is_last:
            place = (self._judge, key, digests[known - 1])
            self._execute("UPDATE beginning SET last = 0 WHERE judge = ? AND key = ? AND digest = ?", place)
        # other histories may begin as this window does, and none of them follows the window before it
        added = [(self._judge, key, digest, beginning_flagged, False) for digest in digests[known:-1]]
        added.append((self._judge, key, digests[-1], flagged or flagged_before, True))
        self._database.executemany("INSERT INTO beginning VALUES (?, ?, ?, ?, ?)", added)
        self._note_ending(key, history, digests, known if is_last else 0)
        return Noted(not (is_last or continues), is_last or continues, flagged_before)

    def _note_ending(self, key: int, history: Sequence[int], digests: Sequence[bytes], replaced: int) -> None:
        """Note what the next window of a history begins with, in place of what that of its first items did."""
        ends = digests_of(history[1:])
        if replaced >= SHORTEST_SLIDING:
            place = (self._judge, key, ends[replaced - 2], digests[replaced - 1])
            self._execute("DELETE FROM ending WHERE judge = ? AND key = ? AND digest = ? AND whole = ?", place)
        if len(history) >= SHORTEST_SLIDING:
            row = (self._judge, key, ends[-1], digests[-1])
            self._execute("INSERT OR REPLACE INTO ending VALUES (?, ?, ?, ?)", row)

    def _window_before(self, key: int, digests: Sequence[bytes]) -> bytes | None:
        """Return the digest of the history whose next window this is, which has no other one from then on."""
        if len(digests) < SHORTEST_SLIDING:
            return None
        place = (self._judge, key, digests[-2])
        found = self._execute("SELECT whole FROM ending WHERE judge = ? AND key = ? AND digest = ?", place).fetchone()
        self._execute("DELETE FROM ending WHERE judge = ? AND key = ? AND digest = ?", place)
        return found[0] if found else None

    def _longest_known(self, key: int, digests: Sequence[bytes]) -> tuple[int, bool, bool]:
        """Return how many items of a history began one of the key before; whether that beginning is flagged, or last.

        All beginnings of a history are in the table, so that the longest known one is found by bisection.
        """
        low, high, found = 0, len(digests), (0, 0)
        while low < high:
            middle = (low + high + 1) // 2
            row = self._execute(
                "SELECT flagged, last FROM beginning WHERE judge = ? AND key = ? AND digest = ?",
                (self._judge, key, digests[middle - 1]),
            ).fetchone()
            low, high, found = (middle, high, row) if row else (low, middle - 1, found)
        return low, bool(found[0]), bool(found[1])

    def _is_flagged(self, key: int, digest: bytes | None) -> bool:
        statement = "SELECT flagged FROM beginning WHERE judge = ? AND key = ? AND digest = ?"
        found = self._execute(statement, (self._judge, key, digest)).fetchone()
        return bool(found and found[0])  # rows may be deleted by hand

    def _execute(self, statement: str, values: tuple) -> sqlite3.Cursor:
        return self._database.execute(statement, values)


def digests_of(history: Sequence[int]) -> list[bytes]:
    """Return the digest of each beginning of a history, the whole one last, by one running hash of all items."""
    running, digests = hashlib.blake2b(digest_size=16), []
    for item in history:
        running.update(int(item).to_bytes(8, "little"))
        digests.append(running.digest())
    return digests

"""Walks of windows that slide along a history, each of which counts as one history, in the file of a ledger."""

import sqlite3
from typing import Any, NamedTuple


class Change(NamedTuple):
    """Hold by how many the histories, and the flagged ones, become more."""

    histories: int
    flagged: int

    def __add__(self, other: Any) -> "Change":
        return Change(self.histories + other.histories, self.flagged + other.flagged)


NO_CHANGE = Change(0, 0)


class Walks:
    """Keep which lines of versions follow each other as windows, in the columns history, before and after of `line`,
    and how many lines of each history are flagged, in its column counted and the table `history`.

    A window has at most one next window, so a history is a chain of lines. A line that grows is no window of a chain
    any more: where it parts, the shorter side gets a new number, found by steps from the line to both ends at once, so
    that all partings of n lines together take n log n steps.

    Args:
        database: with these tables; rows may have been deleted by hand.
    """

    def __init__(self, database: sqlite3.Connection):
        self._database = database

    def new_history(self, flagged: int = 0) -> int:
        """Return the number of a new history.

        Args:
            flagged: number of its lines that are flagged.
        """
        return int(self._database.execute("INSERT INTO history (flagged) VALUES (?)", (flagged,)).lastrowid or 0)

    def has(self, line: int) -> bool:
        """Return whether there is a line of this number."""
        return self._of(line) is not None

    def is_open(self, line: int) -> bool:
        """Return whether there is a line of this number without a next window."""
        found = self._of(line)
        return found is not None and found.after is None

    def count_flagged(self, line: int) -> Change:
        """Count a line among the flagged ones of its history, once."""
        found = self._of(line)
        if found is None or found.counted:
            return NO_CHANGE
        self._database.execute("UPDATE line SET counted = 1 WHERE number = ?", (line,))
        return self._add_flagged(found.history, 1)

    def join(self, window: int, line: int) -> Change:
        """Append a line, which is alone in its history, to the chain that ends with a window."""
        chain, alone = self._of(window), self._of(line)
        if chain is None or alone is None:
            return NO_CHANGE
        self._database.execute("DELETE FROM history WHERE number = ?", (alone.history,))
        self._database.execute("UPDATE line SET after = ? WHERE number = ?", (line, window))
        self._database.execute(
            "UPDATE line SET before = ?, history = ? WHERE number = ?", (window, chain.history, line)
        )
        return Change(-1, -alone.counted) + self._add_flagged(chain.history, alone.counted)

    def part(self, line: int) -> Change:
        """Take a line out of its chain, so that it is alone, and so is what came before and after it."""
        own = self._of(line)
        if own is None or (own.before is None and own.after is None):
            return NO_CHANGE
        self._database.execute("UPDATE line SET after = NULL WHERE number = ?", (own.before,))
        self._database.execute("UPDATE line SET before = NULL WHERE number = ?", (own.after,))
        change = self._move([line], own.history)
        self._database.execute("UPDATE line SET before = NULL, after = NULL WHERE number = ?", (line,))
        if own.before is not None and own.after is not None:
            change += self._move(self._shorter(own.before, own.after), own.history)
        return change

    def _move(self, lines: list[int], history: int) -> Change:
        """Give lines of a history, which are not all of it, one of their own."""
        flagged = sum(found.counted for found in map(self._of, lines) if found)
        number = self.new_history(flagged)
        self._database.executemany("UPDATE line SET history = ? WHERE number = ?", [(number, one) for one in lines])
        return Change(1, flagged > 0) + self._add_flagged(history, -flagged)

    def _shorter(self, last: int, first: int) -> list[int]:
        """Return the lines of the shorter one of two chains: that before a place, or that after it."""
        back, forth = [last], [first]
        while True:
            for side, step in ((back, "before"), (forth, "after")):
                found = self._of(side[-1])
                following = getattr(found, step) if found else None
                if following is None:
                    return side
                side.append(following)

    def _add_flagged(self, history: int, n: int) -> Change:
        """Add to the number of flagged lines of a history, and return how that changes whether it is flagged."""
        found = self._database.execute("SELECT flagged FROM history WHERE number = ?", (history,)).fetchone()
        if found is None:
            return NO_CHANGE
        self._database.execute("UPDATE history SET flagged = ? WHERE number = ?", (found[0] + n, history))
        return Change(0, (found[0] + n > 0) - (found[0] > 0))

    def _of(self, line: int) -> "_Line | None":
        statement = "SELECT history, counted, before, after FROM line WHERE number = ?"
        found = self._database.execute(statement, (line,)).fetchone()
        return _Line(*found) if found else None


class _Line(NamedTuple):
    """Hold the place of a line: its history, whether it counts as flagged there, and its neighbours."""

    history: int
    counted: int
    before: int | None
    after: int | None

"""How many histories of each API key reached a look, and were unusual there, in the file of a ledger."""

import sqlite3
from collections.abc import Sequence

from recbole_gro.detection.looks import NOT_REACHED

TABLES = """
CREATE TABLE IF NOT EXISTS look_count (
    judge INTEGER NOT NULL, key INTEGER NOT NULL, look INTEGER NOT NULL, reached INTEGER NOT NULL,
    unusual INTEGER NOT NULL, PRIMARY KEY (judge, key, look)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS looked (line INTEGER PRIMARY KEY, own INTEGER NOT NULL, before INTEGER NOT NULL);
"""


class LookCounts:
    """Count each history once per look: a line of versions (`KnownHistories`) when it first has as many items.

    A window that slides along a history has the looks of the windows before it, as long as it does not grow: then it
    begins a history of its own. What was counted before its history turns out to be the beginning of a window that
    slides along another one stays counted, so that counts may differ by one from those of `detect`, which knows the
    whole log.

    Args:
        database: with the tables above.
        judge: number of the thresholds of the looks.
    """

    def __init__(self, database: sqlite3.Connection, judge: int):
        self._database, self._judge = database, judge

    def note(self, key: int, line: int, window: int | None, looks: Sequence[int]) -> bool:
        """Note a new version of a history, and return whether it changes a count.

        Args:
            key: id of the API key.
            line: of the version.
            window: line of the window whose next one it is; None: it is none.
            looks: whether it is above the threshold of each look, 0 or 1; NOT_REACHED.
        """
        known = self._counted(line)
        own, before = known[0], 0
        if window is not None:
            of_window = self._counted(window)
            before = of_window[0] | of_window[1]
        new = [place for place, found in enumerate(looks) if found != NOT_REACHED and not (own | before) >> place & 1]
        self._database.executemany(
            "INSERT INTO look_count VALUES (?1, ?2, ?3, 1, ?4) ON CONFLICT (judge, key, look) "
            "DO UPDATE SET reached = reached + 1, unusual = unusual + ?4",
            [(self._judge, key, place, looks[place]) for place in new],
        )
        own |= sum(1 << place for place in new)
        if (own, before) != known:  # most versions reach no look
            self._database.execute("INSERT OR REPLACE INTO looked VALUES (?, ?, ?)", (line, own, before))
        return bool(new)

    def of(self, key: int, n_looks: int) -> list[tuple[int, int]]:
        """Return how many histories of a key reached each look, and how many of these were unusual."""
        statement = "SELECT look, reached, unusual FROM look_count WHERE judge = ? AND key = ?"
        found = {look: counts for look, *counts in self._database.execute(statement, (self._judge, key))}
        # no more unusual ones than histories, where rows were changed by hand
        counts = [found.get(look, (0, 0)) for look in range(n_looks)]
        return [(max(0, reached), max(0, min(unusual, reached))) for reached, unusual in counts]

    def _counted(self, line: int) -> tuple[int, int]:
        """Return the looks of a line that were counted, as bits: for itself, and for windows before it."""
        return self._database.execute("SELECT own, before FROM looked WHERE line = ?", (line,)).fetchone() or (0, 0)

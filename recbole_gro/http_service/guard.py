"""Detection in a service: histories and API keys that are flagged get decoy lists or a refusal, or a log line."""

import contextlib
import hashlib
import logging
import os
import sqlite3
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recbole_gro.defense.keyed_randomness import KeyedDraws
from recbole_gro.detection.calibration import CalibratedDetector
from recbole_gro.detection.histories import padded
from recbole_gro.detection.keys import key_is_flagged
from recbole_gro.detection.traces import Tracer
from recbole_gro.http_service.ledger import WAIT
from recbole_gro.serving.service import Query
from recbole_gro.utils.ranking import random_others

logger = logging.getLogger("recbole_gro.http_service")
ON_ALARM = ("log", "decoy", "refuse")
TABLES = """
CREATE TABLE IF NOT EXISTS history (
    key INTEGER NOT NULL, digest BLOB NOT NULL, flagged INTEGER NOT NULL, PRIMARY KEY (key, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS suspicion (
    key INTEGER PRIMARY KEY, histories INTEGER NOT NULL, flagged INTEGER NOT NULL, alarm INTEGER NOT NULL);
"""


class Guard:
    """Judge the histories that a service receives, and remember what each API key has sent.

    A history is traced alone, so that its score does not depend on what else is in a batch. A history that extends one
    of the same key by an item takes its place, and stays flagged where that was. What is remembered is in the file of
    the ledger, so that all processes of a service judge a key by the same histories, and a killed one forgets none; the
    thresholds are computed by each process, from the same benign users.

    Args:
        detector: with its thresholds.
        tracer: of the served model.
        ledger: SQLite file.
        rate: of false positives.
        draws: keyed draws of decoy items.
    """

    def __init__(
        self,
        detector: CalibratedDetector,
        tracer: Tracer,
        ledger: str | os.PathLike[str],
        rate: float,
        draws: KeyedDraws,
    ):
        self._detector, self._tracer, self._rate, self._draws = detector, tracer, rate, draws
        self._database = sqlite3.connect(ledger, WAIT, isolation_level=None, check_same_thread=False)
        self._database.executescript(TABLES)

    def alarms(self, histories: Sequence[list[int]], keys: Sequence[int]) -> list[bool]:
        """Return whether each history, or the key that sent it, is flagged.

        Args:
            histories: item ids, most recent last.
            keys: id of the API key that sent each history.
        """
        own = self._judged(histories, keys)
        execute = self._database.execute
        execute("BEGIN IMMEDIATE")
        try:
            found = [self._noted(*one) for one in zip(keys, histories, own, strict=True)]
        except BaseException:
            execute("ROLLBACK")
            raise
        execute("COMMIT")
        return found

    def _judged(self, histories: Sequence[list[int]], keys: Sequence[int]) -> list[bool]:
        """Return whether each history is flagged by itself."""
        return [bool(self._alarms([history])[0]) for history in histories]

    def _alarms(self, histories: Sequence[list[int]]) -> Tensor:
        """Return after how many items [B] each history is flagged; 0 for one that is not."""
        return self._detector.alarms(self._tracer.trace(padded(histories, self._tracer.longest)))

    def _noted(self, key: int, history: list[int], flagged: bool) -> bool:
        """Note a history of a key, and return whether it or the key is flagged."""
        execute, digest, before = self._database.execute, _digest(history), _digest(history[:-1])
        row = execute(
            "SELECT digest, flagged FROM history WHERE key = ? AND digest IN (?, ?) ORDER BY digest = ? DESC",
            (key, digest, before, digest),
        ).fetchone()
        earlier = bool(row and row[1])
        if row:
            execute("DELETE FROM history WHERE key = ? AND digest = ?", (key, row[0]))
        execute("INSERT OR REPLACE INTO history VALUES (?, ?, ?)", (key, digest, flagged or earlier))
        execute("INSERT OR IGNORE INTO suspicion VALUES (?, 0, 0, 0)", (key,))
        execute(
            "UPDATE suspicion SET histories = histories + ?, flagged = flagged + ? WHERE key = ?",
            (row is None, flagged and not earlier, key),
        )
        histories, bad, alarm = execute(
            "SELECT histories, flagged, alarm FROM suspicion WHERE key = ?", (key,)
        ).fetchone()
        judged = torch.tensor([histories]), torch.tensor([bad]), self._rate, self._detector.benign_users
        if not alarm and bool(key_is_flagged(*judged)[0]):
            alarm = 1
            execute("UPDATE suspicion SET alarm = 1 WHERE key = ?", (key,))
            self._warn(key, f"is flagged, {bad} of its {histories} histories are")
        elif flagged and not earlier:
            self._warn(key, f"has sent a history of {len(history)} items that is flagged")
        return flagged or earlier or bool(alarm)

    def _warn(self, key: int, what: str) -> None:
        (name,) = self._database.execute("SELECT name FROM key WHERE id = ?", (key,)).fetchone()
        logger.warning("detection: API key %r %s", name, what)

    def decoys(self, histories: Sequence[list[int]], k: int) -> list[list[int]]:
        """Return a list of k random items for each history, the same one whenever it is queried."""
        items = padded(histories, self._tracer.longest)
        query = Query(items, (items != 0).sum(1), torch.zeros(len(items), 0))
        nothing = torch.zeros(len(items), 0, dtype=torch.long)

        def draw(n: int) -> Tensor:
            return self._draws.words(query, n)

        return random_others(nothing, k, self._tracer.n_items, draw).tolist()

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def alarm_totals(ledger: str | os.PathLike[str]) -> dict[str, int]:
    """Return the number of flagged histories and of flagged keys in a ledger."""
    with contextlib.closing(sqlite3.connect(ledger, WAIT)) as database:
        database.executescript(TABLES)
        flagged, keys = database.execute("SELECT SUM(flagged), SUM(alarm) FROM suspicion").fetchone()
    return {"histories": flagged or 0, "keys": keys or 0}


def _digest(history: Sequence[int]) -> bytes:
    return hashlib.blake2b(np.asarray(history, dtype="<i8").tobytes(), digest_size=16).digest()

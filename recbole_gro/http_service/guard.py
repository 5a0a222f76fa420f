"""Detection in a service: histories and API keys that are flagged get decoy lists or a refusal, or a log line."""

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_gro.defense.keyed_randomness import KeyedDraws
from recbole_gro.detection.api_keys import KeyCounts, key_evidence, look_evidence, threshold_of
from recbole_gro.detection.calibration import CalibratedDetector, Judged
from recbole_gro.detection.histories import padded
from recbole_gro.detection.looks import LOOKS
from recbole_gro.detection.traces import Tracer
from recbole_gro.http_service import known_histories, look_counts
from recbole_gro.http_service.database import WAIT, transaction
from recbole_gro.http_service.known_histories import KnownHistories
from recbole_gro.http_service.look_counts import LookCounts
from recbole_gro.serving.service import Query
from recbole_gro.utils.random_state import seeded, stage_seed
from recbole_gro.utils.ranking import random_others
from recbole_gro.utils.units import counted

logger = logging.getLogger("recbole_gro.http_service")
_drawing = threading.Lock()  # of the service whose detector draws; the generators are those of the process
ON_ALARM = ("log", "decoy", "refuse")
TABLES = (
    """
CREATE TABLE IF NOT EXISTS judge (id INTEGER PRIMARY KEY, thresholds TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS suspicion (
    judge INTEGER NOT NULL, key INTEGER NOT NULL, histories INTEGER NOT NULL, flagged INTEGER NOT NULL,
    alarm INTEGER NOT NULL, PRIMARY KEY (judge, key));
"""
    + known_histories.TABLES
    + look_counts.TABLES
)


class Found(NamedTuple):
    """Hold what the detector says of a history by itself: whether it is flagged, and of each look as `Judged`."""

    flagged: bool
    looks: list[int]


class Guard:
    """Judge the histories that a service receives, and remember what each API key has sent.

    A history is traced alone, so that its score does not depend on what else is in a batch. Which queries are versions
    of one history is nearly as in `detect` (`KnownHistories`). What is remembered is in the file of the ledger, so that
    all processes of a service judge a key by the same histories, and a killed one forgets none; their thresholds are
    the same. What other thresholds judged, such as those of another service on the ledger, is kept apart.

    Args:
        detector: with its thresholds.
        tracer: of the served model.
        ledger: SQLite file.
        rate: of false positives.
        draws: keyed draws of decoy items.
        seed: from which a detector that draws from the process's generators draws anew for each history, so that what
            was judged before, and by which worker, does not count; None: it draws nothing.
    """

    def __init__(
        self,
        detector: CalibratedDetector,
        tracer: Tracer,
        ledger: str | os.PathLike[str],
        rate: float,
        draws: KeyedDraws,
        *,
        seed: int | None = None,
    ):
        self._detector, self._tracer, self._rate, self._draws, self._seed = detector, tracer, rate, draws, seed
        self._database = sqlite3.connect(ledger, WAIT, isolation_level=None, check_same_thread=False)
        self.judge = self._own_judge()
        self._known = KnownHistories(self._database, self.judge)
        self._counts = LookCounts(self._database, self.judge)

    def _own_judge(self) -> int:
        """Return the number of these thresholds in the file."""
        execute, judge = self._database.execute, self._detector
        # in few digits: the last ones differ with the number of threads and the device
        thresholds = [f"{score:.4g}" for score in (judge.threshold, *judge.look_thresholds)]
        sizes = [(law.over + law.below, law.limit) for law in (judge.history_law, *judge.look_laws)]
        own = repr((judge.name, self._rate, thresholds, sizes, judge.history_limits))
        with transaction(self._database):
            for statement in filter(str.strip, TABLES.split(";")):
                execute(statement)
            execute("INSERT OR IGNORE INTO judge (thresholds) VALUES (?)", (own,))
            (number,) = execute("SELECT id FROM judge WHERE thresholds = ?", (own,)).fetchone()
        return number

    def alarms(self, histories: Sequence[list[int]], keys: Sequence[int]) -> list[bool]:
        """Return whether each history, or the key that sent it, is flagged.

        Args:
            histories: item ids, most recent last.
            keys: id of the API key that sent each history.
        """
        own = self._judged(histories, keys)
        with transaction(self._database):
            return [self._noted(*one) for one in zip(keys, histories, own, strict=True)]

    def _judged(self, histories: Sequence[list[int]], keys: Sequence[int]) -> list[Found]:
        """Return what the detector says of each history by itself."""
        return [self._found_alone(history) for history in histories]

    def _found_alone(self, history: list[int]) -> Found:
        if self._seed is None:
            return self._found([history])[0]
        read = history[-self._tracer.longest :]
        with _drawing, seeded(stage_seed(self._seed, f"detection of {read}")):
            return self._found([history])[0]

    def _found(self, histories: Sequence[list[int]]) -> list[Found]:
        judged: Judged = self._detector.judged(self._tracer.trace(padded(histories, self._tracer.longest)))
        return list(map(Found, (judged.alarms > 0).tolist(), judged.looks.tolist()))

    def _noted(self, key: int, history: list[int], found: Found) -> bool:
        """Note a history of a key, and return whether it or the key is flagged."""
        execute, judge = self._database.execute, self.judge
        noted = self._known.note(key, history, found.flagged)
        more_looks = noted.line is not None and self._counts.note(key, noted.line, noted.window, found.looks)
        execute("INSERT OR IGNORE INTO suspicion VALUES (?, ?, 0, 0, 0)", (judge, key))
        execute(
            # no less than 0, and no more flagged ones than histories, where rows were deleted by hand
            "UPDATE suspicion SET histories = MAX(0, histories + ?1), flagged = MAX(0, MIN(flagged + ?2, "
            "histories + ?1)) WHERE judge = ?3 AND key = ?4",
            (noted.histories, noted.flagged, judge, key),
        )
        histories, bad, alarm = execute(
            "SELECT histories, flagged, alarm FROM suspicion WHERE judge = ? AND key = ?", (judge, key)
        ).fetchone()
        changed = noted.histories or noted.flagged or more_looks
        if not alarm and changed and self._is_alarm(key, histories, bad):
            alarm = 1
            execute("UPDATE suspicion SET alarm = 1 WHERE judge = ? AND key = ?", (judge, key))
        elif noted.flagged > 0 and not noted.flagged_before:
            self._warn(key, f"has sent a history of {len(history)} items that is flagged")
        return found.flagged or noted.flagged_before or bool(alarm)

    def _is_alarm(self, key: int, histories: int, flagged: int) -> bool:
        """Return whether a key with so many histories and flagged ones is flagged, which the log says then."""
        at_looks = torch.tensor(self._counts.of(key, len(LOOKS)))
        reached, unusual = at_looks.T
        counts = KeyCounts(torch.tensor([histories]), torch.tensor([flagged]), reached[None], unusual[None])
        if float(key_evidence(counts, self._detector, self._rate)) <= threshold_of(self._rate):
            return False
        what = f"is flagged: {flagged} of its {histories} histories are"
        if unusual.any():
            at_look = [*zip(reached.split(1), unusual.split(1), self._detector.look_laws, strict=True)]
            some = unusual.nonzero().flatten().tolist()  # too few benign users have the items of other looks, maybe
            worst = max(some, key=lambda place: float(look_evidence(*at_look[place])))
            what += f", and {unusual[worst]} of the {reached[worst]} with {counted(LOOKS[worst], 'item')} are unusual"
        self._warn(key, what)
        return True

    def _warn(self, key: int, what: str) -> None:
        found = self._database.execute("SELECT name FROM key WHERE id = ?", (key,)).fetchone()
        logger.warning("detection: API key %r %s", found[0] if found else f"(deleted key {key})", what)

    def decoys(self, histories: Sequence[list[int]], k: int) -> list[list[int]]:
        """Return a list of k random items for each history, the first ones of the same list whenever it is queried."""
        items = padded(histories, self._tracer.longest)
        query = Query(items, (items != 0).sum(1), torch.zeros(len(items), 0))
        nothing = torch.zeros(len(items), 0, dtype=torch.long)

        def draw(n: int) -> Tensor:
            return self._draws.words(query, n)

        longest = max(k, self._tracer.k)  # how items are drawn may depend on their number
        return random_others(nothing, longest, self._tracer.n_items, draw)[:, :k].tolist()

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def alarm_totals(ledger: str | os.PathLike[str], judge: int = 1) -> dict[str, int]:
    """Return the number of flagged histories and of flagged keys in a ledger.

    Args:
        ledger: SQLite file, on which a guard was made.
        judge: `Guard.judge`, whose flags are counted.
    """
    uri = f"{Path(ledger).absolute().as_uri()}?mode=rw"  # which makes no file where there is none
    with contextlib.closing(sqlite3.connect(uri, WAIT, uri=True)) as database:
        counts = database.execute("SELECT SUM(flagged), SUM(alarm) FROM suspicion WHERE judge = ?", (judge,))
        flagged, keys = counts.fetchone()
    return {"histories": flagged or 0, "keys": keys or 0}

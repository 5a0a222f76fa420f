"""API keys with budgets and rates, and the access log: one SQLite file, shared by all processes of a service."""

import contextlib
import datetime
import hashlib
import json
import math
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from recbole_gro.http_service.database import errors_named, opened, transaction
from recbole_gro.http_service.open_file import OpenFile
from recbole_gro.http_service.refusal import HttpRefusal
from recbole_gro.http_service.row_ids import new_id
from recbole_gro.serving.catalogue import Catalogue
from recbole_gro.utils.errors import UserError

PREFIX = "rg_"
UNKNOWN_KEY = "the API key is unknown or revoked"
NEW_TOTAL = """
INSERT INTO total VALUES (?1, ?2, ?3)
ON CONFLICT (outcome) DO UPDATE SET queries = queries + ?2, lists = lists + ?3
"""


@dataclass(frozen=True)
class Entry:
    """Hold a query that awaits its admission: the id of its API key, its histories as item ids, and k."""

    key: int
    histories: list[list[int]]
    k: int


@dataclass(frozen=True)
class Admitted:
    """Hold all that it takes to give the lists of an admitted query back, as its row may be deleted at any time.

    Attributes:
        line: id of its row in the log.
        key: id of the API key that its lists were counted for.
        lists: their number.
    """

    line: int
    key: int
    lists: int


class Ledger:
    """Keep API keys, what each has spent, and the access log.

    A query is counted and logged in one transaction, before it is answered: an answered list is counted and in the log
    whenever a process is killed, and concurrent clients get no list beyond a budget. SQLite syncs its write-ahead log
    at checkpoints only, so that a power cut, unlike a kill, may undo the last transactions.

    The log has item ids, so a ledger belongs to one catalogue: that of the first service that was started on it.

    Args:
        file: of SQLite. Each thread opens its own Ledger.
        may_write: whether the file is made where it is absent, readable by its owner only; False: it is read alone.

    Raises:
        UserError: it is no ledger, or cannot be opened.
    """

    def __init__(self, file: str | os.PathLike[str], may_write: bool = True):
        self.file = file
        self._database = opened(file, may_write)
        self._place = OpenFile(file, self._database)

    def check_in_place(self) -> None:
        """Check that the file still lies where it was opened, which is done before a query is counted or given back.

        Raises:
            LedgerMoved: it was moved away or replaced.
        """
        self._place.check()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def create_key(self, name: str, budget: float | None = None, rate: float | None = None) -> str:
        """Return a new API key; arguments and exceptions as of `new_key`."""
        with self.new_key(name, budget, rate) as token:
            return token

    @contextlib.contextmanager
    def new_key(self, name: str, budget: float | None = None, rate: float | None = None) -> Iterator[str]:
        """Yield a new API key, of which the file holds a hash alone; there is none where the block raises.

        Args:
            name: of the client.
            budget: lists that it may get; None: no limit.
            rate: lists per minute, of which one minute's may come at once; None: no limit.

        Raises:
            UserError: the name is taken, blank, or has characters that cannot be printed.
        """
        if not name.strip() or not name.isprintable():
            raise UserError(f"key: the name {name!r} is to be printable, as tables and logs have it in their lines")
        token = PREFIX + secrets.token_urlsafe(32)
        values = (name, _hash(token), budget, rate, rate or 0, time.time())
        with errors_named(self.file), transaction(self._database):
            own = (new_id(self._database, "key"), *values)
            try:
                self._database.execute(
                    "INSERT INTO key (id, name, hash, budget, rate, allowance, since) VALUES (?, ?, ?, ?, ?, ?, ?)", own
                )
            except sqlite3.IntegrityError:
                taken = f"key: the name {name!r} is taken; revoked keys keep their names; choose another"
                raise UserError(taken) from None
            yield token

    def change_key(self, name: str, **columns: Any) -> None:
        """Set `budget`, `rate` or `revoked` of a key; running services follow at once.

        Raises:
            UserError: no key has the name.
        """
        with errors_named(self.file), transaction(self._database):
            for column, value in columns.items():
                self._database.execute(f"UPDATE key SET {column} = ? WHERE name = ?", (value, name))
            if not self._database.execute("SELECT 1 FROM key WHERE name = ?", (name,)).fetchone():
                raise UserError(f"key: there is no {name!r}; list shows all keys")

    def all_keys(self) -> list[dict[str, Any]]:
        """Return name, budget, spent lists, rate and `revoked` of every key."""
        names = ("name", "budget", "spent", "rate", "revoked")
        with errors_named(self.file):
            rows = self._database.execute(f"SELECT {', '.join(names)} FROM key ORDER BY id").fetchall()
        return [dict(zip(names, row, strict=True)) for row in rows]

    def catalogue(self) -> Catalogue | None:
        """Return the catalogue whose item ids the log has; None where no service was started on the file."""
        with errors_named(self.file):
            row = self._database.execute("SELECT digest, items FROM catalogue").fetchone()
        return row and Catalogue(*row)

    def check_catalogue(self, catalogue: Catalogue) -> None:
        """Check that the log has item ids of a catalogue, or that it is not known of which it has them.

        Raises:
            UserError: of another one.
        """
        own = self.catalogue()
        if own not in (None, catalogue):
            raise UserError(
                f"ledger: {self.file} is of another catalogue than the checkpoint's ({own.unlike(catalogue)}); name "
                "another file with --ledger=FILE"
            )

    def bind(self, catalogue: Catalogue) -> None:
        """Bind the ledger to the catalogue of a service, which it keeps; concurrent services agree on one.

        Raises:
            UserError: it is bound to another one.
        """
        with errors_named(self.file), transaction(self._database):
            self.check_catalogue(catalogue)
            values = (catalogue.digest, catalogue.n_items)
            self._database.execute("INSERT OR IGNORE INTO catalogue VALUES (1, ?, ?)", values)

    def key_of(self, token: str) -> int:
        """Return the id of an API key.

        Raises:
            HttpRefusal: 401, unknown or revoked.
            LedgerMoved: the file is not in its place, and keys may have been revoked in another one.
        """
        self.check_in_place()
        found = self._database.execute("SELECT id FROM key WHERE hash = ? AND NOT revoked", (_hash(token),)).fetchone()
        if found is None:
            raise HttpRefusal(401, UNKNOWN_KEY)
        return found[0]

    def admit(self, entries: Sequence[Entry]) -> list[Admitted | HttpRefusal]:
        """Count and log queries in one transaction; return what gives the lists of each back, or its refusal.

        A query is admitted as a whole or not at all. The log has the sequences of admitted queries only.

        Raises:
            LedgerMoved: the file is not in its place; nothing is counted.
        """
        self.check_in_place()
        with transaction(self._database):
            return [self._admit(entry, time.time()) for entry in entries]

    def _admit(self, entry: Entry, now: float) -> Admitted | HttpRefusal:
        execute, lists = self._database.execute, len(entry.histories)
        columns = "revoked, budget, spent, rate, allowance, since"
        row = execute(f"SELECT {columns} FROM key WHERE id = ?", (entry.key,)).fetchone()
        if row is None:  # deleted from the file meanwhile; its lines stay
            return HttpRefusal(401, UNKNOWN_KEY)
        revoked, budget, spent, rate, allowance, since = row
        refusal = None
        if now < since:  # the clock was set back: what grows with time grows from now on
            since = now
            execute("UPDATE key SET since = ? WHERE id = ?", (now, entry.key))
        if rate is not None:
            allowance = min(rate, allowance + (now - since) * rate / 60)
        if revoked:
            refusal = HttpRefusal(401, UNKNOWN_KEY)
        elif budget is not None and spent + lists > budget:
            left = max(0, budget - spent)
            refusal = HttpRefusal(
                402, f"too few lists are left in the budget of this API key: {left}, and this request takes {lists}"
            )
        elif rate is not None and lists > rate:
            refusal = HttpRefusal(422, f"this API key gets {rate:g} lists per minute, and this request takes {lists}")
        elif rate is not None and lists > allowance:
            seconds = math.ceil((lists - allowance) * 60 / rate)
            refusal = HttpRefusal(429, f"this API key gets {rate:g} lists per minute", retry_after=max(1, seconds))
        sequences, reason = (json.dumps(entry.histories), None) if refusal is None else (None, str(refusal.status))
        line = new_id(self._database, "query")
        execute(
            "INSERT INTO query (id, time, key, k, lists, refused, sequences) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (line, now, entry.key, entry.k, lists, reason, sequences),
        )
        execute(NEW_TOTAL, (reason or "answered", 1, lists))
        if refusal is not None:
            return refusal
        execute(
            "UPDATE key SET spent = spent + ?, allowance = ?, since = ? WHERE id = ?",
            (lists, 0 if rate is None else allowance - lists, now, entry.key),
        )
        return Admitted(line, entry.key, lists)

    def withdraw(self, queries: Sequence[Admitted], status: int = 500) -> None:
        """Give the lists of admitted queries back, which failed inside the service or were refused.

        A query that was refused (429) reached the model, so it counts for the rate of its key: a flagged key would
        otherwise send as many as it likes.

        Raises:
            LedgerMoved: the file is not in its place; nothing is given back.
        """
        self.check_in_place()
        execute = self._database.execute
        with transaction(self._database):
            for query in queries:
                execute("UPDATE query SET refused = ? WHERE id = ?", (str(status), query.line))
                execute(
                    "UPDATE key SET spent = spent - ?, allowance = MIN(COALESCE(rate, 0), allowance + ?) WHERE id = ?",
                    (query.lists, 0 if status == 429 else query.lists, query.key),
                )
                execute(NEW_TOTAL, ("answered", -1, -query.lists))
                execute(NEW_TOTAL, (str(status), 1, query.lists))

    def totals(self) -> dict[str, tuple[int, int]]:
        """Return {outcome: (queries, lists)} of all processes; an outcome is `answered` or a status of HTTP."""
        rows = self._database.execute("SELECT outcome, queries, lists FROM total ORDER BY outcome")
        return {outcome: (queries, lists) for outcome, queries, lists in rows}

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the access log, oldest first, in the form of `AccessLog`, with the id of the query and its key's name.

        `sequences` is None for a query that was refused before it reached the model: by its budget or its rate.
        """
        with errors_named(self.file):
            rows = self._database.execute(
                "SELECT query.id, time, key, name, k, lists, refused, sequences FROM query "
                "LEFT JOIN key ON key.id = key ORDER BY query.id"
            )
            for number, seconds, key, name, k, lists, refused, sequences in rows:
                try:
                    when = datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="microseconds")
                    histories = json.loads(sequences) if sequences else None
                except (TypeError, ValueError, OverflowError, RecursionError):
                    raise UserError(f"log: {self.file}, query {number}: its time or histories are damaged") from None
                line = {"id": number, "time": when, "key": f"(deleted key {key})" if name is None else name}
                yield {**line, "k": k, "lists": lists, "refused": refused, "sequences": histories}


def _hash(token: str) -> bytes:
    """Hash a key; its 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).digest()

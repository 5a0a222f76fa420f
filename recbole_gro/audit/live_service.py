"""A live service as an attack sees it: item ids in and out, each answer obtained once and kept."""

import itertools
import threading
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import torch

from recbole_gro.attack.query_log import QueryLog
from recbole_gro.audit.description import Description, is_text
from recbole_gro.audit.journal import BudgetReached, CountedQuery, Journal, Refused, Unanswered
from recbole_gro.audit.sources import Source
from recbole_gro.utils.errors import UserError

MOST_STRANGE = 10  # lists without a known item, from the first on, that end the audit
MOST_REFUSED = 3  # requests before any answer that may be refused, as for an item that the service lacks
MOST_FAILED = 10  # requests that may fail one after another; the audit then ends, to be resumed
FUNCTION = "it is called with a list of histories, once per batch, and returns a list of item ids for each of them"
AT_ONCE = 32  # items whose lists are obtained before those that they list, for a catalogue


class Client:
    """Obtain the answers that the journal lacks, several requests at a time.

    Args:
        source: answers histories.
        journal: keeps answers and failures, and limits the number of lists.
        description: of the service.
    """

    def __init__(self, source: Source, journal: Journal, description: Description):
        self.source, self.journal, self.description = source, journal, description
        self._lock = threading.Lock()
        # since the last answer, and so of a row that may end the work: they are sent again when it is resumed
        self._failed: list[tuple[Sequence[CountedQuery], str]] = []
        self._in_a_row, self._n_failed, self._ended = 0, 0, False  # requests, and those sent since the last answer
        self._first_refused: tuple[Unanswered, int] | None = None  # the latest, and its number of lists
        self._any = any(items is not None for items in journal.answers.values())

    def lists(self, queries: Sequence[CountedQuery]) -> list[list[str] | None]:
        """Return the item ids of each query as the service gave them; None where it failed permanently.

        A failure is kept in the journal with the next answer, of whatever call, or by `keep_failures`.

        Raises:
            UserError: the service refuses the account, the first request failed, the first MOST_REFUSED, or all of
                fewer, were refused as for their items, or MOST_FAILED in a row failed. They are repeated when the audit
                is resumed. Or the budget leaves no request before any answer.
        """
        failed = {query for part, _ in self._failed for query in part}
        known = self.journal.answers
        missing = [query for query in dict.fromkeys(queries) if query not in known and query not in failed]
        size = self.source.batch
        with ThreadPoolExecutor(self.source.concurrency) as pool:
            try:
                parts = (missing[i : i + size] for i in range(0, len(missing), size))
                for future in as_completed([pool.submit(self._request, part) for part in parts]):
                    future.result()
            except BaseException:
                self._ended = True
                self.source.stop()
                pool.shutdown(cancel_futures=True)
                raise
        if self._first_refused and not self._any:  # too few were sent to end it before
            raise self._ending(*self._first_refused)
        if self._failed and not self._any:  # of an earlier process that got no answer
            raise UserError(f"{self.description.name}: no request can be sent: {self.journal.exhausted}")
        return [known.get(query) for query in queries]

    def _request(self, queries: Sequence[CountedQuery], in_row: bool = True) -> None:  # whether a failure counts there
        if self._ended:  # before the pool was told
            return
        histories = [[self.description.typed(token) for token in history] for history, _ in queries]
        try:
            lists = self.source.lists(histories, self.journal)
        except Refused as error:
            self._ended = True
            raise UserError(
                f"{self.description.name}: the service refuses this account ({error.in_full}); {self.journal.resume}"
            ) from error
        except Unanswered as error:
            if error.of_items and len(queries) > 1:  # of which one may be of an item that the service lacks
                may_be_down = error.mended_by_resuming and not error.status  # each of a row is waited for then
                for number, query in enumerate(queries):
                    self._request([query], in_row=may_be_down or number == 0)
                return
            with self._lock:
                self._failed.append((queries, str(error)))
                was_sent = not isinstance(error, BudgetReached) or error.was_sent
                is_sent = not isinstance(error, BudgetReached)  # after which there is no row
                self._n_failed, self._in_a_row = self._n_failed + is_sent, self._in_a_row + (in_row and is_sent)
                most = MOST_REFUSED if error.of_items else 0
                if (was_sent and not self._any and self._n_failed >= most) or self._in_a_row >= MOST_FAILED:
                    self._ended = True
                    raise self._ending(error, len(queries)) from error
                if was_sent and not self._any:
                    self._first_refused = error, len(queries)
        else:
            self.journal.answered(queries, lists)
            with self._lock:
                self._in_a_row, self._n_failed, self._any = 0, 0, True
                if not self._ended:
                    self._keep_failures()

    def _ending(self, error: Unanswered, n_lists: int) -> UserError:
        """Return what ends the work after the failure of a request for so many lists."""
        what = f"{self._in_a_row} requests in a row"
        if not self._any:
            what = "the first request" if self._n_failed <= 1 else f"the first {self._n_failed} requests"
        advice = "".join(f"; {part}" for part in self._advice(error, n_lists))
        return UserError(f"{self.description.name}: {what} failed ({error.in_full}){advice}")

    def keep_failures(self) -> None:
        """Keep the failures since the last answer as permanent: no further query follows that could end the work."""
        with self._lock:
            self._keep_failures()

    def _keep_failures(self) -> None:
        for queries, reason in self._failed:
            self.journal.failed(queries, reason)
        self._failed = []

    @property
    def last_failure(self) -> str:
        """Why the latest request that failed permanently did; empty where none did."""
        return self._failed[-1][1] if self._failed else next(reversed(self.journal.reasons), "")

    def _advice(self, error: Unanswered, n_lists: int) -> list[str]:
        """Return what to do after the failure of a request for so many lists that ended the work."""
        resume, name = [self.journal.resume], self.description.name
        if self._any:
            return resume
        exhausted = [self.journal.exhausted] * self.journal.is_spent(n_lists)
        if self.description.function:
            return [FUNCTION] * (not name.endswith(".pth")) + (exhausted or resume * error.mended_by_resuming)
        if exhausted:
            return exhausted
        # the folder is bound to what the description says
        keys = "url, request, k or items" if 400 <= error.status < 500 else "url, request or items"
        return [*resume, f"if {keys} of {name} are to be changed, name another folder"]


class LiveService:
    """Map histories of item numbers to lists of them, for a BlackBox.

    A number is the place of an item in the catalogue, from 1. Of a list the first k items count, and of these the
    known, different ones. The list of a query without any is empty.

    Args:
        client: obtains answers.
        catalogue: item ids.
    """

    def __init__(self, client: Client, catalogue: list[str]):
        self.client, self.catalogue, self.k = client, catalogue, client.description["k"]
        self._numbers = {token: number for number, token in enumerate(catalogue, start=1)}
        self._queried: Counter[tuple[str, ...]] = Counter()
        self._any_known, self._strange, self._unknown = False, 0, list[str]()
        self.n_without = 0  # queries without a list

    def __call__(self, rows: list[list[int]]) -> list[list[int]]:
        """Return a list of item numbers per history."""
        queries = []
        for row in rows:
            history = tuple(self.catalogue[number - 1] for number in row)
            queries.append((history, self._queried[history]))
            self._queried[history] += 1
        lists = self.client.lists(queries)
        known = [self.known(items) for items in lists]
        self._any_known = self._any_known or any(known)
        for row, numbers, items in zip(rows, known, lists, strict=True):
            if not numbers:
                self._count(row, items)
        return known

    def known(self, items: Iterable[str] | None) -> list[int]:
        """Return the numbers of the known, different items among the first k; none for a query that failed."""
        first = itertools.islice(items or (), self.k)
        return list(dict.fromkeys(self._numbers[token] for token in first if token in self._numbers))

    def _count(self, row: list[int], items: list[str] | None) -> None:
        """Count a query that failed or has no known item; MOST_STRANGE of the latter may end the audit."""
        self._strange += items is not None
        self._unknown = self._unknown or (items or [])[:3]
        self.n_without += 1
        if self._strange >= MOST_STRANGE and (items or len(row) > 1):  # some services need two items for a list
            self.check()

    def check(self) -> None:
        """Check that a list had an item of the catalogue.

        Raises:
            UserError: none had; the message has some of the items.
        """
        if not self._any_known and not self._strange:
            journal = self.client.journal
            wrong = f"none of {self.n_without} queries got a list ({self.client.last_failure})"
            advice = journal.exhausted if journal.is_spent(1) else journal.resume
            raise UserError(f"{self.client.description.name}: {wrong}; {advice}")
        if not self._any_known:
            raise no_items(self.client, self._strange, self._unknown)


def no_items(client: Client, n_lists: int, unknown: Sequence[str] = ()) -> UserError:
    """Return the error for lists without an item of the catalogue.

    Args:
        client: of the service.
        n_lists: number of lists.
        unknown: some of their items; none: the lists are empty.
    """
    is_function, name = client.description.function is not None, client.description.name
    bound = "the folder keeps these lists"
    wrong = f"the service returned no item in its first {n_lists} lists; check "
    wrong += "the function" if is_function else f"request and items of {name}"
    if unknown:
        such = client.description.hidden(", ".join(map(repr, unknown)))
        wrong = f"none of the first {client.description['k']} items of its first {n_lists} lists is in the catalogue "
        wrong += f"(such as {such}); check catalogue"
        wrong += " and item_type" if is_function else f" and items of {name}"
        bound = "the folder is bound to the catalogue"
    return UserError(f"{name}: {wrong}; {bound}, so name another one once this is mended")


def collected_catalogue(client: Client, seeds: list[str], most: int) -> tuple[list[str], int]:
    """Return the item ids in the lists for one-item histories of the seeds, of the items in those lists, and so on.

    With them is returned how many lists that took.

    Args:
        client: obtains answers.
        seeds: item ids.
        most: maximum number of lists.

    Raises:
        UserError: none of the lists has an item, or `most` ends the collection before lists of k leave an item out.
    """
    known, ahead, n_lists = dict.fromkeys(seeds), deque(seeds), 0
    any_item = False
    while ahead and n_lists < most:
        part = [ahead.popleft() for _ in range(min(len(ahead), most - n_lists, AT_ONCE))]
        n_lists += len(part)
        for items in client.lists([((token,), 0) for token in part]):
            any_item |= bool(items)
            new = [token for token in dict.fromkeys(items or ()) if token not in known and _usable(client, token)]
            known.update(dict.fromkeys(new))
            ahead.extend(new)
    if n_lists and not any_item:
        raise no_items(client, n_lists)
    k = client.description["k"]
    if ahead and len(known) <= k:
        raise UserError(
            f"query_sequences: the budget ended the collection of the catalogue at {len(known)} items, lists of k={k} "
            f"take {k + 1} or more; raise it, or lower k"
        )
    return list(known), n_lists


def _usable(client: Client, token: str) -> bool:
    """Return whether requests can hold an item id that the service listed."""
    return is_text(token) and not client.description.fault_of_item(token)


def irregularities(journal: Journal, live: LiveService) -> dict[str, int]:
    """Return how many queries failed, and how many lists and histories were out of the ordinary in the first k items.

    Args:
        journal: of the audit.
        live: the service, whose catalogue and k say what is ordinary.
    """
    counts: dict[str, int] = dict.fromkeys(
        ("failed", "empty", "shorter", "longer", "duplicates", "unknown", "repeated", "changed"), 0
    )
    by_history: dict[tuple[str, ...], list[Any]] = {}
    unknown: set[str] = set()
    for (history, _), items in journal.answers.items():
        counts["failed"] += items is None
        if items is None:
            continue
        by_history.setdefault(history, []).append(items[: live.k])
        first = items[: live.k]
        strange = {token for token in first if token not in live._numbers}
        unknown |= strange
        counts["empty"] += not live.known(items)
        counts["shorter"] += 0 < len(live.known(items)) < live.k
        counts["longer"] += len(items) > live.k
        counts["duplicates"] += len(set(first)) < len(first)
        counts["unknown"] += bool(strange)
    several = [lists for lists in by_history.values() if len(lists) > 1]
    counts["repeated"] = len(several)
    counts["changed"] = sum(any(items != lists[0] for items in lists) for lists in several)
    return counts | {"unknown_items": len(unknown)}


def n_with_list(log: QueryLog) -> int:
    """Return the number of queries of a log that have a list."""
    return int(torch.count_nonzero(log.lists[:, :, 0]))

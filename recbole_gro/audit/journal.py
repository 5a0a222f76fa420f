"""The journal of an audit: every answer as it arrives, and the lists that the service may have given out."""

import json
import os
import threading
from collections.abc import Sequence
from typing import Any

from recbole_gro.audit.http_status import may_be_of_its_items
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import append_line, whole_lines

# a history of item ids, and how often the same attack had queried it before: lists of a service may change
CountedQuery = tuple[tuple[str, ...], int]


class Unanswered(Exception):
    """A request that got no list.

    Args:
        reason: in a few words, for the journal; lone surrogates are escaped, which neither a file nor a terminal takes.
        came: what came in place of lists.
        said: what the service says in its answer, without secrets; for the message that ends the work alone.
        status: of the answer over HTTP; 0: none.
        mended_by_resuming: whether another try may succeed with the same code of the user's.
        of_items: whether it may be due to items of the histories, where its status does not say so.
    """

    def __init__(
        self,
        reason: str,
        came: Any = None,
        *,
        said: str = "",
        status: int = 0,
        mended_by_resuming: bool = True,
        of_items: bool = False,
    ):
        super().__init__(_writable(reason))
        self.came, self.said, self.status = came, _writable(said), status
        self.mended_by_resuming = mended_by_resuming
        self.of_items = of_items or may_be_of_its_items(status)

    @property
    def in_full(self) -> str:
        """The reason and what the service says."""
        return f"{self}: {self.said}" if self.said else str(self)


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Refused(Unanswered):
    """A request that the service refused for what holds for all requests: the credentials, or a budget of theirs."""


class BudgetReached(Unanswered):
    """A request that was not sent, or not sent again, since the lists allowed are given out.

    Args:
        failure: of its last try; None: it was not sent at all.
    """

    def __init__(self, failure: Unanswered | None = None):
        reason = "the list budget is spent" if failure is None else str(failure)
        super().__init__(reason, said=failure.said if failure else "", status=failure.status if failure else 0)
        self.was_sent, self.of_items = failure is not None, False


class Journal:
    """Keep answers in a file, one line of JSON each, and count lists against a limit. Threads may share one.

    A request is counted when it is sent, and no longer when the service is known to have given no list. So the limit
    holds for what the service gave out: requests count too whose answers were lost, in a timeout or with a process that
    was killed.

    Args:
        file: to append to; what an earlier process wrote is read.
        limit: maximum number of lists; None: any.
        work: what is resumed with it, in a word for messages.

    Attributes:
        answers: item ids by query, as the service gave them; None for a query that failed permanently.
        reasons: number of queries that failed, by reason.
        spent: number of lists that the service may have given out.

    Raises:
        UserError: the file cannot be written, or is no journal.
    """

    def __init__(self, file: str | os.PathLike[str], limit: int | None, work: str = "audit"):
        self.file, self.limit, self.work = file, limit, work
        self.answers: dict[CountedQuery, list[str] | None] = {}
        self.reasons: dict[str, int] = {}
        self.spent = self.tickets = 0
        self._lock = threading.Lock()
        whole_lines(file)
        with open(file, "rb") as stream:
            for number, line in enumerate(stream, start=1):
                try:
                    self._take(json.loads(line))
                except (ValueError, LookupError, TypeError, RecursionError) as error:
                    raise UserError(f"{file}, line {number}: not a line of a journal of answers") from error

    @property
    def n_lists(self) -> int:
        """Number of lists that arrived."""
        return sum(items is not None for items in self.answers.values())

    @property
    def resume(self) -> str:
        """How the work is resumed, for messages."""
        return f"the same command with --output_dir={os.path.dirname(self.file)} resumes this {self.work}"

    @property
    def exhausted(self) -> str:
        """What to do where tries without an answer have left nothing of the limit, for messages."""
        return (
            f"{self.spent:,} of the {self.limit or 0:,} lists of the budget may have been given out, too many for "
            "another request; name another folder once the service answers, and a larger query_sequences if it "
            "breaks off often"
        )

    def is_spent(self, lists: int) -> bool:
        """Return whether so many lists more exceed the limit."""
        return self.limit is not None and self.spent + lists > self.limit

    def reserve(self, lists: int) -> int:
        """Count the lists of a request that is about to be sent, and return its number.

        Raises:
            BudgetReached: they exceed the limit.
        """
        with self._lock:
            if self.is_spent(lists):
                raise BudgetReached
            self._add({"sent": self.tickets, "lists": lists})
            return self.tickets - 1

    def release(self, ticket: int, lists: int) -> None:
        """Take back the lists of a request that the service refused."""
        with self._lock:
            self._add({"refused": ticket, "lists": lists})

    def answered(self, queries: Sequence[CountedQuery], lists: Sequence[list[str]]) -> None:
        """Keep the lists of a request."""
        with self._lock:
            self._add({"queries": queries, "lists": lists})

    def failed(self, queries: Sequence[CountedQuery], reason: str) -> None:
        """Keep that a request failed permanently."""
        with self._lock:
            self._add({"queries": queries, "failed": reason})

    def _add(self, entry: dict[str, Any]) -> None:
        append_line(self.file, json.dumps(entry))
        self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        if "sent" in entry:
            self.tickets, self.spent = entry["sent"] + 1, self.spent + entry["lists"]
        elif "refused" in entry:
            self.spent -= entry["lists"]
        else:
            queries = [(tuple(history), before) for history, before in entry["queries"]]
            if reason := entry.get("failed"):
                self.reasons[reason] = self.reasons.get(reason, 0) + len(queries)
            lists = [None] * len(queries) if reason else entry["lists"]
            self.answers.update(zip(queries, lists, strict=True))

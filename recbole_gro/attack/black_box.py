"""All that an attacker may touch."""

import os
import threading
from typing import Any, Protocol

from torch import Tensor

from recbole_gro.serving.access_log import AccessLog
from recbole_gro.serving.service import Service
from recbole_gro.utils.errors import UserError


class BudgetSpent(UserError):
    """The black box was asked for more lists than its budget allows; nothing of that query was answered."""


class ListSource(Protocol):
    """What a query strategy asks: a black box, or one as its attacker sees it (heads of lists, or several made one)."""

    @property
    def n_items(self) -> int:
        """Size of the id space: the catalogue is 1 .. n_items - 1."""

    @property
    def k(self) -> int:
        """Length of a list."""

    def query(self, sequences: Any) -> Tensor:
        """[B, k] item ids for B histories."""


class BlackBox:
    """A query function in front of a service; it counts what was asked. Threads may share one: they take turns.

    Args:
        service: a Service, or any trained RecBole sequential model, which is then served as it is.
        k: length of a list, for a bare model.
        budget: lists it gives out at most; None for no limit.
        access_log: file that every query is added to, for the provider to read (see AccessLog); None for none.

    Raises:
        UserError: lists longer than the catalogue, or a file that cannot be written.
    """

    def __init__(
        self, service, k: int = 100, budget: int | None = None, access_log: str | os.PathLike[str] | None = None
    ):
        self._service = service if isinstance(service, Service) else Service(service, k)
        self.budget = budget
        self.queries_answered = 0
        self.lists_returned = 0
        self._access_log = None if access_log is None else AccessLog(access_log)
        self._turn = threading.Lock()

    @property
    def n_items(self) -> int:
        """Size of the id space: the catalogue is 1 .. n_items - 1."""
        return self._service.n_items

    @property
    def k(self) -> int:
        """Length of a list."""
        return self._service.k

    def query(self, sequences: Any) -> Tensor:
        """[B, k] item ids, best first, on the CPU, for B made-up histories [B, L] (a tensor padded right with 0, or
        a list of id lists). 0 pads a list that has fewer than k.

        Of a history longer than the model reads its most recent items count, as if it had no others.

        Raises:
            BudgetSpent: this query would go over the budget.
            ValueError: anything but integers, an empty sequence, padding before an item, or an id outside the
                catalogue. Nothing of such a query is answered, and it does not count.
            UserError: the log of what is asked cannot be written; without its line no query is answered.
        """
        # while the service answers too: two threads must not both see the last of the budget, and a GRU's state is one
        with self._turn:
            asked = len(sequences)
            try:
                if self.budget is not None and self.lists_returned + asked > self.budget:
                    raise BudgetSpent(
                        f"query budget: {asked} more lists were asked for, "
                        f"{self.budget - self.lists_returned} of {self.budget} are left"
                    )
                answer = self._answer(sequences)
            except ValueError as error:
                # a service that fails (NaN) has refused nothing
                if isinstance(error, BudgetSpent) or not isinstance(error, UserError):
                    self._note(sequences, str(error))
                raise
            self._note(sequences)
            self.queries_answered += 1
            self.lists_returned += asked
        return answer

    def _answer(self, sequences: Any) -> Tensor:
        return self._service.recommend(sequences).cpu()

    def _note(self, sequences: Any, refused: str | None = None) -> None:
        if self._access_log is not None:
            self._access_log.add(sequences, refused)

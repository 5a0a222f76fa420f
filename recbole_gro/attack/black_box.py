"""The black box: the only access that an attack has to the target."""

import os
import threading
from typing import Any, Protocol

from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor

from recbole_gro.scoring.sequences import no_sequences
from recbole_gro.serving.access_log import AccessLog
from recbole_gro.serving.callable_service import CallableService
from recbole_gro.serving.service import Service, is_whole
from recbole_gro.utils.errors import InvalidQuery, UserError


class BudgetSpent(UserError):
    """A query requests more lists than the query budget of a black box has left; no list of it is returned."""


def as_service(service: Any, k: int, n_items: int | None = None) -> Service | CallableService:
    """Return the service of a model, a saved target or a function; arguments as of BlackBox.

    Raises:
        UserError: a function without the size of its id space.
    """
    if isinstance(service, Service | CallableService):
        return service
    model = getattr(service, "model", service)  # a saved target's; its class would import the data's
    if isinstance(model, SequentialRecommender):
        return Service(model, k)
    if n_items is None:
        raise UserError("n_items: a function does not say how many items there are; give the size of the id space")
    return CallableService(service, n_items, k)


def number_of(sequences: Any) -> int:
    """Return how many sequences a query has.

    Raises:
        InvalidQuery: it has no number of them, such as None or a generator.
    """
    try:
        return len(sequences)
    except TypeError as error:
        raise no_sequences(str(error)) from error


class ListSource(Protocol):
    """Anything that a query strategy can query: a black box, or a view of one (truncated or aggregated lists)."""

    n_items: int  # size of the id space; the catalogue is 1 .. n_items - 1
    k: int  # length of a list

    def query(self, sequences: Any) -> Tensor:
        """Return lists [B, k] of item ids for B sequences."""


class BlackBox:
    """Query a service within a budget, and count queries and lists. Threads that share one take turns.

    Args:
        service: a Service; a trained RecBole sequential model or a saved target (`load_target`), served without a
            defense; or a function from a list of item id lists to lists of item ids (see CallableService).
        k: length of a list, for all but a Service.
        budget: maximum number of lists; None for no limit.
        access_log: file that the provider logs every query to, or an AccessLog; None for none.
        n_items: size of the id space, padding included, for a function.

    Attributes:
        n_items: size of the id space; the catalogue is 1 .. n_items - 1.
        k: length of a list.
        queries_answered: number of queries that lists were returned for.
        lists_returned: number of these lists.

    Raises:
        UserError: lists longer than the catalogue, a budget that is no whole number, or a file that cannot be written.
    """

    def __init__(
        self,
        service: Service | CallableService | SequentialRecommender | Any,
        k: int = 100,
        budget: int | None = None,
        access_log: str | os.PathLike[str] | AccessLog | None = None,
        *,
        n_items: int | None = None,
    ):
        if budget is not None and (not is_whole(budget) or budget < 0):
            raise UserError(f"budget: {budget!r} is no number of lists; take a whole number, or None for no limit")
        self._service = as_service(service, k, n_items)
        self.n_items, self.k, self.budget = self._service.n_items, self._service.k, budget
        self.queries_answered = 0
        self.lists_returned = 0
        if access_log is not None and not isinstance(access_log, AccessLog):
            access_log = AccessLog(access_log)
        self._access_log = access_log
        self._turn = threading.Lock()

    def query(self, sequences: Any) -> Tensor:
        """Return lists [B, k] of item ids, best first, on the CPU; 0 pads a list that has fewer than k.

        Args:
            sequences: [B, L] item ids padded right with 0, or a list of B id lists. Of a sequence longer than the model
                reads only the most recent items count.

        Raises:
            BudgetSpent: the query exceeds the budget.
            ValueError: anything but integers, an empty sequence, padding before an item, or an id outside the
                catalogue (InvalidQuery). No list of such a query is returned, and it does not count.
            UserError: the access log cannot be written; no list is returned then.
        """
        # the service runs under the lock too: it has one state of a GRU, and the budget must not be spent twice
        with self._turn:
            requested = number_of(sequences)
            try:
                self._check_budget(requested)
                lists = self._respond(sequences)
            except (BudgetSpent, InvalidQuery) as refusal:
                self._log(sequences, str(refusal))
                raise
            self._log(sequences)
            self.queries_answered += 1
            self.lists_returned += requested
        return lists

    def _check_budget(self, requested: int) -> None:
        if self.budget is not None and self.lists_returned + requested > self.budget:
            raise BudgetSpent(
                f"query budget: {requested} more lists requested, "
                f"{self.budget - self.lists_returned} of {self.budget} are left"
            )

    def _respond(self, sequences: Any) -> Tensor:
        return self._service.recommend(sequences).cpu()

    def _log(self, sequences: Any, refused: str | None = None) -> None:
        if self._access_log is not None:
            self._access_log.add(sequences, refused)

"""An adaptive attack that repeats each query and aggregates the responses."""

from typing import Any

import torch
from torch import Generator, Tensor

from recbole_gro.attack.attacker import Attacker, register_attacker
from recbole_gro.attack.black_box import ListSource
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.settings import QuerySettings, RepeatSettings
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.utils.errors import UserError


@register_attacker("repeat")
class RepeatAttacker(Attacker):
    """Query every prefix `attacker_repeats` times, and aggregate the responses into one list (`aggregated`).

    Within the same budget it has that many times fewer sequences. `query_strategy` generates them from the aggregated
    lists. Randomness that a defense draws per response averages out; randomness that is deterministic per query stays,
    and costs the repeats. Against `random` repeats do not help: all orders of a list are equally likely.

    Raises:
        UserError: the budget is too small for two sequences, one to train on and one for early stopping.
    """

    settings = (RepeatSettings,)

    def __init__(self, config: ConfigLike):
        super().__init__(config)
        self.repeats = RepeatSettings.of(config).attacker_repeats
        self.summary = f"queries each prefix {self.repeats} times and trains on the aggregated lists"
        if self.n_sequences < 2:
            raise UserError(
                f"attacker_repeats: {self.repeats} repeats leave {self.n_sequences} of "
                f"{QuerySettings.of(config).query_sequences} query sequences, 2 are needed; "
                f"set query_sequences to {2 * self.repeats} or more"
            )

    def query(
        self, black_box: ListSource, generator: Generator, auxiliary: Tensor | None = None, show_progress: bool = False
    ) -> QueryLog:
        return super().query(AggregatedBlackBox(black_box, self.repeats), generator, None, show_progress)


class AggregatedBlackBox:
    """Send each query to a black box several times and return the aggregated lists; a ListSource.

    Args:
        black_box: the black box to query.
        repeats: how often each query is sent.
    """

    def __init__(self, black_box: ListSource, repeats: int):
        self._black_box, self.repeats = black_box, repeats
        self.n_items, self.k = black_box.n_items, black_box.k

    def query(self, sequences: Any) -> Tensor:
        """Return lists [B, k] of item ids; costs B lists per repeat."""
        # one query, so that a service that keeps the state of histories finds the same rows again, each an item longer
        rows = sequences.repeat(self.repeats, 1) if isinstance(sequences, Tensor) else list(sequences) * self.repeats
        return aggregated(self._black_box.query(rows).view(self.repeats, -1, self.k))


def aggregated(responses: Tensor) -> Tensor:
    """Aggregate the responses to a query into one list: items by number of responses that have them, then by mean rank.

    The mean is over the responses that have the item; ties go to the item that is first in the earliest of them.

    Args:
        responses: [r, B, k] item ids, best first, padded at the end with 0.

    Returns:
        [B, k] item ids, padded at the end with 0.
    """
    r, n_lists, k = responses.shape
    # entry i of a row is the item at rank i % k of response i // k; sorting puts equal items side by side
    items, entry = responses.transpose(0, 1).reshape(n_lists, r * k).long().sort(dim=1, stable=True)
    is_first = torch.ones_like(items, dtype=torch.bool)
    is_first[:, 1:] = items[:, 1:] != items[:, :-1]
    group = is_first.cumsum(1) - 1
    blank = torch.zeros(n_lists, r * k, dtype=torch.double)
    item = torch.zeros_like(items).scatter_(1, group, items)
    counts = blank.scatter_add(1, group, (items != 0).double())
    ranks = blank.scatter_add(1, group, (entry % k).double())
    first_entry = blank.scatter_reduce(1, group, entry.double(), "amin", include_self=False)
    # in one number: counts differ by 1; mean ranks over k lie below 1 and differ by 1 / (r k) or more; ties by less
    key = -counts + ranks / counts.clamp(min=1) / k + first_entry / (r * k) / (2 * r * k)
    return item.gather(1, key.argsort(1)[:, :k])

"""An attacker who trusts an item of a list only where the list of a history like it has the item too."""

import torch
from torch import Tensor

from recbole_gro.attack.attacker import Attacker, register_attacker
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.utils.ranking import found_in

ITEMS_AT_ONCE = 2**22  # listed items looked at together (some 100 MiB while they are)


@register_attacker("filtered")
class FilteredAttacker(Attacker):
    """Asks as `query_strategy` says, and learns from what neighbouring prefixes agree on (`agreed`).

    Against items that are drawn anew for every query. Items that stand in every list, whoever asks, agree too.
    """

    settings = ()
    summary = "learns from the items of a list that a neighbouring prefix's list has too"

    def training_log(self, log: QueryLog) -> QueryLog:
        rows = max(1, ITEMS_AT_ONCE // log.lists[0].numel())
        return QueryLog(log.sequences, torch.cat([agreed(part) for part in log.lists.split(rows)]))


def agreed(lists: Tensor) -> Tensor:
    """The items of each list that the list of the prefix one item shorter or one longer has too, in their order.

    Args:
        lists: [S, L, k] item ids, those of prefixes 1 .. L of each sequence, best first, padded at the end with 0.

    Returns:
        [S, L, k] padded at the end with 0; a list without neighbours (L = 1) as it was.
    """
    if lists.shape[1] == 1:
        return lists
    kept = torch.zeros_like(lists, dtype=torch.bool)
    kept[:, 1:] |= found_in(lists[:, 1:], lists[:, :-1])
    kept[:, :-1] |= found_in(lists[:, :-1], lists[:, 1:])
    order = (~kept).to(torch.uint8).argsort(dim=-1, stable=True)  # what is kept comes first, as it stood
    return (lists * kept).gather(-1, order)

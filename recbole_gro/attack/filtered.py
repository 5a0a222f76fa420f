"""An adaptive attack that drops the items of a list that no list of a neighbouring prefix has."""

import torch
from torch import Tensor

from recbole_gro.attack.attacker import Attacker, register_attacker
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.utils.ranking import found_in, keep_items

ITEMS_AT_ONCE = 2**22  # listed items filtered at a time (about 100 MiB)


@register_attacker("filtered")
class FilteredAttacker(Attacker):
    """Train on the items that lists of neighbouring prefixes share (`shared_with_neighbours`).

    It removes decoys that a defense draws independently for every query, not those that are in every list.
    """

    settings = ()
    summary = "trains on the items of a list that a neighbouring prefix's list has too"

    def training_log(self, log: QueryLog) -> QueryLog:
        rows = max(1, ITEMS_AT_ONCE // log.lists[0].numel())
        return QueryLog(log.sequences, torch.cat([shared_with_neighbours(part) for part in log.lists.split(rows)]))


def shared_with_neighbours(lists: Tensor) -> Tensor:
    """Return the items of each list that the list of the prefix one item shorter or longer has too, in their order.

    Args:
        lists: [S, L, k] item ids, those of prefixes 1 .. L of each sequence, best first, padded at the end with 0.

    Returns:
        [S, L, k] padded at the end with 0; lists without neighbours (L = 1) unchanged.
    """
    if lists.shape[1] == 1:
        return lists
    kept = torch.zeros_like(lists, dtype=torch.bool)
    kept[:, 1:] |= found_in(lists[:, 1:], lists[:, :-1])
    kept[:, :-1] |= found_in(lists[:, :-1], lists[:, 1:])
    return keep_items(lists, kept)

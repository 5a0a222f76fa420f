"""Looks: numbers of items after which histories are compared with those of benign users, to judge keys and windows."""

from collections.abc import Sequence

import torch
from torch import Tensor

LOOKS = (1, 2, 3, 5, 10, 20)  # items
LOOK_LEVEL = 0.1  # share of benign users above the threshold of a look
NOT_REACHED = -1  # by a history with fewer items


def scores_at_looks(scores: Tensor, lengths: Tensor) -> Tensor:
    """Return the highest score [N, looks] that each history has had when it had so many items; -inf if it never had.

    Args:
        scores: [N, L] of each history up to each of its items; -inf in padding.
        lengths: [N] items of each.
    """
    running = scores.cummax(1).values
    found = torch.full((len(scores), len(LOOKS)), -torch.inf)
    for place, n in enumerate(LOOKS):
        if n <= scores.shape[1]:
            found[:, place] = running[:, n - 1].masked_fill(lengths < n, -torch.inf)
    return found


def above(scores: Tensor, lengths: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Return whether each history is above the threshold of each look [N, looks], 0 or 1; NOT_REACHED.

    Args:
        scores: as above.
        lengths: as above.
        thresholds: of the looks.

    >>> above(torch.tensor([[0.0, 1.0, 9.0]]), torch.tensor([3]), [0.5, 5.0, 5.0, 5.0, 5.0, 5.0])
    tensor([[ 0,  0,  1, -1, -1, -1]])
    """
    found = (scores_at_looks(scores, lengths) > torch.tensor(thresholds, dtype=scores.dtype)).long()
    return found.masked_fill(lengths.unsqueeze(1) < torch.tensor(LOOKS), NOT_REACHED)


def of_first_versions(looks: Tensor, history: Tensor, n: int) -> Tensor:
    """Return of n histories whether each is above the thresholds of the looks [n, looks], 0, 1 or NOT_REACHED.

    The first version that has the items of a look counts.

    Args:
        looks: [V, looks] of versions of histories.
        history: [V] number of the history that each is a version of; the earlier version first.
        n: number of histories.

    >>> of_first_versions(torch.tensor([[1, -1], [0, 1], [0, 0]]), torch.tensor([0, 0, 1]), 2)
    tensor([[1, 1],
            [0, 0]])
    """
    row = torch.arange(len(looks)).unsqueeze(1).where(looks != NOT_REACHED, len(looks))
    places = history.unsqueeze(1).expand_as(looks)
    first = torch.full((n, looks.shape[1]), len(looks)).scatter_reduce(0, places, row, "amin")
    return torch.cat([looks, torch.full((1, looks.shape[1]), NOT_REACHED)]).gather(0, first)

"""Ranks of test items in lists, and metrics per row that are computed from them."""

import numpy as np
import torch
from torch import Tensor


def ranks(lists: Tensor, items: Tensor) -> np.ndarray:
    """Return [N] the rank, from 1, of each row's item [N] in the row's list [N, k]; 0 where the list lacks it.

    >>> ranks(torch.tensor([[4, 2], [3, 1]]), torch.tensor([2, 9]))
    array([2, 0])
    """
    found = lists == items.unsqueeze(1)
    return torch.where(found.any(1), found.int().argmax(1) + 1, 0).numpy()


def by_user(values: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Return values [..., U] of users, in ascending order, from those of rows, [..., N].

    Rows of one user are not independent, so tests and intervals need one value per user: the user's total times U / N,
    whose mean is that of the rows.

    Args:
        values: of each row.
        users: [N] number of each row's user.

    >>> by_user(np.array([1.0, 0.0, 0.5]), np.array([7, 3, 7]))
    array([0., 1.])
    """
    found, place = np.unique(users, return_inverse=True)
    totals = np.apply_along_axis(lambda row: np.bincount(place, row, len(found)), -1, values)
    return totals * (len(found) / len(users))


def hits(ranks: np.ndarray, k: int) -> np.ndarray:
    """Return HR@k per user, 0 or 1, from the ranks of the relevant item, 0 where the list lacks it.

    >>> hits(np.array([1, 3, 0, 11]), 10)
    array([1., 1., 0., 0.])
    """
    return ((ranks > 0) & (ranks <= k)).astype(float)


def ndcg(ranks: np.ndarray, k: int) -> np.ndarray:
    """Return NDCG@k per user: 1 / log2(rank + 1) where the rank, as of `hits`, is at most k, else 0.

    >>> ndcg(np.array([1, 3, 0, 11]), 10)
    array([1. , 0.5, 0. , 0. ])
    """
    listed = (ranks > 0) & (ranks <= k)
    return np.where(listed, 1 / np.log2(np.where(listed, ranks, 1) + 1.0), 0.0)

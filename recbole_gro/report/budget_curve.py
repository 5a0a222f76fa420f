"""Lists that a surrogate needs, read off a budget curve."""

import math

import numpy as np

SHARES = (0.5, 0.8, 0.9)  # of what a surrogate is compared with


def lists_needed(lists: np.ndarray, shares: np.ndarray, level: float) -> float:
    """Return the number of lists from which on a surrogate reaches a level, such as a share of the target's NDCG.

    Between two budgets the share is linear in the logarithm of the number of lists.

    Args:
        lists: [B] number of lists, ascending.
        shares: [B] what each budget reached.
        level: what is to be reached.

    Returns:
        The least number of lists at which the share is `level`; the smallest budget where that suffices; infinity where
        none does.

    >>> round(lists_needed(np.array([100.0, 10_000.0]), np.array([0.4, 0.6]), 0.5))
    1000
    """
    reached = np.flatnonzero(shares >= level)
    if not len(reached):
        return math.inf
    first = int(reached[0])
    if first == 0:
        return float(lists[0])
    before, after = shares[first - 1], shares[first]
    part = (level - before) / (after - before)
    return float(np.exp(np.log(lists[first - 1]) + part * np.log(lists[first] / lists[first - 1])))

"""Lists that a surrogate needs, read off a budget curve."""

import math

import numpy as np

SHARES = (0.5, 0.8, 0.9)  # of what a surrogate is compared with


def lists_needed(lists: np.ndarray, shares: np.ndarray, level: float) -> float:
    """Return the number of lists from which on a surrogate stays at a level, such as a share of the target's NDCG.

    What counts is the last budget below the level: a curve that rises to it and falls again has not reached it yet.
    Between two budgets the share is linear in the logarithm of the number of lists.

    Args:
        lists: [B] number of lists, ascending.
        shares: [B] what each budget reached.
        level: what is to be reached.

    Returns:
        The number of lists; the smallest budget where all suffice; infinity where the largest does not; the budget
        after the last one below the level where a share of either is no finite number.

    >>> round(lists_needed(np.array([100.0, 10_000.0]), np.array([0.4, 0.6]), 0.5))
    1000
    """
    below = np.flatnonzero(~(shares >= level))  # a share that is no number is below it
    if not len(below):
        return float(lists[0])
    if (last := int(below[-1])) == len(lists) - 1:
        return math.inf
    if not np.isfinite(shares[last : last + 2]).all():
        return float(lists[last + 1])
    part = (level - shares[last]) / (shares[last + 1] - shares[last])
    return float(np.exp(np.log(lists[last]) + part * np.log(lists[last + 1] / lists[last])))

"""Thresholds of split conformal prediction: order statistics of benign scores, and the law of what exceeds them."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

WITHOUT_LIMIT = torch.iinfo(torch.long).max
ROUNDING = 1e-4  # of scores: equal ones differ by less where they are computed in other company


def users_needed(rate: float) -> int:
    """Return the number of benign users whose scores a threshold at a rate of false positives takes.

    >>> users_needed(0.01), users_needed(0.9)
    (99, 2)

    Args:
        rate: of false positives, above 0.
    """
    return max(2, math.ceil(1 / rate - 1e-9) - 1)


def conformal_quantile(benign: Tensor, rate: float) -> float:
    """Return the score that a further benign one exceeds with probability `rate` at most; inf where n is too small.

    >>> conformal_quantile(torch.arange(1.0, 100.0), 0.01), conformal_quantile(torch.arange(1.0, 100.0), 0.5)
    (99.0, 50.0)
    """
    place = conformal_rank(len(benign), rate)
    return float(benign.sort().values[place - 1]) if place <= len(benign) else math.inf


def conformal_rank(n: int, rate: float) -> int:
    """Return the rank, from the smallest, of that score among n: ceil((n + 1) (1 - rate)); n + 1 where there is none.

    >>> conformal_rank(99, 0.01), conformal_rank(50, 0.01)
    (99, 51)
    """
    return math.ceil((n + 1) * (1 - rate) - 1e-9)


def threshold_at(parts: Iterable[Tensor], rate: float) -> float:
    """Return a score that a further benign one exceeds with probability `rate` at most, whichever part it is like.

    Scores of few items have few values, which differ a little between detectors that are fitted on other users, and by
    rounding. A threshold that is one of these must not lie just below what the same items score elsewhere.

    Args:
        parts: benign scores, [n] each.
        rate: of false positives.
    """
    highest = max(conformal_quantile(scores, rate) for scores in parts)
    return highest + ROUNDING * max(1.0, abs(highest))


class ShareLaw(NamedTuple):
    """Hold what is known of the share of benign histories above a threshold: it has the law Beta(over, below).

    Attributes:
        over: number of different benign histories above it, and 1.
        below: number of the others.
        limit: number of different histories of an API key that it holds for.
    """

    over: int
    below: int
    limit: int

    def mean(self) -> float:
        """Return the mean share."""
        return self.over / (self.over + self.below)

    def observed(self) -> float:
        """Return the share of the benign histories that are above it."""
        return (self.over - 1) / max(1, self.over + self.below - 1)


def share_law(scores: Tensor, threshold: float, limit: int = WITHOUT_LIMIT) -> ShareLaw:
    """Return what is known of the share above a threshold.

    Args:
        scores: [D] of benign histories.
        threshold: of them.
        limit: as of `ShareLaw`.
    """
    above = int((scores > threshold).sum())
    return ShareLaw(above + 1, len(scores) - above, limit)


def most_counted(n: int, n_different: int) -> int:
    """Return the number of different histories up to which as large a share is above a threshold as of benign ones.

    The different histories of ever more users are ever rarer, and more of them unusual. Where most of the benign ones
    coincide it is hardly more than the number of different ones of these; where none does there is no limit.

    Args:
        n: number of benign histories.
        n_different: number of different ones of these.

    >>> most_counted(400, 100), most_counted(400, 380), most_counted(400, 400) == WITHOUT_LIMIT
    (133, 7600, True)
    """
    return n * n_different // (n - n_different) if n_different < n else WITHOUT_LIMIT


def different(items: Tensor) -> Tensor:
    """Return the first row [M] of each of items [N, n] that are different.

    >>> different(torch.tensor([[1, 2], [3, 4], [1, 2], [1, 3]])).tolist()
    [0, 3, 1]
    """
    unique, number = items.unique(dim=0, return_inverse=True)
    rows = torch.arange(len(items))
    return torch.full((len(unique),), len(items)).scatter_reduce(0, number, rows, "amin")

"""The base class of detectors, and their registry."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from recbole_gro.config.config_like import SettingsSource
from recbole_gro.config.settings import Settings
from recbole_gro.detection import settings as declared  # noqa: F401  (declares the keys)
from recbole_gro.detection.traces import Traces
from recbole_gro.utils.registry import Registry


class Detector:
    """Give histories, and windows of them, scores: the higher, the less they are like those of benign users.

    Args:
        config: its settings are read from it.

    Attributes:
        settings: classes of its own settings.
        standardized: whether scores have to be compared with those of benign histories of the same length; False: a
            score means the same at every length.
    """

    settings: ClassVar[tuple[type[Settings], ...]] = ()
    standardized = True

    def __init__(self, config: SettingsSource):
        self.config = config

    @abstractmethod
    def fit(self, benign: Traces) -> None:
        """Take the statistics of benign users' histories."""
        raise NotImplementedError

    @abstractmethod
    def scores(self, traces: Traces) -> Tensor:
        """Return the score [N, L] of each history up to each of its items; any value in padding."""
        raise NotImplementedError

    @abstractmethod
    def window_scores(self, traces: Traces, size: int) -> Tensor:
        """Return the score [W] of each window of `size` histories, of which `traces` holds W, one after another.

        Args:
            traces: their embeddings are those of whole histories alone, [N, 1, D].
            size: histories of a window.
        """
        raise NotImplementedError


detectors: Registry[type[Detector]] = Registry("detector", Detector)
register_detector = detectors.register


def create_detector(name: str, config: SettingsSource | None = None) -> Detector:
    """Return the detector of that name, not yet fitted.

    Args:
        name: as registered.
        config: source of its settings; None: their defaults.

    Raises:
        UserError: no such detector.
    """
    return detectors[name]({} if config is None else config)


def popularity_ranks(items: Tensor, n_items: int) -> Tensor:
    """Return the rank [n_items], from 1, of each item by how often it occurs in items [N, L]; 0 for padding.

    >>> popularity_ranks(torch.tensor([[2, 1], [2, 0]]), 4)
    tensor([0, 2, 1, 3])
    """
    order = items.flatten().bincount(minlength=n_items)[1:].argsort(descending=True, stable=True)
    ranks = torch.zeros(n_items, dtype=torch.long)
    ranks[order + 1] = torch.arange(1, n_items)
    return ranks


def repeated(items: Tensor) -> Tensor:
    """Return whether each of items [N, L] occurs before in its row; padding does not.

    >>> repeated(torch.tensor([[3, 5, 3, 0, 0]]))
    tensor([[False, False,  True, False, False]])
    """
    ordered, place = items.sort(dim=1, stable=True)
    again = torch.zeros_like(items, dtype=torch.bool)
    again[:, 1:] = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != 0)
    return torch.zeros_like(again).scatter(1, place, again)


class RankProfile:
    """Density over ranks 1 .. n: a histogram with bins that widen by half, each smoothed by half a count.

    Inside a bin the density goes on as it does from bin to bin: the last bin has a third of all ranks, which could not
    be told apart if they had one density.

    Args:
        ranks: observed ones; 0 is none.
        n: highest rank.
    """

    def __init__(self, ranks: Tensor, n: int):
        edges = [1]
        while edges[-1] <= n:
            edges.append(max(edges[-1] + 1, edges[-1] * 3 // 2))
        self.edges = torch.tensor([*edges[:-1], n + 1])  # a bin has the ranks from its edge to below the next one
        counts = self.counts(ranks[ranks > 0].unsqueeze(0))[0] + 0.5
        self.share = counts / counts.sum()
        log_ranks = torch.arange(1, n + 1).double().log()
        own = self.bins(torch.arange(1, n + 1))
        sizes = self.edges.diff()
        centres = torch.zeros(len(sizes)).double().index_add_(0, own, log_ranks) / sizes
        shape = _along(log_ranks, centres, (self.share / sizes).double().log())
        of_bin = torch.zeros(len(sizes)).double().index_add_(0, own, shape.exp())
        log_probability = shape - of_bin.log()[own] + self.share.double().log()[own]
        self._log_probability = torch.cat([torch.zeros(1), log_probability.float()])

    def bins(self, ranks: Tensor) -> Tensor:
        """Return the bin of each rank; that of 1 for 0."""
        return torch.bucketize(ranks.clamp(min=1), self.edges, right=True) - 1

    def counts(self, ranks: Tensor) -> Tensor:
        """Return how many of the ranks [W, n] are in each bin, [W, bins]; 0 is no rank."""
        counts = torch.zeros(len(ranks), len(self.edges) - 1)
        return counts.scatter_add_(1, self.bins(ranks), (ranks > 0).float())

    def log_probability(self, ranks: Tensor) -> Tensor:
        """Return the logarithm of the probability of each rank; 0 for rank 0."""
        return self._log_probability[ranks]

    def divergence(self, ranks: Tensor) -> Tensor:
        """Return the Kullback-Leibler divergence [W] of the histograms of ranks [W, n] from this one."""
        counts = self.counts(ranks)
        share = counts / counts.sum(1, keepdim=True).clamp(min=1)
        return torch.special.xlogy(share, share / self.share).sum(1)


def _along(x: Tensor, nodes: Tensor, values: Tensor) -> Tensor:
    """Return the values [n] at x of the broken line through nodes [B], which goes on beyond the first and the last.

    >>> _along(torch.tensor([0.0, 2.0, 6.0]), torch.tensor([1.0, 3.0, 4.0]), torch.tensor([5.0, 9.0, 8.0])).tolist()
    [3.0, 7.0, 6.0]
    """
    if len(nodes) == 1:
        return values.expand(len(x))
    right = torch.searchsorted(nodes, x).clamp(1, len(nodes) - 1)
    slopes = values.diff() / nodes.diff()
    return values[right] + slopes[right - 1] * (x - nodes[right])

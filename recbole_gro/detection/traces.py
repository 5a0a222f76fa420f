"""What detectors read of histories: the items, their ranks under the served model, and an embedding of each query."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor

from recbole_gro.scoring import create_scorer, keep_recent

DIMENSIONS = 32  # of an embedding
SCORES_AT_ONCE = 2**24  # entries of the score tables held at a time (64 MiB in float32)


@dataclass
class Traces:
    """Hold N histories of at most L items, most recent last, padded right with 0.

    Attributes:
        items: [N, L] item ids.
        ranks: [N, L] rank of each item, from 1, among all items after those before it; 0 for the first item and
            padding.
        embeddings: [N, L, D] of the query that ends with each item; 0 in padding. Of windows [N, 1, D], of the queries
            of whole histories.
        n_items: size of the id space, padding included.
        k: length of the lists that are served.
    """

    items: Tensor
    ranks: Tensor
    embeddings: Tensor
    n_items: int
    k: int

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, rows: Tensor) -> "Traces":
        return Traces(self.items[rows], self.ranks[rows], self.embeddings[rows], self.n_items, self.k)

    @property
    def lengths(self) -> Tensor:
        """Items [N] of each history."""
        return (self.items != 0).sum(1)

    def whole(self, rows: Tensor, lengths: Tensor) -> "Traces":
        """Return the first items of some histories, as many as `lengths` [n], with the embedding [n, 1, D] of each
        whole history alone: what windows need, in a fraction of the memory."""
        kept = torch.arange(self.items.shape[1]) < lengths.unsqueeze(1)
        last = self.embeddings[rows, lengths - 1].unsqueeze(1)
        return Traces(self.items[rows] * kept, self.ranks[rows] * kept, last, self.n_items, self.k)


def joined_traces(parts: list[Traces]) -> Traces:
    """Return the traces of several parts of histories, all of one width."""
    items, ranks, embeddings = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("items", "ranks", "embeddings")
    )
    return Traces(items, ranks, embeddings, parts[0].n_items, parts[0].k)


class Tracer:
    """Trace histories through a model.

    The embedding of a query is a random projection of the model's scores after it (Johnson and Lindenstrauss), so that
    two queries lie close to each other where their scores do, whatever the architecture.

    Args:
        model: that is served, before any defense.
        k: length of the lists.
    """

    def __init__(self, model: SequentialRecommender, k: int):
        self.model, self.k, self.scorer = model.eval(), k, create_scorer(model)
        self.n_items, self.longest = self.scorer.n_items, self.scorer.longest
        draw = torch.Generator().manual_seed(0)  # the same for every process of a service
        projection = torch.randn(self.n_items, DIMENSIONS, generator=draw) / self.n_items**0.5
        projection[0] = 0
        self._projection = projection.to(next(model.parameters()).device)

    @torch.no_grad()
    def trace(self, items: Tensor) -> Traces:
        """Return the traces of histories; of a longer one than the model reads the most recent items count.

        Args:
            items: [N, L] item ids, padded right with 0; none is empty.
        """
        lengths = (items != 0).sum(1)
        if items.shape[1] > self.longest:
            items, lengths = keep_recent(items, lengths, self.longest, self.longest)
        ranks = torch.zeros_like(items)
        embeddings = torch.zeros(*items.shape, DIMENSIONS)
        for rows, length in self._chunks(lengths):
            part = items[rows, :length].to(self._projection.device)
            prefixes = torch.arange(1, length + 1, device=part.device).expand(len(part), -1)
            scores = self.scorer.prefix_scores(part, prefixes)
            embeddings[rows, :length] = (scores @ self._projection).unflatten(0, part.shape).cpu()
            if length > 1:
                before = scores.unflatten(0, part.shape)[:, :-1, 1:]
                next_score = before.gather(2, part[:, 1:, None] - 1)
                ranks[rows, 1:length] = 1 + (before > next_score).sum(2).cpu()
        return Traces(items, ranks, embeddings, self.n_items, self.k)

    def _chunks(self, lengths: Tensor) -> Iterator[tuple[Tensor, int]]:
        """Yield rows of equal length, as many as are scored at a time."""
        for length in lengths.unique().tolist():
            at_once = max(1, SCORES_AT_ONCE // (length * self.n_items))
            for rows in (lengths == length).nonzero().squeeze(1).split(at_once):
                yield rows, length

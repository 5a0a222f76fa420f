"""The state that a service keeps between queries, so that a GRU reads only the new item of a sequence."""

import torch
from torch import Tensor

from recbole_gro.scoring.base import NextItemScorer
from recbole_gro.scoring.recurrent import Carried, RecurrentScorer


class Session:
    """Score one query after another; where all sequences grew by one item, a GRU reads that item alone.

    Args:
        scorer: of a model in evaluation mode.
    """

    def __init__(self, scorer: NextItemScorer):
        self.scorer = scorer
        self._last: tuple[Tensor, int, Carried] | None = None

    def follow(self, sequences: Tensor, lengths: Tensor) -> None:
        """Update the state as `scores` would, for a query whose scores are not needed."""
        if isinstance(self.scorer, RecurrentScorer):
            self.scores(sequences, lengths)

    def scores(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """Return scores [B, n_items] as `NextItemScorer.next_item_scores` does."""
        scorer, (n, width) = self.scorer, sequences.shape
        if not isinstance(scorer, RecurrentScorer) or width > scorer.longest or bool((lengths < width).any()):
            return scorer.next_item_scores(sequences, lengths)
        weights = sum(parameter._version for parameter in scorer.model.parameters())
        before, version, carried = self._last or (sequences[:0], weights, None)
        extends = before.shape == (n, width - 1) and version == weights and torch.equal(before, sequences[:, :-1])
        scores, carried = scorer.extended_scores(*((carried, sequences[:, -1:]) if extends else (None, sequences)))
        self._last = sequences.clone(), weights, carried
        return scores

"""Models around one GRU: a history that grows by an item costs one step of it, not all."""

import torch
from torch import Tensor

from recbole_gro.scoring.base import NextItemScorer
from recbole_gro.scoring.recurrent import Carried, RecurrentScorer


class Session:
    """Scores of one query after another; where all histories grew by an item, a GRU reads that item alone.

    Args:
        scorer: of the model that is asked, in evaluation mode.
    """

    def __init__(self, scorer: NextItemScorer):
        self.scorer = scorer
        self._last: tuple[Tensor, int, Carried] | None = None

    def follow(self, sequences: Tensor, lengths: Tensor) -> None:
        """Carry on what `scores` would, for a query whose scores nobody needs."""
        if isinstance(self.scorer, RecurrentScorer):
            self.scores(sequences, lengths)

    def scores(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """[B, n_items] as of NextItemScorer.next_item_scores."""
        scorer, (n, width) = self.scorer, sequences.shape
        if not isinstance(scorer, RecurrentScorer) or width > scorer.longest or bool((lengths < width).any()):
            return scorer.next_item_scores(sequences, lengths)
        weights = sum(parameter._version for parameter in scorer.model.parameters())
        asked, version, carried = self._last or (sequences[:0], weights, None)
        goes_on = asked.shape == (n, width - 1) and version == weights and torch.equal(asked, sequences[:, :-1])
        scores, carried = scorer.extended_scores(*((carried, sequences[:, -1:]) if goes_on else (None, sequences)))
        self._last = sequences.clone(), weights, carried
        return scores

"""Next-item models whose scores do not change with padding."""

from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_gro.scoring.base import NextItemScorer
from recbole_gro.scoring.sequences import length_groups


class TrimmedScorer(NextItemScorer):
    """Run rows of similar length through the model together, cut to the longest among them.

    For models that read the sequence and its length alone, and whose loss is a mean over the rows.
    """

    relies_on = frozenset({"__init__", "calculate_loss", "forward", "full_sort_predict"})
    any_length = True

    def loss(self, interaction: Interaction) -> Tensor:
        sequences, lengths = self.contexts(interaction)
        groups = length_groups(lengths, sequences.shape[1])
        if len(groups) == 1:
            return super().loss(interaction)
        total = lengths.new_zeros((), dtype=next(self.model.parameters()).dtype)
        for rows, width in groups:
            part = interaction[rows]
            part.update(Interaction({self.model.ITEM_SEQ: sequences[rows, :width]}))
            total = total + super().loss(part) * (len(rows) / len(lengths))
        return total

    def evaluation_scores(self, interaction: Interaction) -> Tensor:
        return self.next_item_scores(interaction[self.model.ITEM_SEQ], interaction[self.model.ITEM_SEQ_LEN])

    def position_scores(self, interaction: Interaction) -> Tensor:
        return self.next_item_scores(*self.contexts(interaction))

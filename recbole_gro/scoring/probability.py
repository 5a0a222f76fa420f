"""Models that predict probabilities: RepeatNet, GRU4RecCPR, SASRecCPR."""

from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor

from recbole_gro.scoring.base import NextItemScorer, register_scorer
from recbole_gro.utils.errors import UserError

TINY = 1e-8  # added by these models before the logarithm


@register_scorer("RepeatNet")
class ProbabilityScorer(NextItemScorer):
    """Score with log-probabilities: the same ranking, on the scale of other models' scores.

    The margins of Eq. 4 are 0.5; probabilities of a thousand items lie far closer together.
    """

    def _scores_of(self, interaction: Interaction) -> Tensor:
        return (self._probabilities(interaction) + TINY).log()

    def _probabilities(self, interaction: Interaction) -> Tensor:
        """Return the model's probabilities [B, n_items]."""
        return super()._scores_of(interaction)


@register_scorer("GRU4RecCPR")
@register_scorer("SASRecCPR")
class SoftmaxCPRScorer(ProbabilityScorer):
    """Score with the softmax-CPR models, whose full_sort_predict also computes the loss and needs the next item.

    Raises:
        UserError: they rerank more candidates than there are items, which torch reports as an index out of range.
    """

    def __init__(self, model: SequentialRecommender):
        super().__init__(model)
        if (most := max(model.reranker_CAN_NUM)) > self.n_items:
            raise UserError(f"reranker_CAN_NUM: {most} candidates of {self.n_items - 1} items; set a smaller number")

    def _probabilities(self, interaction: Interaction) -> Tensor:
        with self.fused():
            _, probabilities = self.model.calculate_loss_prob(interaction, only_compute_prob=True)
        if self.model.post_remove_context:
            probabilities = probabilities.scatter(1, interaction[self.model.ITEM_SEQ], 0.0)
        return probabilities

"""Models that score with an embedding of the user: lists for an anonymous user.

A query is an item sequence and names no user. The service therefore answers every query for one anonymous user, whose
embedding is the mean of those of all users of the data: an approximation, for these users too. Users without training
rows, whose embeddings stay as they were drawn, count. The training loss reads the users' own embeddings. A surrogate is
trained without users, so it has the anonymous one alone.
"""

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn

from recbole_gro.scoring.base import NextItemScorer, register_scorer

ANONYMOUS = 0  # RecBole's padding id; users are 1 and up


@register_scorer("Caser")
@register_scorer("HGN")
@register_scorer("NPE")
class AnonymousUserScorer(NextItemScorer):
    """Score for the anonymous user.

    Attributes:
        user_table: name of the model's embedding of users.
    """

    user_table = "user_embedding"

    def __init__(self, model: SequentialRecommender):
        super().__init__(model)
        self.users: nn.Embedding = getattr(model, self.user_table)
        self._loss_is_cross_entropy = False  # it is that of the training users

    def position_scores(self, interaction: Interaction) -> Tensor:
        """Return scores [N, n_items] for an anonymous user with the same history."""
        return self.next_item_scores(*self.contexts(interaction))

    def _scores_after(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        query = Interaction(
            {
                self.model.USER_ID: torch.full_like(lengths, ANONYMOUS),
                self.model.ITEM_SEQ: sequences,
                self.model.ITEM_SEQ_LEN: lengths,
            }
        )
        weight = self.users.weight
        mean = weight[1:].mean(0) if len(weight) > 1 else weight[ANONYMOUS]
        with self.users.register_forward_hook(lambda _, ids, __: mean.expand(*ids[0].shape, -1)):
            return self._scores_of(query)


@register_scorer("HRM")
class HRMScorer(AnonymousUserScorer):
    """Give HRM a copy of the lengths of a batch, which it changes where it averages."""

    @property
    def reads(self) -> int:
        return min(self.model.high_order, self.longest) if self.model.pooling_type_layer_1 == "max" else self.longest

    def loss(self, interaction: Interaction) -> Tensor:
        own = Interaction(dict(interaction.interaction))
        own.update(Interaction({self.model.ITEM_SEQ_LEN: interaction[self.model.ITEM_SEQ_LEN].clone()}))
        return super().loss(own)


@register_scorer("FOSSIL")
class FOSSILScorer(AnonymousUserScorer):
    """Score with FOSSIL, whose users weigh the last few items."""

    user_table = "user_lambda"


@register_scorer("FPMC")
class FPMCScorer(AnonymousUserScorer):
    """Score with FPMC, which factorises user against item and item against item."""

    user_table = "UI_emb"

    @property
    def reads(self) -> int:
        return 1


@register_scorer("SHAN")
class SHANScorer(AnonymousUserScorer):
    """Pad sequences on the left, as SHAN's training does and RecBole's full_sort_predict does not.

    Its lists therefore differ from those of RecBole's own evaluation.
    """

    def _scores_after(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        width = sequences.shape[1]
        source = torch.arange(width, device=sequences.device) - (width - lengths).unsqueeze(1)
        padded_left = sequences.gather(1, source.clamp(min=0)) * (source >= 0)
        return super()._scores_after(padded_left, lengths)


@register_scorer("TransRec")
class TransRecScorer(AnonymousUserScorer):
    """Score with TransRec, a bias less a distance, without the table [B, n_items, H] that RecBole builds."""

    @property
    def reads(self) -> int:
        return 1

    def _scores_of(self, interaction: Interaction) -> Tensor:
        model = self.model
        place = model(
            interaction[model.USER_ID], interaction[model.ITEM_SEQ], interaction[model.ITEM_SEQ_LEN]
        )  # [B, H]
        return model.bias.weight.view(1, -1) - torch.cdist(place, model.item_embedding.weight)

"""Models that score with an embedding of the user: lists for strangers.

A query is an item sequence; nobody the model was trained on need have asked it. The service therefore answers every
query for one unknown user, whose embedding is the mean of those of the users it knows: an approximation, also for the
users it does know. Their own training loss keeps their embeddings. An attacker knows no users, so his copy has the
unknown one alone.
"""

import contextlib
from collections.abc import Iterator
from unittest import mock

import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_gro.scoring.base import NextItemScorer, register_scorer

UNKNOWN = 0  # RecBole's padding id; users are 1 and up


@register_scorer("Caser")
@register_scorer("HGN")
@register_scorer("NPE")
class AnonymousUserScorer(NextItemScorer):
    """Scores for the unknown user.

    Attributes:
        user_table: name of the model's embedding of users.
    """

    user_table = "user_embedding"

    def __init__(self, model):
        super().__init__(model)
        self.users: nn.Embedding = getattr(model, self.user_table)
        self._loss_is_cross_entropy = False  # it is that of known users

    def position_scores(self, interaction: Interaction) -> Tensor:
        """[N, n_items] what a stranger with the same history would be shown."""
        return self.next_item_scores(*self.contexts(interaction))

    def _scores_after(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        query = Interaction(
            {
                self.model.USER_ID: torch.full_like(lengths, UNKNOWN),
                self.model.ITEM_SEQ: sequences,
                self.model.ITEM_SEQ_LEN: lengths,
            }
        )
        with self._for_the_unknown_user():
            return self._scores_of(query)

    @contextlib.contextmanager
    def _for_the_unknown_user(self) -> Iterator[None]:
        """Inside, every lookup of a user gives the unknown one."""
        weight = self.users.weight
        unknown = weight[1:].mean(0) if len(weight) > 1 else weight[UNKNOWN]
        with mock.patch.object(self.users, "forward", lambda ids: unknown.expand(*ids.shape, -1)):
            yield


@register_scorer("HRM")
class HRMScorer(AnonymousUserScorer):
    """HRM, where it averages, cuts down the lengths in the batch that it was given; it gets a copy of them."""

    def loss(self, interaction: Interaction) -> Tensor:
        own = Interaction(dict(interaction.interaction))
        own.update(Interaction({self.model.ITEM_SEQ_LEN: interaction[self.model.ITEM_SEQ_LEN].clone()}))
        return super().loss(own)


@register_scorer("FOSSIL")
class FOSSILScorer(AnonymousUserScorer):
    """FOSSIL's users weigh the last few items."""

    user_table = "user_lambda"


@register_scorer("FPMC")
class FPMCScorer(AnonymousUserScorer):
    """FPMC factorises user against item and item against item."""

    user_table = "UI_emb"


@register_scorer("SHAN")
class SHANScorer(AnonymousUserScorer):
    """SHAN is trained on sequences padded on the left; RecBole's full_sort_predict gives it others.

    Here it reads what it was trained on, so its lists differ from those of RecBole's own evaluation.
    """

    def _scores_after(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        width = sequences.shape[1]
        source = torch.arange(width, device=sequences.device) - (width - lengths).unsqueeze(1)
        padded_left = sequences.gather(1, source.clamp(min=0)) * (source >= 0)
        return super()._scores_after(padded_left, lengths)


@register_scorer("TransRec")
class TransRecScorer(AnonymousUserScorer):
    """TransRec's score is a bias less a distance; RecBole lays out [B, n_items, H] for it, this does not."""

    def _scores_of(self, interaction: Interaction) -> Tensor:
        model = self.model
        place = model(
            interaction[model.USER_ID], interaction[model.ITEM_SEQ], interaction[model.ITEM_SEQ_LEN]
        )  # [B, H]
        return model.bias.weight.view(1, -1) - torch.cdist(place, model.item_embedding.weight)
